"""Which broadcasts a browser hears of, and how often."""

from pushctl.protocol.mozilla import MAX_BROADCASTS
from roles.socket.listening import Listening


def test_it_is_told_what_is_other_than_it_knows_and_what_is_none() -> None:
    listening = Listening()
    current = {"same": "1", "newer": "2", "not asked for": "3"}
    assert listening.ask({"same": "1", "newer": "1", "none": ""}, current) == {
        "newer": "2",
        "errors": {"none": "Broadcast not found"},
    }
    assert listening.changes(current) == {}


def test_each_version_is_told_once_also_of_what_was_none_at_first() -> None:
    listening = Listening()
    listening.ask({"a": "1", "b": ""}, {"a": "1"})
    assert listening.changes({"a": "2", "b": "1", "c": "1"}) == {"a": "2", "b": "1"}
    assert listening.changes({"a": "2", "b": "1"}) == {}
    assert listening.changes({"a": "2"}) == {}  # removed
    assert listening.changes({"a": "2", "b": "2"}) == {"b": "2"}


def test_an_answer_to_a_subscription_is_of_that_subscription() -> None:
    listening = Listening()
    listening.ask({"a": "1"}, {"a": "1"})
    assert listening.ask({"b": "1"}, {"a": "2", "b": "2"}) == {"b": "2"}
    assert listening.changes({"a": "2", "b": "2"}) == {"a": "2"}


def test_it_listens_to_so_many_and_no_more() -> None:
    listening = Listening()
    for n in range(2 * MAX_BROADCASTS):
        listening.ask({str(n): ""}, {})
    assert len(listening.changes({str(n): "1" for n in range(2 * MAX_BROADCASTS)})) == MAX_BROADCASTS
