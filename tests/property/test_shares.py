"""A rate that several processes keep together: what they let through, however their charges and answers interleave."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from pushctl.rates import Rate, TokenBucket
from roles.api.share import Share, slack_of

NS = 1_000_000_000

rates = st.builds(Rate, st.sampled_from([0.5, 1, 3, 7, 10, 99.9, 1000]), st.sampled_from([1, 2, 7, 50, 300]))


class Shared:
    """The bucket in Redis, as script charge keeps it."""

    def __init__(self, rate: Rate) -> None:
        self.most_us, self.span_us = rate.most_us, rate.span_us
        self.full_at = 0

    def charge(self, cost_us: int, now_us: int) -> int:
        full_at = max(self.full_at, now_us)
        self.full_at = min(full_at, now_us + self.most_us) + cost_us
        return max(0, self.full_at - now_us)


@dataclass
class Process:
    share: Share
    answers: deque[int] = field(default_factory=deque)
    """Of a charge that is under way, not heard yet."""


@dataclass
class Fleet:
    rate: Rate
    processes: list[Process]
    shared: Shared
    slack: int
    now_us: int = 1_000_000
    passed: list[int] = field(default_factory=list)
    prompt: bool = False
    """Answers take no time."""

    @classmethod
    def of(cls, rate: Rate, count: int, *, prompt: bool = False) -> "Fleet":
        slack = slack_of(rate)
        processes = [Process(Share(rate, slack, 1.0)) for _ in range(count)]
        return cls(rate, processes, Shared(rate), slack, prompt=prompt)

    @property
    def now(self) -> float:
        return self.now_us / 1_000_000

    def charge(self, process: Process) -> None:
        if process.share.owes and not process.answers:
            process.answers.append(self.shared.charge(process.share.charge(), self.now_us))
            if self.prompt:
                self.hear(process)

    def hear(self, process: Process) -> None:
        if process.answers:
            process.share.charged(process.answers.popleft(), self.now)

    def ask(self, process: Process) -> float | None:
        """None: it must charge first."""
        if process.share.must_charge:
            return None
        wait_seconds = process.share.take(self.now)
        if not wait_seconds:
            self.passed.append(self.now_us)
        return wait_seconds

    def settle(self) -> None:
        for process in self.processes * 2:
            self.hear(process)
            self.charge(process)
            self.hear(process)

    def most_in_a_span(self) -> float:
        """By how much burst + per_second * T was exceeded, at worst."""
        return max(
            last - first + 1 - self.rate.burst - self.rate.per_second * (self.passed[last] - self.passed[first]) / 1e6
            for first in range(len(self.passed))
            for last in range(first, len(self.passed))
        )


Step = tuple[int, int, bool, bool, bool, int]
"""(which process, how often it is asked, whether it hears its last answer before, charges behind, hears at once; how
long until the next, in hundredths of a turn)"""

steps = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(1, 12),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.one_of(st.just(0), st.integers(0, 120), st.integers(0, 2000)),
    ),
    min_size=1,
    max_size=80,
)


def play(fleet: Fleet, plan: list[Step]) -> None:
    for who, times, hears, charges, at_once, wait in plan:
        process = fleet.processes[who % len(fleet.processes)]
        if hears:
            fleet.hear(process)
        for _ in range(times):
            fleet.ask(process)
        if charges:
            fleet.charge(process)
        if at_once:
            fleet.hear(process)
        fleet.now_us += round(wait * 10_000 / fleet.rate.per_second)


@settings(max_examples=300)
@given(rates, st.integers(1, 5), steps)
def test_processes_together_exceed_no_span_by_more_than_the_slack_of_the_others(
    rate: Rate, count: int, plan: list[Step]
) -> None:
    fleet = Fleet.of(rate, count)
    play(fleet, plan)
    if fleet.passed:
        assert fleet.most_in_a_span() <= (count - 1) * fleet.slack + 0.001


@settings(max_examples=50)
@given(st.builds(Rate, st.sampled_from([0.5, 1, 10, 1000]), st.sampled_from([1, 7, 300])), steps)
def test_alone_a_process_that_charges_at_once_lets_through_what_a_bucket_of_its_own_would(
    rate: Rate, plan: list[Step]
) -> None:
    fleet, bucket = Fleet.of(rate, 1), TokenBucket(rate, 1.0)
    for _, times, _, _, _, wait in plan[:20]:
        fleet.now_us += round(wait * 10_000 / rate.per_second)
        for _ in range(times):
            assert (fleet.ask(fleet.processes[0]) == 0) == (bucket.take(fleet.now) == 0)
            fleet.settle()


@settings(max_examples=200)
@given(rates, st.integers(1, 5), steps)
def test_nobody_is_refused_while_the_shared_bucket_holds_one_and_the_wait_is_true(
    rate: Rate, count: int, plan: list[Step]
) -> None:
    fleet = Fleet.of(rate, count, prompt=True)
    play(fleet, plan)
    fleet.settle()
    price_us = 1_000_000 / rate.per_second
    for process in fleet.processes:
        wait_seconds = process.share.take(fleet.now)
        left_us = fleet.shared.span_us - max(0, fleet.shared.full_at - fleet.now_us)
        if wait_seconds:
            assert left_us < price_us + 2
            # Others may have charged since this process was answered: then it learns it by and by.
            process.share.charged(max(0, fleet.shared.full_at - fleet.now_us), fleet.now)
            wait_seconds = process.share.take(fleet.now)
            assert wait_seconds > 0
            assert process.share.take(fleet.now + wait_seconds - 0.00001 / rate.per_second) > 0
            assert process.share.take(fleet.now + wait_seconds) == 0
            assert process.share.take(fleet.now + wait_seconds) > 0
            return
        process.share.give_back()


@given(rates, st.integers(1, 5))
def test_what_is_too_much_is_paid_back(rate: Rate, count: int) -> None:
    """Everything that passed is charged: the bucket is as far from full as if one had counted all of it."""
    fleet = Fleet.of(rate, count)
    for process in fleet.processes:
        for _ in range(fleet.slack):
            fleet.ask(process)
    fleet.settle()
    owed_us = len(fleet.passed) * 1_000_000 / rate.per_second
    assert abs(fleet.shared.full_at - fleet.now_us - owed_us) <= count


@given(rates, st.integers(1, 3))
def test_what_was_given_back_was_never_taken(rate: Rate, count: int) -> None:
    fleet = Fleet.of(rate, count)
    for process in fleet.processes:
        for charged_first in (False, True):
            if fleet.ask(process) == 0:
                if charged_first:
                    fleet.settle()
                process.share.give_back()
                fleet.settle()
    assert fleet.shared.full_at <= fleet.now_us + count
