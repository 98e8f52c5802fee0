"""What a run's table says of a fault is what the ledger knows."""

import httpx
import pytest

from tests.faults.book import Book
from tests.faults.ledger import Ledger, Problem
from tests.faults.plan import Struck
from tests.faults.report import CALM, Account
from tests.faults.run import Outcome
from tests.faults.senders import Mail
from tests.faults.swarm import Loss, World


@pytest.fixture
def outcome() -> Outcome:
    """s1 was killed at 10 and was back at 11; a link was cut from 20 to 25."""
    ledger = Ledger()
    world = World("", httpx.AsyncClient(), ledger)
    killed = Struck("kill", "s1", 10.0, 11.0, reference=10.0)
    cut = Struck("cut", "s2", 20.0, 25.0, reference=25.0)
    return Outcome("channel", "seed", ledger, Mail([], [], ledger, 1.0), world, 0.0, [killed, cut])


def send(outcome: Outcome, name: str, at: float) -> None:
    outcome.ledger.sending(name, "ada", 60, at)
    outcome.ledger.accepted(name, f"id of {name}", at + 0.1)


def test_messages_and_what_is_wrong_belong_to_the_last_fault_before_them(outcome: Outcome) -> None:
    for name, at in (("calm", 5.0), ("in flight", 9.7), ("killed", 12.0), ("cut", 30.0)):
        send(outcome, name, at)
    outcome.problems.append(Problem("lost", "", 12.0))
    outcome.problems.append(Problem("duplicate", "", 30.0))
    outcome.world.losses.append(Loss(10.1, "1006", "ada/0", "ws://s1/"))
    rows = Account(outcome).rows
    assert {name: row.messages for name, row in rows.items()} == {CALM: 1, "kill": 2, "cut": 1}
    assert {name: row.problems["lost"] for name, row in rows.items()} == {CALM: 0, "kill": 1, "cut": 0}
    assert {name: row.problems["duplicate"] for name, row in rows.items()} == {CALM: 0, "kill": 0, "cut": 1}
    assert {name: row.losses for name, row in rows.items()} == {CALM: 0, "kill": 1, "cut": 0}


def test_recovery_is_the_longest_wait_of_a_device_that_wanted_to_be_there(outcome: Outcome) -> None:
    book = Book(outcome.ledger, "ada", "ada/0")
    slow = Book(outcome.ledger, "ada", "ada/1", punctual=False)
    for name, at, received in (("in flight", 9.7, 13.0), ("killed", 12.0, 14.0), ("cut", 22.0, 26.0)):
        send(outcome, name, at)
        book.message(f"id of {name}", name, received, logged=True)
        slow.message(f"id of {name}", name, received + 9, logged=True)
    assert {name: round(row.recover_seconds, 1) for name, row in Account(outcome).rows.items()} == {
        CALM: 0.0,
        "kill": 3.0,  # since the kill; the other waited 1.9 s since its 201
        "cut": 1.0,  # since the cut was healed
    }
    book.away.append((9.9, 12.5))
    book.away.append((24.0, 25.8))
    assert {name: round(row.recover_seconds, 1) for name, row in Account(outcome).rows.items()} == {
        CALM: 0.0,
        "kill": 1.5,
        "cut": 0.2,
    }


def test_long_after_the_last_fault_nothing_is_its_doing(outcome: Outcome) -> None:
    outcome.afterwards = 40.0
    for name, at in (("cut", 39.0), ("well", 41.0)):
        send(outcome, name, at)
    assert {name: row.messages for name, row in Account(outcome).rows.items()} == {CALM: 1, "kill": 0, "cut": 1}


def test_a_site_that_is_refused_waits_too(outcome: Outcome) -> None:
    outcome.mail.refusals += [(20.5, "503"), (29.0, "503")]
    row = Account(outcome).rows["cut"]
    assert (row.recover_seconds, row.worst) == (4.0, "s2 503")
