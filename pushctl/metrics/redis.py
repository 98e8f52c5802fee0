"""What a role's link to Redis says of itself.

Owns: names, labels and help of these metrics. Promises: reading them costs the link nothing but the reading. Labels:
the kinds of lanes, the words of pushctl/tally.py; masters only where one of several has to be told from the others.
Must not know: the link, which only fills in a LinkTally.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from pushctl.metrics.kinds import told
from pushctl.tally import ERROR_WORDS, LaneState, LaneTally, LinkTally

_LANE = ("lane",)


class RedisMetrics(Collector):
    def __init__(self, tally: LinkTally, registry: CollectorRegistry) -> None:
        self._tally = tally
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield from self._lanes_now()
        yield from self._lanes_so_far()
        yield from self._failures()

    def _lanes_now(self) -> Iterable[Metric]:
        states = list(self._tally.state())
        connected = GaugeMetricFamily(
            "pushctl_redis_connected",
            "1 while this lane to this master can be used",
            labels=("lane", "master"),
        )
        for state in states:
            connected.add_metric((state.lane, state.master), state.connected)
        yield connected
        of_state: list[tuple[str, str, Callable[[LaneState], int]]] = [
            ("pushctl_redis_queue_commands", "commands that wait to be sent to Redis", lambda s: s.waiting),
            ("pushctl_redis_queue_bytes", "bytes of the commands that wait to be sent", lambda s: s.waiting_bytes),
            ("pushctl_redis_in_flight", "commands that were sent and are not answered yet", lambda s: s.in_flight),
        ]
        for name, text, value in of_state:
            family = GaugeMetricFamily(name, text, labels=_LANE)
            sums: Counter[str] = Counter()
            for state in states:
                sums[state.lane] += value(state)
            for lane, total in sums.items():
                family.add_metric((lane,), total)
            yield family

    def _lanes_so_far(self) -> Iterable[Metric]:
        seconds = HistogramMetricFamily(
            "pushctl_redis_seconds", "from the sending of a command to its reply", labels=_LANE
        )
        confirm = HistogramMetricFamily(
            "pushctl_redis_wait_seconds", "how long WAIT took: the confirmation by replicas", labels=_LANE
        )
        for lane, tally in self._tally.lanes.items():
            told(seconds, (lane,), tally.seconds)
            if tally.confirm_seconds.count:
                told(confirm, (lane,), tally.confirm_seconds)
        yield seconds
        yield confirm
        of_tally: list[tuple[str, str, Callable[[LaneTally], int]]] = [
            ("pushctl_redis_commands", "commands sent to Redis", lambda t: t.commands),
            ("pushctl_redis_batches", "writes to Redis: commands that waited together share one", lambda t: t.batches),
            ("pushctl_redis_reconnects", "connections to Redis that were lost", lambda t: t.reconnects),
        ]
        for name, text, value in of_tally:
            family = CounterMetricFamily(name, text, labels=_LANE)
            for lane, tally in self._tally.lanes.items():
                family.add_metric((lane,), value(tally))
            yield family

    def _failures(self) -> Iterable[Metric]:
        tally = self._tally
        failures = CounterMetricFamily(
            "pushctl_redis_failures", "questions to Redis that were not answered, by kind", labels=("kind",)
        )
        for kind, count in tally.failures.items():
            failures.add_metric((kind,), count)
        yield failures
        replies = CounterMetricFamily(
            "pushctl_redis_error_replies",
            "error replies of Redis, by their first word; MOVED and ASK redirect, NOSCRIPT asks for a script",
            labels=("word",),
        )
        for word in (*sorted(ERROR_WORDS), "other"):
            replies.add_metric((word,), tally.error_replies[word])
        yield replies
        yield CounterMetricFamily(
            "pushctl_redis_hints_dropped", "hints not sent for want of room or of Redis", value=tally.hints_dropped
        )
        yield CounterMetricFamily(
            "pushctl_redis_abandoned", "commands whose caller gave up before the reply came", value=tally.abandoned
        )
