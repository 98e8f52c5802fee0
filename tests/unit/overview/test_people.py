"""Rates of messages are sums over those who live; what is not counted yet is not 0."""

from pushctl.load import Load
from pushctl.overview.people import message_stats, user_stats
from pushctl.registry.index import Census
from pushctl.registry.processes import QUIET_MS, Process, ProcessRow


def api(stored: float, seen_ms_ago: int) -> Process:
    row = ProcessRow("api", "api", "host", 1, "1.0", "now", load=Load(per_second={"stored": stored}))
    return Process("api-1", row, seen_ms_ago, 0)


def test_what_the_dead_did_last_is_not_counted() -> None:
    found = message_stats(
        None,
        1000,
        [Load(per_second={"written": 2.5}), None, Load(per_second={"written": 1})],
        [api(3, 0), api(4, QUIET_MS), api(50, QUIET_MS + 1)],
    )
    assert (found.stored_per_second, found.written_per_second, found.read_per_second) == (7, 3.5, 0)
    assert (found.unread, found.age_ms) == (None, None)
    assert user_stats(None, 1000) is None


def test_counts_say_their_age() -> None:
    census = Census(1000, 3000, users=1, devices=2, push_urls=3, unread=4, connections=5)
    users, messages = user_stats(census, 10_000), message_stats(census, 10_000, [], [])
    assert users is not None
    assert (users.users, users.connected, users.age_ms) == (1, 5, 7000)
    assert (messages.unread, messages.age_ms) == (4, 7000)
