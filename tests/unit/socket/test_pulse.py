"""When a device is taken for dead, and when not; and what a device is told that is to leave."""

import math
from itertools import pairwise

import pytest

from roles.socket.leaving import Leaving
from roles.socket.pulse import Pulse

PING, PONG = 30.0, 20.0


def pinged(at: float = 0.0) -> Pulse:
    """A pulse whose ping was written at this time."""
    pulse = Pulse(0, ping_seconds=PING, pong_seconds=PONG)
    pulse.pinged(at)
    return pulse


def pings_of(pulse: Pulse, *, speaks_every: float = math.inf, answered: bool = False) -> list[int]:
    """The seconds at which a peer is pinged that answers, and perhaps says something by itself; `answered`: a ping."""
    moments = []
    for second in range(1, 200):
        if second % speaks_every == 0:
            pulse.heard(second)
            if answered:
                pulse.answered()
        assert not pulse.is_lost(second, excused=False)
        if pulse.ping_due:
            moments.append(second)
            pulse.pinged(second)
            pulse.heard(second)
            pulse.ponged()
    return moments


def test_pings_are_due_once_in_their_time_and_not_for_all_at_once() -> None:
    seen = set()
    for _ in range(100):
        moments = pings_of(Pulse(0, ping_seconds=PING, pong_seconds=PONG))
        assert len(moments) >= 5
        assert all(PING <= later - earlier <= 1.1 * PING + 1 for earlier, later in pairwise([0, *moments]))
        seen |= set(moments[:1])
    assert len(seen) > 1


def test_a_peer_that_pings_by_itself_need_not_answer_ours() -> None:
    for seconds in (7, PING):
        assert pings_of(Pulse(0, ping_seconds=PING, pong_seconds=PONG), speaks_every=seconds, answered=True) == []


@pytest.mark.parametrize("seconds", [1, 7, 20, PING])
def test_a_peer_that_says_what_has_no_answer_need_not_take_us_for_dead(seconds: float) -> None:
    """It hears nothing but our pings."""
    moments = pings_of(Pulse(0, ping_seconds=PING, pong_seconds=PONG), speaks_every=seconds)
    gaps = [later - earlier for earlier, later in pairwise([0, *moments])]
    assert len(gaps) >= 2
    assert min(gaps) > 1.5 * PING
    assert max(gaps) <= 2.2 * PING + 2


def test_a_peer_that_falls_silent_is_pinged_in_time_since_it_was_heard() -> None:
    pulse = Pulse(0, ping_seconds=PING, pong_seconds=PONG)
    pulse.heard(25)
    for second in range(1, 100):
        assert not pulse.is_lost(second, excused=False)
        if pulse.ping_due:
            assert 25 + PING <= second <= 25 + 1.1 * PING + 1
            return
    raise AssertionError("never pinged")


def test_what_is_heard_is_no_pong() -> None:
    """That a peer talks does not say that it still reads."""
    pulse = pinged()
    pulse.heard(PONG)
    assert not pulse.is_lost(PONG, excused=False)
    assert pulse.is_lost(PONG + 1, excused=False)


def test_a_missing_pong_is_believed_at_the_second_look() -> None:
    pulse = pinged()
    assert not pulse.is_lost(PONG - 0.1, excused=False)
    assert not pulse.is_lost(PONG, excused=False)
    assert pulse.is_lost(PONG + 1, excused=False)


def test_a_pong_that_waited_to_be_read_counts() -> None:
    """This process did not run for long: the first look after that proves nothing."""
    pulse = pinged()
    assert not pulse.is_lost(PONG + 100, excused=False)
    pulse.ponged()
    assert not pulse.is_lost(PONG + 101, excused=False)


def test_while_we_do_not_listen_ourselves_the_time_begins_anew() -> None:
    pulse = pinged()
    assert not pulse.is_lost(PONG, excused=True)
    assert not pulse.is_lost(2 * PONG - 0.1, excused=False)
    assert not pulse.is_lost(2 * PONG, excused=False)
    assert pulse.is_lost(2 * PONG + 1, excused=False)


def test_another_ping_gives_no_more_time() -> None:
    pulse = pinged()
    pulse.pinged(PONG - 1)
    assert not pulse.is_lost(PONG, excused=False)
    assert pulse.is_lost(PONG + 1, excused=False)


def test_a_device_is_told_once_when_to_come_back() -> None:
    leaving = Leaving()
    assert (leaving.to_say(0), leaving.was_asked) == (None, False)
    leaving.ask(at=3, by=5)
    assert (leaving.was_asked, leaving.by) == (True, 5)
    assert (leaving.to_say(1), leaving.to_say(1)) == (2000, None)
    leaving.ask(at=3, by=5)
    assert leaving.to_say(4) == 0


def test_a_device_that_may_stay_after_all_is_told_nothing() -> None:
    leaving = Leaving()
    leaving.ask(at=3, by=5)
    leaving.take_back()
    assert (leaving.to_say(1), leaving.was_asked) == (None, False)
