"""What roles count and measure, for Prometheus.

base.py: what all roles have; redis.py: their link; process.py: event loop and garbage collector; http.py, shared.py:
what several have; roles.py: what each has of its own; kinds.py: histograms that cost little, values looked up.

Owns: the names, labels and buckets of all metrics, one registry per role.
Promises: labels have few values (a route's template, a code, a word, the number of a partition), never an id, a URL or
anything a peer chose; a role shows no metric that it never sets; what is on the way of a message costs it less than a
microsecond.
Must not know: who reads them (the admin listener of runtime.py) or where events happen.
"""

from pushctl.metrics.base import CONTENT_TYPE, Metrics, WithStages
from pushctl.metrics.http import HttpMetrics
from pushctl.metrics.roles import (
    ApiMetrics,
    BoxOfficeMetrics,
    GcMetrics,
    RouterMetrics,
    SocketMetrics,
)
from pushctl.metrics.shared import RpcMetrics

__all__ = [
    "CONTENT_TYPE",
    "ApiMetrics",
    "BoxOfficeMetrics",
    "GcMetrics",
    "HttpMetrics",
    "Metrics",
    "RouterMetrics",
    "RpcMetrics",
    "SocketMetrics",
    "WithStages",
]
