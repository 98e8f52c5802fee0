"""What is not as it should be, in words: whatever an operator would want to be told without reading every row.

Owns: the sentences and their thresholds. Promises: a service that is well has none; a sentence names who, how much and,
where there is one, what to do. Must not know: how they are shown.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from pushctl.config.model import Config
from pushctl.overview.redis import MasterStats
from pushctl.overview.routing import PartitionStats
from pushctl.overview.servers import RoleStats, ServerStats
from pushctl.registry.jobs import IDLE_MS
from pushctl.registry.processes import REPORT_SECONDS

if TYPE_CHECKING:
    from pushctl.overview import Overview

LATE_MS: Final = 4000
"""A server not heard of for so long has missed a heartbeat: worth a word."""

LATE_ROLE_MS: Final = round(REPORT_SECONDS * 2.5 * 1000)

JOB_LAG_MS: Final = 2000
"""Jobs that wait for so long were no fast path to anybody."""

LOOP_LAG_MS: Final = 500
"""An event loop this late keeps everybody waiting."""

BUSY: Final = 0.9
"""Of a core, of a bound, of what fits: nearly all."""

CLOCK_MS: Final = 3000
"""A report is at most redis.timeout_seconds (2) on its way; beyond that, clocks differ."""

CENSUSES: Final = 3
"""So many counts of gc were missed."""

REPLICA_SECONDS: Final = 3
"""A replica reports every second."""


class Notice(msgspec.Struct, frozen=True):
    section: str
    about: str
    """A server's id, a router's name, a master's address; empty for the whole."""
    text: str


def warnings_of(overview: "Overview", config: Config, unknown: Mapping[str, str]) -> list[Notice]:
    """`unknown`: sections that did not answer, and why."""
    found = [Notice(section, "", f"{section} are not known: {why}") for section, why in sorted(unknown.items())]
    if "servers" not in unknown:
        found += _of_all_servers(overview)
        found += [Notice("servers", each.id, text) for each in overview.servers for text in _of_server(each)]
        found += [Notice("servers", each.id, text) for each in overview.roles for text in _of_role(each)]
        found += _mixed_versions(overview)
    found += [Notice("users", "", text) for text in _of_count(overview, config, unknown)]
    found += _of_routing(overview, config, unknown)
    for master in overview.redis.masters:
        found += [Notice("redis", master.address, text) for text in _of_master(master, config)]
    return found


def seconds(ms: float) -> str:
    """`9 s`, `1.2 s`, `3 min`, `2 h`, `4 d`."""
    if ms < 10_000:
        return f"{round(ms / 1000, 1):g} s"
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (120_000, "min")):
        if ms >= size:
            return f"{int(ms // (60_000 if unit == 'min' else size))} {unit}"
    return f"{int(ms // 1000)} s"


# --- processes -------------------------------------------------------------------------------------------------------


def _of_all_servers(overview: "Overview") -> Iterator[Notice]:
    living = [server for server in overview.servers if server.state != "dead"]
    if not overview.servers:
        yield Notice("servers", "", "no socket server has been seen; start one with `pushctl serve socket`")
    elif not living:
        yield Notice("servers", "", "no socket server lives: clients are told to wait (503)")
    elif all(server.state != "ready" or server.connections >= server.capacity for server in living):
        yield Notice("servers", "", "no socket server takes clients: the Box Office tells them to wait (503)")


def _of_server(server: ServerStats) -> Iterator[str]:
    if server.state == "dead" or server.seen_ms_ago > LATE_MS:
        yield f"{server.id} has not been seen for {seconds(server.seen_ms_ago)}"
        return
    if server.drain is not None:
        left = f"{server.connections:,} of {server.drain.began_with:,} connections left"
        over = f"over {server.drain.over_seconds:g} s since {server.drain.since}"
        yield f"{server.id} drains, asked by {server.drain.by}: {left}, {over}"
    elif server.state == "not_ready":
        yield f"{server.id} is not ready: it does not hear its channels"
    elif server.connections >= server.capacity:
        yield f"{server.id} is full"
    elif server.connections >= BUSY * server.capacity:
        yield f"{server.id} is almost full"
    if server.load is not None:
        yield from _of_load(server.id, server.load.cpu, server.load.lag_ms)
    yield from _of_clock(server.id, server.clock_ahead_ms)


def _of_role(role: RoleStats) -> Iterator[str]:
    who = f"{role.role} on {role.host} (process {role.pid})"
    if role.state == "dead" or role.seen_ms_ago > LATE_ROLE_MS:
        yield f"{who} has not been seen for {seconds(role.seen_ms_ago)}"
        return
    if role.state == "not_ready":
        yield f"{who} is not ready: {role.why}"
    elif role.state == "draining":
        yield f"{who} is stopping"
    yield from _of_load(who, role.cpu, role.lag_ms)
    yield from _of_clock(who, role.clock_ahead_ms)


def _of_load(who: str, cpu: float, lag_ms: int) -> Iterator[str]:
    if lag_ms > LOOP_LAG_MS:
        yield f"{who} came {seconds(lag_ms)} late to its work: its machine, or itself, is too busy"
    elif cpu > BUSY:
        yield f"{who} takes a whole core: start one more"


