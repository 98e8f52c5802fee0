"""What a swarm's report calls good."""

import msgspec
import pytest

from pushctl.client.report import Report, Tally, report


def made(**counts: int) -> Report:
    tally = Tally(**{"connected": 4, **counts})  # type: ignore[arg-type]  # numbers all
    return report(tally, users=2, devices=4, seconds=1.23456)


def test_all_connected_and_nothing_wrong_is_good() -> None:
    assert made().is_good


def test_what_is_still_to_come_was_refused_or_came_back_is_not_wrong() -> None:
    assert made(behind=1, refused_by_servers=3, refused_by_boxoffice=3, unreachable=2, received_later=7).is_good


@pytest.mark.parametrize("name", ["lost", "skipped", "duplicate", "reordered", "unchecked"])
def test_one_of_these_is_not_good(name: str) -> None:
    assert not made(**{name: 1}).is_good


def test_a_device_that_is_not_connected_in_the_end_is_not_good() -> None:
    assert not made(connected=3).is_good


def test_the_report_is_plain_json_with_every_count() -> None:
    tally = Tally()
    tally.disconnected(4001)
    tally.disconnected(4001)
    tally.gave_up(4505)
    tally.latency.add(3.2)
    said = msgspec.json.decode(msgspec.json.encode(report(tally, users=1, devices=1, seconds=1)))
    assert (said["disconnects"], said["given_up"]) == ({"4001": 2}, {"4505": 1})
    assert said["latency_ms"] == {"p50": 4, "p90": 4, "p99": 4, "max": 4}
    assert said["connect_ms"] == {"p50": None, "p90": None, "p99": None, "max": None}


def test_what_is_counted_later_changes_nothing_in_it() -> None:
    tally = Tally(connected=1)
    tally.disconnected(4001)
    found = report(tally, users=1, devices=1, seconds=1)
    tally.disconnected(4504)
    tally.connected -= 1
    assert (found.connected, found.disconnects) == (1, {"4001": 1})
