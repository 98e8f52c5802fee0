"""The metrics of each role: a role shows what it counts, and nothing that it never would.

Owns: their names, labels, help and buckets. Promises: labels have few values (a word, a code, the number of a
partition), never an id, a URL or anything a peer chose; the stages and reasons that are known are there from the start.
Must not know: where events happen.
"""

from typing import Final

from pushctl.metrics.base import Metrics, WithStages, totals
from pushctl.metrics.http import HttpMetrics
from pushctl.metrics.shared import KeyMetrics, ProviderMetrics, RpcMetrics, TlsMetrics, TraceMetrics, arrivals
from pushctl.stages import Stage
from pushctl.tally import QUICK_SECONDS

DELIVERY_BOUNDS: Final = (*QUICK_SECONDS, 30.0, 60.0, 300.0)
"""A lost hint is made up for by a reconcile, a minute later."""

ACKNOWLEDGE_BOUNDS: Final = (*QUICK_SECONDS, 30.0, 60.0, 300.0, 3600.0)
"""A phone that sleeps acknowledges when it wakes."""

WAYS: Final = ("hint", "log", "sync")
"""How a message came to a connection: in a hint; from the log, while connected (hints were lost, the device was slow,
or it is a browser's, whose hints carry nothing); in the first sync, so that it waited for the device."""

OUTCOMES: Final = ("handed_over", "nobody", "pruned", "unheard", "detoured", "too_late", "given_up", "invalid")
"""What becomes of jobs: see routing/strategy.py and roles/router/partition.py."""

DEAD: Final = (Stage.READ, Stage.REPLACED, Stage.CANCELLED, Stage.EVICTED)


API_REASONS: Final = (
    "push_url_rate", "user_rate", "vapid_key_rate", "address_rate", "total_rate", "state_rate", "login_rate",
    "client_rate", "receipt_waits",
)  # fmt: skip
BOXOFFICE_REASONS: Final = ("rate_limited", "arrivals", "no_capacity", "store_unavailable")
SOCKET_REASONS: Final = (
    "full", "address", "address_rate", "accept_rate", "draining", "not_ready", "origin", "handshake", "too_slow",
)  # fmt: skip
SLOW_CLOSE: Final = "4002"
"""The code with which a device that takes no data is closed."""

CLOSE_CODES: Final = ("1000", "1001", "1008", "4001", "4002", "4003", "4004", "4005", "4501", "4503", "4504")
"""There from the start, so that the first of a kind is an increase, too. Others may come."""


class ApiMetrics(WithStages):
    def __init__(self) -> None:
        super().__init__("api", (Stage.RECEIVED, Stage.STORED, *DEAD))
        self.traces = TraceMetrics(self)
        self.http = HttpMetrics(self)
        self.accept_seconds = self.tallies("accept_seconds", "from a request's last byte to its 201").of()
        self.receipt_waits = self.gauge("receipt_waits", "requests that wait for a delivery receipt")
        self.refusals = self.counter_of("refusals", "what was refused, by reason", "reason", API_REASONS)
        self.providers = ProviderMetrics(self)
        self.keys = KeyMetrics(self)
        self.tls = TlsMetrics(self)

    def counts(self) -> dict[str, int]:
        requests, refused = sum(self.http.requests.values()), sum(totals(self.refusals).values())
        return super().counts() | {"requests": requests, "refused": refused}


class BoxOfficeMetrics(Metrics):
    def __init__(self) -> None:
        super().__init__("boxoffice")
        self.http = HttpMetrics(self)
        self.arrivals = arrivals(self)
        self.refusals = self.counter_of("refusals", "what was refused, by reason", "reason", BOXOFFICE_REASONS)
        self.picture_age_seconds = self.looked(
            "picture_age_seconds", "since the office last learned which socket servers there are"
        )
        self.tls = TlsMetrics(self)

    def counts(self) -> dict[str, int]:
        return {
            "requests": sum(self.http.requests.values()),
            "arrivals": sum(totals(self.arrivals).values()),
            "refused": sum(totals(self.refusals).values()),
        }


