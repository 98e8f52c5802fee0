"""What every role counts and measures, and how a role's own metrics are made.

Owns: the registry of one role, the metrics that all have. Must not know: which roles there are (roles.py).
"""

import platform
from collections import Counter as Counts
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

import pushctl
from pushctl.metrics.kinds import Looked, Tallies
from pushctl.metrics.process import collector_pauses
from pushctl.metrics.redis import RedisMetrics
from pushctl.stages import Stage
from pushctl.tally import QUICK_SECONDS, LinkTally

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# When each series was made doubles what is sent, and tells nothing that process_start_time_seconds does not.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The metrics of one role. Roles in one process (`serve all`) have one each, so their numbers never mix; what
    describes the process is the same in all of them."""

    def __init__(self, role: str) -> None:
        self._registry = CollectorRegistry()
        self.role = role
        ProcessCollector(registry=self._registry)
        self.gauge("role", "1 for the role this process plays", ["role"]).labels(role).set(1)
        self.gauge("build_info", "1 for the version of pushctl and of Python", ["version", "python"]).labels(
            pushctl.__version__, platform.python_version()
        ).set(1)
        self.dev_idp = self.gauge("dev_idp", "1 while the development identity provider lets anybody in")
        self.ready = self.gauge("ready", "1 while it can do its work, as /readyz says; looked at every 5 s")
        self._lag = self.tallies(
            "loop_lag_seconds", "how late the event loop was, twice a second", bounds=(0.0005, *QUICK_SECONDS)
        ).of()
        self._pauses()
        self.redis = LinkTally()
        RedisMetrics(self.redis, self._registry)

    def _pauses(self) -> None:
        pauses = self.tallies(
            "collector_seconds", "for how long Python's collector stopped the process", ["generation"]
        )
        for generation, tally in enumerate(collector_pauses().tallies):
            pauses.show(tally, str(generation))

    # --- making a role's own -----------------------------------------------------------------------------------------

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """`name`: without prefix and `_total`."""
        return Counter(f"pushctl_{name}", text, labels, registry=self._registry)

    def counter_of(self, name: str, text: str, label: str, words: Iterable[str]) -> Counter:
        """With one label whose values are known: all of them are there from the start, at 0."""
        counter = self.counter(name, text, [label])
        for word in words:
            counter.labels(word)
        return counter

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(f"pushctl_{name}", text, labels, registry=self._registry)

    def tallies(
        self, name: str, text: str, labels: Sequence[str] = (), *, bounds: Sequence[float] = QUICK_SECONDS
    ) -> Tallies:
        """A histogram."""
        return Tallies(f"pushctl_{name}", text, labels, registry=self._registry, bounds=bounds)

    def looked(self, name: str, text: str, labels: Sequence[str] = ()) -> Looked:
        """A gauge whose values are looked up when Prometheus asks."""
        return Looked("gauge", f"pushctl_{name}", text, labels, registry=self._registry)

    def looked_counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Looked:
        """A counter that somebody else keeps. `name`: without `_total`."""
        return Looked("counter", f"pushctl_{name}", text, labels, registry=self._registry)

    def late(self, seconds: float) -> None:
        """The event loop came so late, once; see Liveness.tell."""
        self._lag.add(seconds)

    # --- reading -----------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """What was done since the start, in the few words that operators look at first (load.py)."""
        return {}

    def render(self) -> bytes:
        """All of it in Prometheus' text format (CONTENT_TYPE)."""
        return generate_latest(self._registry)


class WithStages(Metrics):
    """A role that messages pass through."""

    def __init__(self, role: str, stages: Iterable[Stage]) -> None:
        """`stages`: that messages reach in this role. They are there from the start."""
        super().__init__(role)
        self._stages: Counts[Stage] = Counts(dict.fromkeys(stages, 0))
        """How many messages reached each."""
        counter = self.looked_counter("messages", "messages that reached a stage of their life", ["stage"])
        counter.look = lambda: [((stage.value,), count) for stage, count in self._stages.items()]

    def counts(self) -> dict[str, int]:
        return {stage.value: count for stage, count in self._stages.items()}

    def stage(self, stage: Stage, count: int = 1) -> None:
        """Count messages that reached a stage."""
        self._stages[stage] += count


def totals(counter: Counter) -> dict[str, int]:
    """By the first label; of several, their sum."""
    found: dict[str, int] = {}
    for family in counter.collect():
        for sample in family.samples:
            word = next(iter(sample.labels.values()), "")
            found[word] = found.get(word, 0) + int(sample.value)
    return found
