"""Each loss before each question, one by one: what a random machine meets only now and then.

Owns: an inbox with something in every corner, the losses, the questions. What must hold is said in the machine.
"""

import copy
from collections.abc import Callable

from tests.registry.inbox_losses import LOSABLE, HurtInbox
from tests.registry.inbox_phone import Phone
from tests.registry.inbox_sight import Surroundings

LOSSES = ["nothing", "first entry", "middle entry", "last entry", "newest writes", "meta", *LOSABLE]

Question = Callable[[HurtInbox], object]

QUESTIONS: dict[str, Question] = {
    "append": lambda m: m.append(-1, 2, 2, "t", b"new", None, forged=False),
    "append over quota": lambda m: m.append_some(-2, 2, 5, 1),
    "append to all": lambda m: [m.append(n, 2, 2, None, b"b" * 20, None, forged=False) for n in range(1, 5)],
    "append again": lambda m: m.append(-1, 2, 2, "t", b"topic", "one", forged=False),
    "announce": lambda m: m.announce(-1, "t", None),
    "read": lambda m: m.read([-1, -2, -3]),
    "read upto": lambda m: [m.read_upto(n) for n in range(len(m.cursors))],
    "cancel": lambda m: [m.cancel(n) for n in range(len(m.sent))],
    "allow": lambda m: m.new_push_url(2, None),
    "change an icon": lambda m: m.new_push_url(3, "https://icon.example/1"),
    "revoke": lambda m: m.revoke(-2),
    "acknowledge": lambda m: [m.acknowledge(-1, n) for n in range(len(m.cursors))],
    "let time pass": lambda m: m.hours_pass(3, gc=True),
    "list": lambda m: m.look(1),
    "page by page": lambda m: _interrupted(m),
    "sync from anywhere": lambda m: [m.sync_from_anywhere(n, 9, 0, 150) for n in range(len(m.cursors))],
    "sync": lambda m: m.sync(1, 100_000),
}


def furnish(around: Surroundings) -> HurtInbox:
    """As many push URLs as there may be, one revoked; unread, read and expiring messages; phones that are behind, that
    are not, and in the middle of a snapshot."""
    inbox = HurtInbox(around)
    inbox.begin()
    inbox.new_push_url(1, None)
    inbox.revoke(-1)
    for site in (2, 3, 4):
        inbox.new_push_url(site, None)
    inbox.sync(0, 100_000)
    inbox.append(-1, 1, 3, "u", b"soon", None, forged=False)
    inbox.append(-3, 8, 3, "t", b"old", None, forged=False)
    inbox.append(-1, 8, 2, "t", b"topic", "one", forged=False)
    inbox.append_some(-2, 6, 3, 2)
    inbox.read([-1])
    inbox.sync(1, 100_000)
    inbox.acknowledge(-1, -1)
    inbox.phones.append(Phone(0))
    inbox.turn_page(inbox.phones[-1], 1)
    return inbox


def try_each_question_after(loss: str, around: Surroundings) -> None:
    furnished = furnish(around)
    dump = furnished.do(furnished.keys.dump)
    for name, question in QUESTIONS.items():
        inbox = _same(furnished, around)
        inbox.do(inbox.keys.roll_back, dump)
        try:
            _lose(inbox, loss)
            question(inbox)
            for message in inbox.sent:
                inbox.check_state(message)
            inbox.teardown()
        except BaseException as error:
            error.add_note(f"{name!r} after the loss of {loss}")
            raise


def _same(inbox: HurtInbox, around: Surroundings) -> HurtInbox:
    other = HurtInbox(around)
    for name in ("model", "phones", "urls", "sent", "cursors", "devices", "fresh"):
        setattr(other, name, copy.deepcopy(getattr(inbox, name)))
    other.keys.marks |= inbox.keys.marks
    return other


def _lose(inbox: HurtInbox, loss: str) -> None:
    match loss.split():
        case ["nothing"]:
            pass
        case ["meta"]:
            inbox.lose_the_user(surely=True)
        case ["newest", "writes"]:
            inbox.fail_over(back=False)
            inbox.append_some(-1, 2, 2, 3)
            inbox.read([-1, -2])
            inbox.sync(0, 100_000)
            inbox.sync_one_page(2, 1, hung_up=True)
            inbox.fail_over(back=True)
            inbox.append_some(-2, 2, 2, 3)
            inbox.new_push_url(3, "https://icon.example/2")
            inbox.read([-1])
        case [which, "entry"]:
            inbox.lose_an_entry(which)
        case [noun]:
            inbox.lose(noun)


def _interrupted(inbox: HurtInbox) -> None:
    """A snapshot page by page, and between pages everything changes."""
    phone = inbox.phones[-1]
    for n in range(20):
        inbox.turn_page(phone, 1)
        if n < 4:
            inbox.append_some(n, 2, 1, 3)
            inbox.read([-3])
        if n == 1:
            inbox.push_urls_change(2, None, revoke=True)