class SocketMetrics(WithStages):
    def __init__(self) -> None:
        super().__init__("socket", (Stage.WRITTEN, Stage.ACKNOWLEDGED, *DEAD))
        self.traces = TraceMetrics(self)
        self.connections = self.gauge("connections", "open client connections")
        self.capacity = self.gauge("capacity", "socket.max_connections")
        self.users = self.looked("connected_users", "users with at least one connection here")
        self.arriving = self.looked("arriving", "accepted streams that have not said hello yet, or are being closed")
        self.slow = self.looked(
            "slow_connections",
            "behind: connections whose log has to be read; held_back: peers that send too fast, and are read later",
            ["how"],
        )
        self.outbox_bytes = self.looked("outbox_bytes", "bytes of frames that wait for their connections")
        self.draining = self.looked("draining", "1 while this server sends its clients elsewhere")
        self.arrivals = arrivals(self)
        self.closes = self.counter_of("closes", "sockets closed, by close code", "code", CLOSE_CODES)
        self.refusals = self.counter_of("refusals", "what was refused, by reason", "reason", SOCKET_REASONS)
        self.frames = self.looked_counter("frames_written", "frames of any kind written to connections")
        self._delivery = self.tallies(
            "delivery_seconds",
            "from a message's acceptance to its writing to a device, by the clock of Redis, and how it came there",
            ["way"],
            bounds=DELIVERY_BOUNDS,
        )
        self.delivery_seconds = {way: self._delivery.of(way) for way in WAYS}
        self.acknowledge_seconds = self.tallies(
            "acknowledge_seconds",
            "from a message's writing to the device's word that it is safe there",
            bounds=ACKNOWLEDGE_BOUNDS,
        ).of()
        self.unwritten = self.looked("acknowledgements_waiting", "acknowledgements that Redis has not confirmed yet")
        hints = self.counter_of("hints_heard", "batches of hints that came here, by way", "way", ("rpc", "channel"))
        self.hints_by_rpc, self.hints_by_channel = hints.labels("rpc"), hints.labels("channel")
        self.channel_silent_seconds = self.looked(
            "channel_silent_seconds",
            "since the channel that was silent for longest was heard; a probe is due after 30 s",
        )
        self.deaf_channels = self.looked("channels_deaf", "partitions whose channel is not heard")
        self.channel_losses = self.looked_counter("channel_losses", "channels that were lost, and listened to again")
        self.keys = KeyMetrics(self)
        self.tls = TlsMetrics(self)

    def counts(self) -> dict[str, int]:
        closes = totals(self.closes)
        return super().counts() | {
            "arrivals": sum(totals(self.arrivals).values()),
            "closes": sum(closes.values()),
            "slow_closes": closes.get(SLOW_CLOSE, 0),
            "refused": sum(totals(self.refusals).values()),
        }


class RouterMetrics(WithStages):
    def __init__(self, strategy: str) -> None:
        """`strategy`: routing.strategy, the same for as long as a router runs."""
        super().__init__("router", (Stage.ROUTED,))
        self.traces = TraceMetrics(self)
        self._strategy = strategy
        self._jobs = self.counter("jobs", "routing jobs, by outcome and strategy", ["outcome", "strategy"])
        self._outcomes = {outcome: self._jobs.labels(outcome, strategy) for outcome in OUTCOMES}
        self.backlog = self.gauge("job_backlog", "jobs not handed over yet, by partition", ["partition"])
        self.backlog_limit = self.gauge("job_backlog_limit", "routing.max_jobs: beyond it the oldest jobs go")
        self.backlog_bytes = self.gauge("job_backlog_bytes", "bytes of these jobs, by partition", ["partition"])
        self.backlog_bytes_limit = self.gauge(
            "job_backlog_bytes_limit", "routing.max_job_bytes: beyond it the oldest jobs go"
        )
        self.lag_seconds = self.gauge("job_lag_seconds", "age of the oldest of them, by partition", ["partition"])
        self.in_hand = self.gauge("jobs_in_hand", "jobs that this router took and has not handed over")
        self.job_seconds = self.tallies(
            "job_seconds", "from the writing of a job to its hand-over, by strategy", ["strategy"]
        ).of(strategy)
        self.batches = self.counter("job_batches", "times that jobs were taken: one brings all that waited")
        self.hints = self.counter("hints", "batches that left for socket servers")
        self.rpc: RpcMetrics | None = None
        self.keys: KeyMetrics | None = None
        if strategy == "rpc":
            self.rpc = RpcMetrics(self)
            self.keys = KeyMetrics(self)

    def jobs(self, outcome: str, count: int = 1) -> None:
        """Count what became of jobs: one of OUTCOMES."""
        self._outcomes[outcome].inc(count)

    def counts(self) -> dict[str, int]:
        return super().counts() | {"jobs": totals(self._jobs)["handed_over"]}


class GcMetrics(WithStages):
    def __init__(self) -> None:
        super().__init__("gc", (Stage.EXPIRED,))
        self.removed = self.counter_of(
            "gc_removed", "things thrown away, by kind", "what",
            ("message", "device", "browser", "server", "listing", "identity"),
        )  # fmt: skip
        self.repaired = self.counter_of(
            "gc_repaired", "things put right, by kind", "what", ("deletion", "listing", "identity", "orphan")
        )
        self.backlog = self.gauge("gc_backlog", "users with something expired that waits")
        self.oldest_due_seconds = self.gauge("gc_oldest_due_seconds", "how long the longest of them has waited")
        self.missed_ticks = self.counter("gc_missed_ticks", "rounds of sweeping, counting or repair that Redis failed")
