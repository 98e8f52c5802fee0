"""One look in Prometheus' text format, for node_exporter's textfile collector or a scrape by cron.

Owns: names, labels and help texts of `pushctl stats --prom`; docs/operations.md lists them. Promises: what is not known
is left out, never 0, and so is what a dead process last did; a label is what an operator named (a server's id, a host)
or one of few words. Must not know: how it was gathered.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from pushctl.clock import parse_rfc3339
from pushctl.overview import SECTIONS, Overview

Labels = Sequence[str]
Value = float | None
Row = tuple[Labels, Value]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric of a look. `rows`: its label values with a number each. A `counter` only grows while a process lives."""

    section: str
    name: str
    help: str
    labels: Labels
    rows: Callable[[Overview], Iterable[Row]]
    counter: bool = False


PREFIX: Final = "pushctl_stats_"

_STATES: Final = ("ready", "draining", "not_ready", "dead")

_OF_THE_DEAD: Final = ("up", "seen_seconds")
"""What they last said of themselves would be counted into sums."""


def _servers(name: str, help_: str, value: Callable[..., Value], *, counter: bool = False) -> Family:
    return Family(
        "servers",
        f"server_{name}",
        help_,
        ("server",),
        lambda look: [
            ((server.id,), value(server)) for server in look.servers if server.state != "dead" or name in _OF_THE_DEAD
        ],
        counter,
    )


def _roles(name: str, help_: str, value: Callable[..., Value]) -> Family:
    return Family(
        "servers",
        f"role_{name}",
        help_,
        ("role", "host", "id"),
        lambda look: [
            ((role.role, role.host, role.id), value(role))
            for role in look.roles
            if role.state != "dead" or name in _OF_THE_DEAD
        ],
    )


def _users(name: str, help_: str, value: Callable[..., Value]) -> Family:
    return Family("users", name, help_, (), lambda look: [((), value(look.users) if look.users else None)])


def _parts(name: str, help_: str, value: Callable[..., Value]) -> Family:
    return Family(
        "routing",
        f"partition_{name}",
        help_,
        ("partition",),
        lambda look: [((str(part.partition),), value(part)) for part in look.routing.partitions],
    )


def _masters(name: str, help_: str, value: Callable[..., Value], *, counter: bool = False) -> Family:
    return Family(
        "redis",
        f"redis_{name}",
        help_,
        ("master",),
        lambda look: [
            ((master.address,), value(master))
            for master in look.redis.masters
            if master.state != "away" or name in _OF_THE_DEAD
        ],
        counter,
    )


def _flag(truth: bool | None) -> Value:
    return None if truth is None else float(truth)


def _seconds(ms: float | None) -> Value:
    return None if ms is None else ms / 1000


