"""Metrics that several roles have, and those of calls to socket servers.

Owns: their names, labels and help. Must not know: which roles have them (roles.py).
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

from prometheus_client import Counter

from pushctl.metrics.base import Metrics

ANSWERED: Final = "answered"
REPLACED: Final = "replaced"
UNANSWERED: Final = "unanswered"


def arrivals(metrics: Metrics) -> Counter:
    return metrics.counter(
        "arrivals", "clients that were let in: connections taken by a socket server, lists given by a Box Office"
    )


class Certificate(Protocol):
    """What pushctl.tls.Tls is."""

    @property
    def ends(self) -> datetime: ...


class TlsMetrics:
    """Of a public listener that speaks TLS. A role whose listener does not shows none of it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def watch(self, certificate: Certificate | None) -> None:
        """Of this listener; None: it speaks plain HTTP. Call it once."""
        if certificate is not None:
            ends = self._metrics.looked("tls_ends_timestamp_seconds", "when the public listener's certificate ends")
            ends.look = lambda: [((), certificate.ends.timestamp())]


class KeyMetrics:
    """Of a role with sealing keys."""

    def __init__(self, metrics: Metrics) -> None:
        self._sealing = metrics.looked(
            "sealing_keys",
            "sealing keys of this role: seals: what is new; waits: it is to seal, and not every role has it; opens",
            ["state"],
        )
        self._lacking = metrics.looked("keys_lacking", "keys that others use and this role lacks")

    def look(self, states: Callable[[], Mapping[str, int]], lacking: Callable[[], int]) -> None:
        """From now on these say how many there are."""
        self._sealing.look = lambda: [((state,), count) for state, count in states().items()]
        self._lacking.look = lambda: [((), lacking())]


class ProviderMetrics:
    """Of a role with OpenID providers; one without shows none of it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def watch(self, fetches: Callable[[], Mapping[str, int]], ages: Callable[[], Mapping[str, float]]) -> None:
        """`fetches`: of their keys, by outcome; `ages`: seconds since the last good one, by provider. Call it once."""
        counter = self._metrics.looked_counter(
            "provider_key_fetches", "fetches of OpenID providers' keys, by outcome", ["outcome"]
        )
        counter.look = lambda: [((outcome,), count) for outcome, count in fetches().items()]
        age = self._metrics.looked(
            "provider_keys_age_seconds", "since the keys of an OpenID provider were last fetched", ["provider"]
        )
        age.look = lambda: [((provider,), seconds) for provider, seconds in ages().items()]


class RpcMetrics:
    """Of a router that calls socket servers."""

    def __init__(self, metrics: Metrics) -> None:
        self._calls = metrics.counter_of(
            "rpc_calls", "calls of socket servers, by outcome", "outcome", (ANSWERED, REPLACED, UNANSWERED)
        )
        self._seconds = metrics.tallies("rpc_seconds", "how long these calls took").of()
        self.suspected = metrics.looked(
            "rpc_suspected", "socket servers that do not answer calls: theirs goes by the channel"
        )

    def called(self, outcome: str, seconds: float) -> None:
        """`outcome`: one of the words above."""
        self._calls.labels(outcome).inc()
        self._seconds.add(seconds)


class TraceMetrics:
    """Of a role that follows messages."""

    def __init__(self, metrics: Metrics) -> None:
        self._spans = metrics.counter_of(
            "spans", "spans of traces, by what became of them", "outcome", ("sent", "dropped", "failed")
        )

    def ended(self, outcome: str, count: int) -> None:
        """`outcome`: one of the words above; of so many."""
        self._spans.labels(outcome).inc(count)
