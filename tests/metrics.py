"""All metrics that there are: of every role, with what only some configurations show.

Owns: nothing. Must not know: what they mean.
"""

import re
from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from pushctl.metrics import ApiMetrics, BoxOfficeMetrics, GcMetrics, Metrics, RouterMetrics, SocketMetrics
from pushctl.tally import LaneState


class Ends:
    """A certificate."""

    ends = datetime(2030, 1, 1, tzinfo=UTC)


def of_all_roles() -> list[Metrics]:
    """One of each; of routers one for each kind of strategy."""
    api, boxoffice, socket = ApiMetrics(), BoxOfficeMetrics(), SocketMetrics()
    for tls in (api.tls, boxoffice.tls, socket.tls):
        tls.watch(Ends())
    api.providers.watch(lambda: {"ok": 0, "failed": 0}, lambda: {"accounts": 0.0})
    everybody: list[Metrics] = [api, boxoffice, socket, RouterMetrics("rpc"), RouterMetrics("channel"), GcMetrics()]
    for metrics in everybody:
        metrics.redis.lane("quick")
        metrics.redis.state = lambda: [LaneState("quick", "127.0.0.1:6379", True, 0, 0, 0)]
    return everybody


def values(metrics: Metrics | str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Samples by name and label values; also of a text in Prometheus' format."""
    text = metrics if isinstance(metrics, str) else metrics.render().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def helps(metrics: Metrics | str) -> dict[str, str]:
    """Of each family of ours, as Prometheus is told: its help."""
    text = metrics if isinstance(metrics, str) else metrics.render().decode()
    return dict(re.findall(r"^# HELP (pushctl_\w+) (.*)$", text, re.MULTILINE))