FAMILIES: Final = (
    Family(
        "",
        "looked_at_seconds",
        "when Redis was asked, Unix time by its clock",
        (),
        lambda look: [((), _seconds(parse_rfc3339(look.at)))],
    ),
    Family(
        "",
        "known",
        "1 if this section's part of the registry answered",
        ("section",),
        lambda look: [((section,), float(section not in look.unknown)) for section in SECTIONS],
    ),
    Family(
        "",
        "warnings",
        "what pushctl stats warns of, by section",
        ("section",),
        lambda look: [
            ((section,), float(sum(each.section == section for each in look.warnings))) for section in SECTIONS
        ],
    ),
    Family(
        "servers",
        "server_state",
        "1 for the state that the socket server is in",
        ("server", "state"),
        lambda look: [
            ((server.id, state), float(server.state == state)) for server in look.servers for state in _STATES
        ],
    ),
    _servers("connections", "as the server last said", lambda server: server.connections),
    _servers("capacity", "connections that it takes at most", lambda server: server.capacity),
    _servers("users", "users with at least one connection there", lambda server: server.users),
    _servers("seen_seconds", "since its last heartbeat", lambda server: server.seen_ms_ago / 1000),
    _servers(
        "clock_ahead_seconds", "of its clock before that of Redis", lambda server: _seconds(server.clock_ahead_ms)
    ),
    _servers("rss_bytes", "resident memory of its process", lambda server: server.rss_bytes),
    _servers("cpu_cores", "that its process uses, over ten seconds", lambda server: server.load and server.load.cpu),
    _servers(
        "loop_lag_seconds",
        "the latest that its event loop was, over ten seconds",
        lambda server: server.load and server.load.lag_ms / 1000,
    ),
    _servers(
        "written_per_second",
        "messages written to devices, over ten seconds",
        lambda server: server.load and server.load.written_per_second,
    ),
    _servers(
        "arrivals_per_second",
        "connections taken, over ten seconds",
        lambda server: server.load and server.load.arrivals_per_second,
    ),
    _servers(
        "slow_closes_total",
        "connections closed because the device took no data, since its start",
        lambda server: server.load and server.load.slow_closes,
        counter=True,
    ),
    Family(
        "servers",
        "role_state",
        "1 for the state that the process is in",
        ("role", "host", "id", "state"),
        lambda look: [
            ((role.role, role.host, role.id, state), float(role.state == state))
            for role in look.roles
            for state in _STATES
        ],
    ),
    _roles("seen_seconds", "since its last report", lambda role: role.seen_ms_ago / 1000),
    _roles("clock_ahead_seconds", "of its clock before that of Redis", lambda role: role.clock_ahead_ms / 1000),
    _roles("rss_bytes", "resident memory of its process", lambda role: role.rss_bytes),
    _roles("cpu_cores", "that its process uses, over ten seconds", lambda role: role.cpu),
    _roles("loop_lag_seconds", "the latest that its event loop was, over ten seconds", lambda role: role.lag_ms / 1000),
    _users("users", "users, as gc last counted", lambda users: users.users),
    _users("devices", "devices, as gc last counted", lambda users: users.devices),
    _users("connected", "connections, as gc last counted", lambda users: users.connected),
    _users("push_urls", "push URLs, as gc last counted", lambda users: users.push_urls),
    _users("counted_seconds", "since gc counted", lambda users: users.age_ms / 1000),
    Family("messages", "unread", "unread messages, as gc last counted", (), lambda look: [((), look.messages.unread)]),
    Family(
        "messages",
        "messages_per_second",
        "messages that reach a stage of their life, over ten seconds",
        ("stage",),
        lambda look: [
            ((stage,), getattr(look.messages, f"{stage}_per_second"))
            for stage in ("received", "stored", "routed", "written", "acknowledged", "read", "expired")
        ],
    ),
    _parts("jobs", "jobs in the stream", lambda part: part.length),
    _parts("bytes", "of these jobs", lambda part: part.bytes),
    _parts("pending", "jobs taken by a router and not handed over", lambda part: part.pending),
    _parts("lag_seconds", "since the oldest of the jobs was written", lambda part: part.lag_ms / 1000),
    _parts("routers", "routers that read it", lambda part: part.routers),
    _masters("up", "1 if the master answered", lambda master: float(master.state != "away")),
    _masters("seen_seconds", "since it answered", lambda master: _seconds(master.seen_ms_ago)),
    _masters("uptime_seconds", "since it started", lambda master: master.uptime_seconds),
    _masters("used_memory_bytes", "memory in use", lambda master: master.used_memory_bytes),
    _masters("max_memory_bytes", "maxmemory; 0: no limit", lambda master: master.max_memory_bytes),
    _masters("keys", "keys there", lambda master: master.keys),
    _masters("clients", "connections to it", lambda master: master.clients),
    _masters("commands_per_second", "as it says itself", lambda master: master.commands_per_second),
    _masters(
        "rejected_connections_total",
        "refused because of maxclients, since its start",
        lambda master: master.rejected_connections,
        counter=True,
    ),
    _masters(
        "evicted_keys_total", "lost to maxmemory, since its start", lambda master: master.evicted_keys, counter=True
    ),
    _masters("append_only", "1 if it writes an append-only file", lambda master: _flag(master.append_only)),
    _masters(
        "append_only_ok",
        "1 if the last write and rewrite of that file went well",
        lambda master: _flag(master.append_only_ok),
    ),
    _masters("last_save_ok", "1 if the last save of an RDB file went well", lambda master: _flag(master.last_save_ok)),
    _masters("saved_seconds", "since the last save", lambda master: master.saved_seconds_ago),
    _masters("replicas", "connected replicas", lambda master: master.replicas),
    _masters(
        "replica_lag_seconds", "of the replica that is furthest behind", lambda master: master.replica_lag_seconds
    ),
)
"""All of them, in the order in which they are printed. (A section of "" is in every part.)"""


class _Look:
    """What prometheus_client collects."""

    def __init__(self, overview: Overview, section: str | None) -> None:
        self._overview = overview
        self._section = section

    def collect(self) -> Iterable[Metric]:
        for family in FAMILIES:
            if self._section is None or family.section in ("", self._section):
                yield _metric(family, self._overview)


def _metric(family: Family, overview: Overview) -> Metric:
    kind = CounterMetricFamily if family.counter else GaugeMetricFamily
    metric = kind(f"{PREFIX}{family.name}".removesuffix("_total"), family.help, labels=family.labels)
    for labels, value in family.rows(overview):
        if value is not None:
            metric.add_metric([*labels], value)
    return metric


def exposition(overview: Overview, section: str | None = None) -> str:
    """All of the overview, or of one section; without the families that have no row."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Look(overview, section))
    return generate_latest(registry).decode()
