"""Room in Redis: memory, connections, and what happens when they run out.

Owns: eviction, maxmemory, maxclients, idle connections. Must not know: disks and replicas (storage.py, copies.py).
"""

from collections.abc import Iterable

from pushctl.checkup.finding import Finding, bad, ok, unknown, warn
from pushctl.checkup.masters import Master

FULL = 0.8

LEAST_IDLE_SECONDS = 60


async def check_eviction(master: Master) -> Iterable[Finding]:
    policy = master.info.get("maxmemory_policy")
    if policy is None:
        return [unknown("INFO does not name maxmemory-policy", "It must be noeviction.")]
    if policy != "noeviction":
        return [
            bad(
                f"maxmemory-policy {policy}",
                "Redis throws keys away when it is full: lost messages. No role becomes ready.",
                *master.set("maxmemory-policy", "noeviction"),
            )
        ]
    evicted = master.number("evicted_keys")
    if evicted:
        return [
            warn(
                f"noeviction now, but {evicted:,} keys were thrown away since Redis started",
                "Messages, push URLs or sessions are gone.",
                "Find who shares this Redis or changed its policy: then the count is 0 after a restart.",
            )
        ]
    return [ok("noeviction")]


async def check_memory(master: Master) -> Iterable[Finding]:
    used, limit = master.number("used_memory"), master.number("maxmemory")
    room = limit or master.number("total_system_memory")
    whose = "(maxmemory)" if limit else "of the machine; no maxmemory"
    if not room:
        return [unknown(f"{_size(used)} used", "How much there is, INFO does not say.")]
    found = f"{_size(used)} used of {_size(room)} {whose}"
    more = (
        "maxmemory <more>    # leave a third of the machine to forks and buffers",
        "limits.unread_bytes_per_user, limits.log_events_per_user: lower them",
    )
    if limit and used >= limit:
        return [bad(found, "Full: Redis refuses writes; sites get 503, and no socket server counts as alive.", *more)]
    if used > FULL * room:
        full = "Redis then refuses writes: 503 for every site" if limit else "the system then kills Redis"
        return [warn(found, f"Nearly full; {full}.", *more)]
    return [ok(found)]


def _size(n: float) -> str:
    return f"{n / 2**20:,.1f} MiB" if n < 2**30 else f"{n / 2**30:,.1f} GiB"


async def check_clients(master: Master) -> Iterable[Finding]:
    connected, most = master.number("connected_clients"), master.number("maxclients")
    if not most:
        return [unknown(f"{connected:,} connected", "How many may, INFO does not say.")]
    found = f"{connected:,} of {most:,} connected"
    if connected > FULL * most:
        means = "A role that starts, or comes back after a loss, may be refused."
        return [warn(found, means, *master.set("maxclients", str(most * 4)))]
    return [ok(found)]


async def check_idle_timeout(master: Master) -> Iterable[Finding]:
    timeout = master.setting("timeout")
    if timeout is None:
        return [unknown("CONFIG GET timeout is refused", "It should be 0: idle connections stay.")]
    if 0 < int(timeout) < LEAST_IDLE_SECONDS:
        return [
            warn(
                f"Redis closes connections idle for {timeout} s",
                "A quiet role loses its connection again and again; each loss is a second of 503.",
                *master.set("timeout", "0"),
            )
        ]
    return [ok("idle connections stay" if timeout == "0" else f"idle connections stay for {timeout} s")]
