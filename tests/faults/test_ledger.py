"""A ledger that cannot fail is worthless: each thing that may go wrong is found, and what is right is not."""

import pytest

from tests.faults.book import Book
from tests.faults.ledger import Ledger


class Case:
    """One user, ada, with two devices; messages m1, m2, … are sent at 1, 2, … and answered half a second later."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.phone = Book(self.ledger, "ada", "ada/phone")
        self.laptop = Book(self.ledger, "ada", "ada/laptop")

    def send(self, number: int, *, ttl: int = 60, answered: bool = True) -> None:
        self.ledger.sending(f"m{number}", "ada", ttl, number)
        if answered:
            self.ledger.accepted(f"m{number}", f"id{number}", number + 0.5)

    def receive(self, book: Book, *numbers: int, at: float = 10.0, logged: bool = True) -> None:
        for number in numbers:
            book.message(f"id{number}", f"m{number}", at, logged=logged)

    def kinds(self) -> list[str]:
        return sorted({problem.kind for problem in self.ledger.judge(lambda _, __: 0.0)})

    def unread(self, *numbers: int) -> None:
        self.ledger.compare_unread("ada", {f"id{number}": f"m{number}" for number in numbers}, 20.0)


@pytest.fixture
def case() -> Case:
    return Case()


def test_what_came_to_everybody_once_and_in_order_is_right(case: Case) -> None:
    for number in (1, 2, 3):
        case.send(number)
    case.receive(case.phone, 1, 2, 3)
    case.receive(case.laptop, 1, 2, 3)
    case.unread(1, 2, 3)
    assert case.kinds() == []


def test_a_message_that_one_device_never_got_is_lost(case: Case) -> None:
    case.send(1)
    case.send(2)
    case.receive(case.phone, 1, 2)
    case.receive(case.laptop, 2)
    assert [(message.name, book.label) for message, book in case.ledger.missing()] == [("m1", "ada/laptop")]
    assert case.kinds() == ["lost"]


def test_a_message_that_nobody_got_and_nobody_stores_is_lost(case: Case) -> None:
    case.send(1)
    case.unread()
    assert case.kinds() == ["lost"]


def test_a_message_without_an_answer_may_not_exist_but_if_one_has_it_all_must(case: Case) -> None:
    case.send(1, answered=False)
    case.unread()
    assert case.kinds() == []
    case.receive(case.phone, 1)
    assert case.kinds() == ["lost"]


def test_a_message_without_an_answer_that_is_stored_is_expected_everywhere(case: Case) -> None:
    case.send(1, answered=False)
    case.unread(1)
    assert case.kinds() == ["lost", "read"]


def test_a_message_that_comes_again_is_a_duplicate(case: Case) -> None:
    case.send(1)
    case.receive(case.phone, 1, 1)
    case.receive(case.laptop, 1)
    assert case.kinds() == ["duplicate"]


def test_a_message_stored_twice_is_a_duplicate(case: Case) -> None:
    case.send(1)
    for book in (case.phone, case.laptop):
        book.message("id1", "m1", 10.0, logged=True)
    case.ledger.accepted("m1", "another id", 3.0)
    assert case.kinds() == ["duplicate"]


def test_a_message_behind_one_that_was_sent_after_its_answer_is_out_of_order(case: Case) -> None:
    case.send(1)
    case.send(2)
    case.receive(case.phone, 2, 1)
    case.receive(case.laptop, 2, 1)
    assert case.kinds() == ["order"]


def test_messages_sent_at_the_same_time_may_come_in_any_order_but_the_same_for_all(case: Case) -> None:
    for number in (1, 2):
        case.ledger.sending(f"m{number}", "ada", 60, 1.0)
        case.ledger.accepted(f"m{number}", f"id{number}", 2.0)
    case.receive(case.phone, 2, 1)
    case.receive(case.laptop, 2, 1)
    assert case.kinds() == []
    case.laptop.forget()
    case.receive(case.laptop, 1, 2)
    assert case.kinds() == ["order"]


def test_another_users_message_is_foreign_and_so_is_one_that_nobody_sent(case: Case) -> None:
    case.ledger.sending("to bob", "bob", 60, 1.0)
    case.phone.message("id", "to bob", 2.0, logged=True)
    case.phone.message("id", "never sent", 2.0, logged=True)
    case.ledger.compare_unread("ada", {"id": "to bob"}, 3.0)
    assert [problem.kind for problem in case.ledger.problems] == ["foreign"] * 3


def test_after_going_back_to_an_older_cursor_what_came_since_must_come_again(case: Case) -> None:
    case.send(1)
    case.send(2)
    case.receive(case.laptop, 1, 2)
    case.receive(case.phone, 1)
    case.phone.save()
    case.receive(case.phone, 2)
    case.phone.rewind()
    assert case.kinds() == ["lost"]
    case.receive(case.phone, 2)
    assert case.kinds() == []
    case.receive(case.phone, 1)
    assert case.kinds() == ["duplicate"]


def test_a_snapshot_begins_anew_and_must_have_all_that_is_unread(case: Case) -> None:
    case.send(1)
    case.send(2)
    case.receive(case.laptop, 1, 2)
    case.receive(case.phone, 1, 2)
    case.phone.snapshot([("id1", "m1"), ("id2", "m2")], 11.0)
    assert case.kinds() == []
    case.phone.snapshot([("id2", "m2")], 12.0)
    assert case.kinds() == ["lost"]


def test_who_learns_that_a_message_was_read_need_not_get_it(case: Case) -> None:
    case.send(1)
    case.receive(case.phone, 1)
    case.ledger.asked_to_read("id1", 11.0)
    case.phone.gone(["id1"], 12.0)
    assert case.kinds() == ["lost"]
    case.laptop.gone(["id1"], 12.0)
    case.unread()
    assert case.kinds() == []


def test_a_snapshot_from_before_a_message_was_read_must_have_it(case: Case) -> None:
    case.send(1)
    case.receive(case.phone, 1)
    case.laptop.snapshot([], 10.0)
    case.ledger.asked_to_read("id1", 11.0)
    case.phone.gone(["id1"], 12.0)
    assert case.kinds() == ["lost"]
    case.laptop.snapshot([], 12.0)
    assert case.kinds() == []


def test_a_message_after_its_own_read_mark_is_out_of_order(case: Case) -> None:
    case.send(1)
    case.receive(case.phone, 1)
    case.ledger.asked_to_read("id1", 11.0)
    case.laptop.gone(["id1"], 12.0)
    case.receive(case.laptop, 1)
    assert case.kinds() == ["order"]


def test_a_read_mark_that_nobody_asked_for_is_found(case: Case) -> None:
    case.send(1)
    case.receive(case.phone, 1)
    case.receive(case.laptop, 1)
    case.phone.gone(["id1"], 12.0)
    assert case.kinds() == ["read"]


@pytest.mark.parametrize("stored", [(), (1,)])
def test_read_marks_converge_at_the_service_and_at_every_device(case: Case, stored: tuple[int, ...]) -> None:
    case.send(1)
    case.receive(case.phone, 1)
    case.receive(case.laptop, 1)
    case.ledger.asked_to_read("id1", 11.0)
    case.phone.gone(["id1"], 12.0)
    case.unread(*stored)  # the laptop shows it still, and in the second case so does the service
    assert case.kinds() == ["read"]


def test_a_message_with_ttl_0_may_be_missed_but_comes_once_and_in_time(case: Case) -> None:
    case.send(1, ttl=0)
    assert case.kinds() == []
    case.receive(case.phone, 1, at=3.7, logged=False)
    assert case.kinds() == []
    case.receive(case.phone, 1, at=3.7, logged=False)
    assert case.kinds() == ["duplicate"]


def test_a_message_with_ttl_0_after_its_two_seconds_is_late_unless_we_did_not_listen(case: Case) -> None:
    case.send(1, ttl=0)
    case.receive(case.phone, 1, at=3.8, logged=False)
    assert case.kinds() == ["late"]
    assert case.ledger.judge(lambda _, __: 0.2) == []


def test_a_message_with_ttl_0_may_not_pass_by_whoever_is_connected_in_a_calm_time(case: Case) -> None:
    case.phone.came(0.0)
    case.laptop.came(2.0)  # in the middle of it
    case.send(1, ttl=0)
    judged = case.ledger.judge(lambda _, __: 0.0, [(0.5, 5.0)])
    assert [(problem.kind, "phone" in problem.text) for problem in judged] == [("lost", True)]
    assert case.ledger.judge(lambda _, __: 0.0, [(0.5, 3.0)]) == []
    assert case.ledger.judge(lambda _, __: 0.6, [(0.5, 5.0)]) == []  # this process stood still
    case.phone.went(2.0)
    assert case.ledger.judge(lambda _, __: 0.0, [(0.5, 5.0)]) == []


@pytest.mark.parametrize(("ttl", "logged"), [(0, True), (60, False)])
def test_only_messages_with_ttl_0_are_outside_the_log(case: Case, ttl: int, logged: bool) -> None:
    case.send(1, ttl=ttl)
    case.receive(case.phone, 1, at=2.0, logged=logged)
    assert "order" in case.kinds()
