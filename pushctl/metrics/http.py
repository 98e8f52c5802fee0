"""What a public HTTP listener says of itself.

Owns: names and labels of these metrics, and the counting of one answer. Promises: an answer is counted without looking
up labels of prometheus-client. Labels: a route's template, a status, a problem's code.
Must not know: routes; the HTTP server, which is only asked how many connections it has.
"""

from collections import Counter as Counts
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pushctl.tally import Tally

if TYPE_CHECKING:
    from pushctl.metrics.base import Metrics


class ServerStatistics(Protocol):
    """What http.server says that it did since it was made."""

    @property
    def connections(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def problems(self) -> int: ...
    @property
    def crashes(self) -> int: ...


class HttpMetrics:
    """Of one role's listener."""

    def __init__(self, metrics: "Metrics") -> None:
        self.requests: Counts[tuple[str, str]] = Counts()
        """How many were answered, by route and status."""
        metrics.looked_counter(
            "http_requests", "requests answered, by route and status", ["route", "status"]
        ).look = self.requests.items
        self._seconds = metrics.tallies("http_seconds", "from a request's headers to its answer, by route", ["route"])
        self.problems = metrics.counter("problems", "errors that peers were told over HTTP, by code", ["code"])
        self.in_flight = 0
        """Requests that are being answered."""
        metrics.looked("http_in_flight", "requests that are being answered").look = lambda: [((), self.in_flight)]
        self._connections = metrics.looked("http_connections", "open connections of the public listener")
        self._capacity = metrics.gauge("http_capacity", "http.max_connections")
        self._refused = metrics.looked_counter("http_refused", "connections beyond http.max_connections")
        self._rejected = metrics.looked_counter(
            "http_rejected", "requests that the listener answered itself: no HTTP, too slow, too large"
        )
        self._crashes = metrics.looked_counter("http_crashes", "requests and connections on which our own code failed")
        self._tallies: dict[str, Tally] = {}

    def watch(self, statistics: Callable[[], ServerStatistics], capacity: int) -> None:
        """From now on these are the numbers of the listener. `capacity`: connections that it takes."""
        self._capacity.set(capacity)
        self._connections.look = lambda: [((), statistics().connections)]
        self._refused.look = lambda: [((), statistics().refused)]
        self._rejected.look = lambda: [((), statistics().problems)]
        self._crashes.look = lambda: [((), statistics().crashes)]

    def answered(self, route: str, status: str, seconds: float, problem: str | None) -> None:
        """`problem`: the code, if the answer says one."""
        self.requests[route, status] += 1
        tally = self._tallies.get(route)
        if tally is None:
            tally = self._tallies[route] = self._seconds.of(route)
        tally.add(seconds)
        if problem is not None:
            self.problems.labels(problem).inc()