def _of_clock(who: str, ahead_ms: int | None) -> Iterator[str]:
    if ahead_ms is not None and abs(ahead_ms) > CLOCK_MS:
        where = "ahead of" if ahead_ms > 0 else "behind"
        yield f"{who}: its clock is {seconds(abs(ahead_ms))} {where} that of Redis"


def _mixed_versions(overview: "Overview") -> Iterator[Notice]:
    by_version: dict[str, list[str]] = {}
    for server in overview.servers:
        if server.state != "dead":
            by_version.setdefault(server.version, []).append(server.id)
    for role in overview.roles:
        if role.state != "dead":
            by_version.setdefault(role.version, []).append(role.role)
    if len(by_version) > 1:
        said = (f"{version} ({_names(names)})" for version, names in sorted(by_version.items()))
        yield Notice("servers", "", f"versions are mixed: {', '.join(said)}")


def _names(names: Iterable[str], most: int = 4) -> str:
    known = list(dict.fromkeys(names))
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")


# --- counts ----------------------------------------------------------------------------------------------------------


def _of_count(overview: "Overview", config: Config, unknown: Mapping[str, str]) -> Iterator[str]:
    if "users" in unknown:
        return
    if overview.users is None:
        yield "gc has not counted yet; start it with `pushctl serve gc`"
    elif overview.users.age_ms > CENSUSES * config.gc.census_seconds * 1000:
        age = seconds(overview.users.age_ms)
        yield f"gc counted {age} ago, and should every {seconds(config.gc.census_seconds * 1000)}: does it run?"


# --- routing ---------------------------------------------------------------------------------------------------------


def _of_routing(overview: "Overview", config: Config, unknown: Mapping[str, str]) -> Iterator[Notice]:
    for part in overview.routing.partitions:
        for text in _of_partition(part, config):
            yield Notice("routing", f"partition {part.partition}", text)
    if "rpc" in (router.strategy for router in overview.routing.routers):
        for server in overview.servers:
            if server.state != "dead" and not server.rpc_url:
                text = f"{server.id} has no internal listener (socket.rpc_listen): routers reach it through Redis"
                yield Notice("routing", server.id, text)
    for router in overview.routing.routers:
        if router.idle_ms > IDLE_MS:
            yield Notice("routing", router.name, f"{router.name} was not seen at work for {seconds(router.idle_ms)}")
        if router.strategy and router.strategy != overview.routing.strategy:
            text = f"{router.name} runs {router.strategy}, the configuration here says {overview.routing.strategy}"
            yield Notice("routing", router.name, text)


def _of_partition(part: PartitionStats, config: Config) -> Iterator[str]:
    if not part.routers:
        yield f"no router reads partition {part.partition}; start one with `pushctl serve router`"
    elif part.length and part.lag_ms > JOB_LAG_MS:
        yield f"jobs of partition {part.partition} wait for {seconds(part.lag_ms)}; start one more router"
    bounds = (("jobs", part.length, config.routing.max_jobs), ("bytes", part.bytes, config.routing.max_job_bytes))
    for what, there, most in bounds:
        if there >= BUSY * most:
            yield f"partition {part.partition} holds {there:,} of at most {most:,} {what}: then the oldest jobs go"


# --- Redis -----------------------------------------------------------------------------------------------------------


def _of_master(master: MasterStats, config: Config) -> Iterator[str]:
    who = f"Redis at {master.address}"
    if master.state == "away":
        yield f"{who} does not answer" + (f" for {seconds(master.seen_ms_ago)}" if master.seen_ms_ago else "")
        return
    if master.state == "loading":
        yield f"{who} is loading its data"
    most, used = master.max_memory_bytes or 0, master.used_memory_bytes or 0
    if most and used >= BUSY * most:
        yield f"{who} uses {used / most:.0%} of maxmemory: when it is full, sites get 503; add memory or a master"
    if master.eviction_policy not in ("", "noeviction"):
        yield f"{who} evicts keys (maxmemory-policy {master.eviction_policy}): no role is ready; set noeviction"
    if master.evicted_keys:
        yield f"{who} has evicted {master.evicted_keys:,} keys since it started: messages were lost"
    if master.rejected_connections:
        yield f"{who} has refused {master.rejected_connections:,} connections since it started: raise maxclients"
    if master.max_clients and (master.clients or 0) >= BUSY * master.max_clients:
        yield f"{who} has {master.clients:,} of at most {master.max_clients:,} clients"
    if master.append_only and not master.append_only_ok:
        yield f"{who} cannot write its append-only file: what it takes now may be lost"
    if not master.last_save_ok:
        yield f"{who} could not save its data the last time it tried"
    yield from _of_replicas(who, master, config.redis.wait_replicas)


def _of_replicas(who: str, master: MasterStats, wanted: int) -> Iterator[str]:
    there = master.replicas or 0
    if there < wanted:
        yield f"{who} has {there} of the {wanted} replicas that redis.wait_replicas asks for: writes are refused (503)"
    if (master.replica_lag_seconds or 0) > REPLICA_SECONDS:
        yield f"{who} has a replica that is {master.replica_lag_seconds} s behind"
