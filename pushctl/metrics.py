"""What a role counts and measures, for Prometheus.

Owns: the names, labels and buckets of all metrics, one registry per role.
Promises: labels have few values (a route's template, a code, a word, the number of a partition), never an id, a URL or
anything a peer chose.
Must not know: who reads them (the admin listener of runtime.py) or where events happen.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from pushctl.stages import Stage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


SLOW_CLOSE = "4002"
"""The code with which a device that takes no data is closed."""


class Metrics:
    """The metrics of one role. Roles in one process (`serve all`) have one each, so their numbers never mix."""

    def __init__(self, role: str) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.role = role
        ProcessCollector(registry=registry)
        Gauge("pushctl_role", "1 for the role this process plays", ["role"], registry=registry).labels(role).set(1)
        self.dev_idp = Gauge(
            "pushctl_dev_idp", "1 while the development identity provider lets anybody in", registry=registry
        )
        self.stages = Counter(
            "pushctl_messages", "messages that reached a stage of their life", ["stage"], registry=registry
        )
        self._stages = {stage: self.stages.labels(stage.value) for stage in Stage}
        self.http_requests = Counter(
            "pushctl_http_requests", "requests answered, by route and status", ["route", "status"], registry=registry
        )
        self.connections = Gauge("pushctl_connections", "open client connections", registry=registry)
        self.receipt_waits = Gauge(
            "pushctl_receipt_waits", "requests that wait for a delivery receipt", registry=registry
        )
        self.arrivals = Counter(
            "pushctl_arrivals",
            "clients that were let in: connections taken by a socket server, lists given by a Box Office",
            registry=registry,
        )
        self.closes = Counter("pushctl_closes", "sockets closed, by close code", ["code"], registry=registry)
        self.refusals = Counter("pushctl_refusals", "what was refused, by reason", ["reason"], registry=registry)
        self.jobs = Counter("pushctl_jobs", "routing jobs, by outcome", ["outcome"], registry=registry)
        self.job_backlog = Gauge(
            "pushctl_job_backlog", "jobs not handed over yet, by partition", ["partition"], registry=registry
        )
        self.job_lag_seconds = Gauge(
            "pushctl_job_lag_seconds", "age of the oldest of them, by partition", ["partition"], registry=registry
        )
        self.job_seconds = Histogram(
            "pushctl_job_seconds", "from the writing of a job to its hand-over", buckets=_SECONDS, registry=registry
        )
        self.gc_removed = Counter("pushctl_gc_removed", "things thrown away, by kind", ["what"], registry=registry)
        self.gc_repaired = Counter("pushctl_gc_repaired", "things put right, by kind", ["what"], registry=registry)
        self.gc_backlog = Gauge("pushctl_gc_backlog", "users with something expired that waits", registry=registry)
        self.gc_oldest_due_seconds = Gauge(
            "pushctl_gc_oldest_due_seconds", "how long the longest of them has waited", registry=registry
        )
        self.accept_seconds = Histogram(
            "pushctl_accept_seconds", "from a request's last byte to its 201", buckets=_SECONDS, registry=registry
        )

    def stage(self, stage: Stage, count: int = 1) -> None:
        """Count messages that reached a stage. The quick way: no look-up of labels."""
        self._stages[stage].inc(count)

    def counts(self) -> dict[str, int]:
        """What was done since the start, in a few words: those of Stage, and what operators look at first."""
        closes = _totals(self.closes)
        return _totals(self.stages) | {
            "requests": sum(_totals(self.http_requests).values()),
            "arrivals": sum(_totals(self.arrivals).values()),
            "closes": sum(closes.values()),
            "slow_closes": closes.get(SLOW_CLOSE, 0),
            "refused": sum(_totals(self.refusals).values()),
            "jobs": _totals(self.jobs).get("handed_over", 0),
        }

    def render(self) -> bytes:
        """All of it in Prometheus' text format (CONTENT_TYPE)."""
        return generate_latest(self._registry)


def _totals(counter: Counter) -> dict[str, int]:
    """By the first label; of several, their sum."""
    found: dict[str, int] = {}
    for family in counter.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                word = next(iter(sample.labels.values()), "")
                found[word] = found.get(word, 0) + int(sample.value)
    return found
