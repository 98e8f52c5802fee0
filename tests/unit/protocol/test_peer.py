"""The client's decisions: which server, how long to wait, when to stop. Stories, and any life at all."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pushctl.protocol.peer import (
    CAP_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    STABLE_SECONDS,
    AskBoxOffice,
    Peer,
    Step,
    Stop,
    TryServer,
)

A, B, C = "wss://a.example/", "wss://b.example/", "wss://c.example/"


def unlucky() -> float:
    """Always the longest wait that jitter allows (nearly 1)."""
    return 1.0


def connected(peer: Peer, now: float) -> None:
    assert peer.offered([A], 30, now) == TryServer(A)
    peer.welcomed(now)


def waits(step: Step) -> float:
    assert isinstance(step, AskBoxOffice)
    return step.after_seconds


def test_it_begins_at_the_box_office_without_waiting() -> None:
    assert Peer(unlucky).start() == AskBoxOffice(0.0)


def test_servers_are_tried_once_each_in_the_order_given_and_then_the_box_office_is_asked_again() -> None:
    peer = Peer(unlucky)
    steps = [peer.offered([A, B, A, C], 30, 0), *(peer.server_failed(0) for _ in range(3))]
    assert steps == [TryServer(A), TryServer(B), TryServer(C), AskBoxOffice(1.0)]


def test_a_list_that_expired_while_servers_were_tried_is_not_used_further() -> None:
    peer = Peer(unlucky)
    peer.offered([A, B], 30, 0)
    assert waits(peer.server_failed(30)) == 1.0


def test_a_server_that_closes_before_its_welcome_is_a_server_that_failed() -> None:
    peer = Peer(unlucky)
    peer.offered([A, B], 30, 0)
    assert peer.closed(4005, 1) == TryServer(B)


def test_waits_double_up_to_five_minutes() -> None:
    peer = Peer(unlucky)
    found = [waits(peer.box_office_unreachable()) for _ in range(12)]
    assert found == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_jitter_is_full_so_a_lucky_client_does_not_wait() -> None:
    peer = Peer(lambda: 0.0)
    assert [waits(peer.box_office_unreachable()) for _ in range(3)] == [0, 0, 0]


def test_jitter_only_adds_to_a_retry_after() -> None:
    drawn = iter((0.0, 0.5, 1.0))
    peer = Peer(lambda: next(drawn))
    assert [waits(peer.box_office_refused(503, 7)) for _ in range(3)] == [7, 7 + 0.5 * 2, 7 + 1.0 * 4]


def test_no_capacity_means_to_connect_to_nothing_until_then() -> None:
    peer = Peer(unlucky)
    peer.offered([A, B], 30, 0)
    peer.box_office_refused(503, 7)
    assert isinstance(peer.server_failed(0), AskBoxOffice)


def test_an_empty_list_is_no_place_to_go() -> None:
    assert waits(Peer(unlucky).offered([], 30, 0)) == 1.0


def test_a_full_server_is_left_alone_until_its_retry_after_is_over() -> None:
    peer = Peer(lambda: 0.0)
    peer.offered([A, B], 30, 0)
    assert peer.server_failed(0, 20) == TryServer(B)
    peer.server_failed(0)
    assert peer.offered([A, B], 30, 10) == TryServer(B)
    assert peer.offered([A, B], 30, 20) == TryServer(A)


def test_if_every_server_is_full_the_box_office_is_asked_when_the_first_may_have_room() -> None:
    peer = Peer(lambda: 0.0)
    peer.offered([A, B], 30, 0)
    peer.server_failed(0, 20)
    assert waits(peer.server_failed(4, 8)) == 8


def test_a_retry_after_of_years_is_taken_for_a_mistake() -> None:
    assert waits(Peer(lambda: 0.0).box_office_refused(503, 1e9)) == LONGEST_RETRY_AFTER_SECONDS


def test_the_growth_starts_over_only_after_a_connection_that_lasted() -> None:
    peer = Peer(unlucky)
    for _ in range(4):
        peer.box_office_unreachable()
    connected(peer, 0)
    assert waits(peer.closed(1006, STABLE_SECONDS - 1)) == 16
    connected(peer, 100)
    assert waits(peer.closed(1006, 100 + STABLE_SECONDS)) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 4000, 4001, 4002, 4003, 4004, 4005, 4499])
def test_codes_below_4500_lead_back_to_the_box_office(code: int) -> None:
    peer = Peer(unlucky)
    connected(peer, 0)
    assert waits(peer.closed(code, 100)) == 1.0


@pytest.mark.parametrize("code", [4500, 4502, 4505, 4506, 4999])
def test_codes_from_4500_are_final(code: int) -> None:
    peer = Peer(unlucky)
    connected(peer, 0)
    step = peer.closed(code, 100)
    assert isinstance(step, Stop)
    assert (step.code, step.login_needed) == (code, False)


@pytest.mark.parametrize("code", [4501, 4504])
@pytest.mark.parametrize("welcomed", [True, False])
def test_a_session_that_ended_needs_a_login(code: int, welcomed: bool) -> None:
    peer = Peer(unlucky)
    peer.offered([A, B], 30, 0)
    if welcomed:
        peer.welcomed(0)
    step = peer.closed(code, 1)
    assert isinstance(step, Stop)
    assert step.login_needed


@pytest.mark.parametrize(("random", "seconds"), [(lambda: 0.0, 30), (lambda: 0.5, 45), (unlucky, 60)])
def test_a_replaced_connection_comes_back_once_after_half_a_minute_to_a_minute(
    random: Callable[[], float], seconds: float
) -> None:
    peer = Peer(random)
    connected(peer, 0)
    assert waits(peer.closed(4503, 100)) == seconds


def test_replaced_twice_within_ten_minutes_is_final() -> None:
    peer = Peer(unlucky)
    connected(peer, 0)
    peer.closed(4503, 100)
    connected(peer, 150)
    assert isinstance(peer.closed(4503, 699), Stop)


def test_replaced_again_after_ten_minutes_is_a_first_time() -> None:
    peer = Peer(unlucky)
    connected(peer, 0)
    peer.closed(4503, 100)
    connected(peer, 150)
    assert waits(peer.closed(4503, 700)) == 60
    connected(peer, 800)
    assert isinstance(peer.closed(4503, 900), Stop)


def test_a_reconnect_frame_names_the_moment_to_come_back() -> None:
    peer = Peer(unlucky)
    connected(peer, 0)
    peer.reconnect_asked(5, 100)
    assert waits(peer.closed(4001, 102)) == 3
    connected(peer, 200)
    assert waits(peer.closed(1006, 300)) == 1  # it was said of the connection before


def test_a_reconnect_frame_before_the_welcome_counts_too() -> None:
    peer = Peer(lambda: 0.0)
    peer.offered([A, B], 30, 0)
    peer.reconnect_asked(5, 1)
    assert waits(peer.closed(4001, 2)) == 4


def test_what_a_server_asked_that_then_failed_is_forgotten() -> None:
    peer = Peer(lambda: 0.0)
    peer.offered([A, B], 30, 0)
    peer.reconnect_asked(60, 1)
    assert peer.server_failed(2) == TryServer(B)
    peer.welcomed(3)
    assert waits(peer.closed(4001, 4)) == 0


def test_a_server_that_sends_everybody_away_at_once_does_not_keep_us_in_a_tight_circle() -> None:
    peer = Peer(unlucky)
    found = []
    for now in range(5):
        connected(peer, now)
        peer.reconnect_asked(0, now)
        found.append(waits(peer.closed(4001, now)))
    assert found == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("status", [400, 403, 404, 301])
def test_a_box_office_that_says_no_for_good_is_not_asked_again(status: int) -> None:
    step = Peer(unlucky).box_office_refused(status, None)
    assert isinstance(step, Stop)
    assert not step.login_needed


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_box_office_in_trouble_is_asked_again(status: int) -> None:
    assert waits(Peer(unlucky).box_office_refused(status, None)) == 1


def test_a_session_the_box_office_does_not_know_needs_a_login() -> None:
    step = Peer(unlucky).box_office_refused(401, None)
    assert isinstance(step, Stop)
    assert step.login_needed


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 40), st.floats(0, 1e12))
def test_no_wait_is_longer_than_the_cap_over_what_was_asked_for(random: float, failures: int, asked: float) -> None:
    peer = Peer(lambda: random)
    for _ in range(failures):
        peer.box_office_unreachable()
    obeyed = min(asked, LONGEST_RETRY_AFTER_SECONDS)
    assert obeyed <= waits(peer.box_office_refused(429, asked)) <= obeyed + CAP_SECONDS


urls = st.lists(st.sampled_from([A, B, C, "wss://d.example/"]), max_size=6)
retry_afters = st.none() | st.floats(0, 500)


class AnyLife(RuleBasedStateMachine):
    """Whatever happens in whatever order, within what the caller may do after each step.

    Beside the peer stands the contract, as sums: before when nobody may be asked (`not_before`, `held`), how often it
    failed since a connection that lasted, and what each wait must therefore be.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.drawn = 0.5
        self.peer = Peer(lambda: self.drawn)
        self.step: Step = self.peer.start()
        self.offered: list[str] = []
        self.tried: list[str] = []
        self.held: dict[str, float] = {}
        self.not_before = 0.0
        self.failures = 0
        self.welcomed_at: float | None = None
        self.leave_at: float | None = None
        self.replaced_at: float | None = None

    # --- what must be so ---------------------------------------------------------------------------------------------

    def must_try_or_back_off(self, step: Step) -> None:
        """The next of the list that is not held, or the Box Office: when the first has room, if all said when."""
        self.step = step
        if isinstance(step, TryServer):
            assert step.url in self.offered
            assert step.url not in self.tried
            assert self.held.get(step.url, self.now) <= self.now
            assert self.offered.index(step.url) >= max((self.offered.index(t) for t in self.tried), default=0)
            assert self.now >= self.not_before
            self.tried.append(step.url)
            return
        held = [until for url in set(self.offered) if (until := self.held.get(url, self.now)) > self.now]
        all_full = bool(held) and len(held) == len(set(self.offered))
        self.must_back_off(step, asked=min(held) - self.now if all_full else 0.0)

    def must_back_off(self, step: Step, *, asked: float = 0.0) -> None:
        """To the Box Office, after what was asked for and full jitter under a ceiling that doubles."""
        self.step = step
        ceiling = min(CAP_SECONDS, 2.0 ** min(self.failures, 20))
        assert waits(step) == pytest.approx(asked + ceiling * self.drawn)
        self.failures += 1
        self.wait_at_least(asked)

    def wait_at_least(self, seconds: float) -> None:
        self.not_before = max(self.not_before, self.now + seconds)

    def must_stop(self, step: Step) -> None:
        self.step = step
        assert isinstance(step, Stop)

    def go_to_the_box_office(self) -> None:
        self.now += waits(self.step)
        assert self.now >= self.not_before - 1e-6
        self.offered = []

    # --- what may happen ---------------------------------------------------------------------------------------------

    @rule(seconds=st.floats(0, 1000), drawn=st.floats(0, 1, exclude_max=True))
    def time_passes(self, seconds: float, drawn: float) -> None:
        self.now += seconds
        self.drawn = drawn

    @precondition(lambda self: isinstance(self.step, AskBoxOffice))
    @rule(servers=urls, expires=st.floats(0, 60))
    def the_box_office_answers(self, servers: list[str], expires: float) -> None:
        self.go_to_the_box_office()
        self.offered, self.tried = servers, []
        self.must_try_or_back_off(self.peer.offered(servers, expires, self.now))

    @precondition(lambda self: isinstance(self.step, AskBoxOffice))
    @rule(status=st.sampled_from([429, 503]), retry_after=retry_afters)
    def the_box_office_refuses_for_now(self, status: int, retry_after: float | None) -> None:
        self.go_to_the_box_office()
        self.must_back_off(self.peer.box_office_refused(status, retry_after), asked=retry_after or 0.0)

    @precondition(lambda self: isinstance(self.step, AskBoxOffice))
    @rule(status=st.sampled_from([401, 404]), retry_after=retry_afters)
    def the_box_office_refuses_for_good(self, status: int, retry_after: float | None) -> None:
        self.go_to_the_box_office()
        self.must_stop(self.peer.box_office_refused(status, retry_after))

    @precondition(lambda self: isinstance(self.step, AskBoxOffice))
    @rule()
    def the_box_office_is_away(self) -> None:
        self.go_to_the_box_office()
        self.must_back_off(self.peer.box_office_unreachable())

    @precondition(lambda self: isinstance(self.step, TryServer) and self.welcomed_at is None)
    @rule(retry_after=retry_afters)
    def the_server_does_not_take_us(self, retry_after: float | None) -> None:
        self.leave_at = None
        if retry_after is not None:
            self.held[self.tried[-1]] = self.now + retry_after
        self.must_try_or_back_off(self.peer.server_failed(self.now, retry_after))

    @precondition(lambda self: isinstance(self.step, TryServer) and self.welcomed_at is None)
    @rule()
    def the_server_takes_us(self) -> None:
        self.welcomed_at = self.now
        self.peer.welcomed(self.now)

    @precondition(lambda self: isinstance(self.step, TryServer))
    @rule(after=st.floats(0, 100))
    def the_server_asks_to_reconnect(self, after: float) -> None:
        self.leave_at = self.now + after
        self.peer.reconnect_asked(after, self.now)

    @precondition(lambda self: isinstance(self.step, TryServer))
    @rule(code=st.sampled_from([1000, 1006, 4001, 4002, 4005, 4499]))
    def the_connection_ends(self, code: int) -> None:
        lasted, was_connected, leave_at = self.end()
        step = self.peer.closed(code, self.now)
        if leave_at is None and not was_connected:
            self.must_try_or_back_off(step)
        elif leave_at is None:
            self.must_back_off(step)
        elif not lasted:
            self.must_back_off(step, asked=max(0.0, leave_at - self.now))
        else:
            self.step = step
            assert waits(step) == pytest.approx(max(0.0, leave_at - self.now))
            self.wait_at_least(leave_at - self.now)

    @precondition(lambda self: isinstance(self.step, TryServer))
    @rule()
    def a_newer_connection_takes_over(self) -> None:
        """Once more after half a minute to a minute; a second time within ten minutes is final."""
        self.end()
        step = self.peer.closed(4503, self.now)
        before, self.replaced_at = self.replaced_at, self.now
        if before is not None and self.now - before < 600:
            return self.must_stop(step)
        self.step = step
        assert waits(step) == pytest.approx(30 + 30 * self.drawn)
        return self.wait_at_least(30)

    @precondition(lambda self: isinstance(self.step, TryServer))
    @rule(code=st.sampled_from([4500, 4501, 4502, 4504, 4505, 4999]))
    def the_connection_ends_for_good(self, code: int) -> None:
        self.end()
        self.must_stop(self.peer.closed(code, self.now))

    def end(self) -> tuple[bool, bool, float | None]:
        """Whether it lasted, whether it was welcome, when it was asked to leave."""
        welcomed_at, self.welcomed_at = self.welcomed_at, None
        leave_at, self.leave_at = self.leave_at, None
        lasted = welcomed_at is not None and self.now - welcomed_at >= STABLE_SECONDS
        if lasted:
            self.failures = 0
        return lasted, welcomed_at is not None, leave_at

    @precondition(lambda self: isinstance(self.step, Stop))
    @rule()
    def somebody_logs_in_anew(self) -> None:
        """Another session, so another life, but servers that are full are full."""
        self.step = self.peer.start()
        assert self.step == AskBoxOffice(0.0)
        self.failures, self.replaced_at, self.welcomed_at, self.leave_at = 0, None, None, None
        self.not_before = 0.0

    @invariant()
    def no_wait_is_negative_or_for_ever(self) -> None:
        if isinstance(self.step, AskBoxOffice):
            assert 0 <= self.step.after_seconds <= LONGEST_RETRY_AFTER_SECONDS + CAP_SECONDS


TestAnyLife = AnyLife.TestCase
TestAnyLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=60, max_size=60), st.integers(0, 29))
def test_however_short_connections_are_the_box_office_is_asked_less_and_less(draws: list[float], lasts: int) -> None:
    """A server that takes connections and drops them: the sum of 60 waits is what exponential growth makes of it."""
    assume(sum(draws) > 20)
    drawn = iter(draws)
    peer, now, ceilings = Peer(lambda: next(drawn)), 0.0, []
    for draw in draws:
        connected(peer, now)
        now += lasts
        wait = waits(peer.closed(1006, now))
        ceilings.append(wait / draw if draw > 1e-9 else None)
        now += wait
    for position, ceiling in enumerate(ceilings):
        assert ceiling is None or ceiling == pytest.approx(min(300, 2**position))
