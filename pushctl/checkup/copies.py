"""Replicas and the Cluster: what is left of a 201 when a machine is lost.

Owns: whether enough replicas are there for what is promised, and whether one lost master stops the others.
Must not know: disks (storage.py).
"""

from collections.abc import Iterable

from pushctl.checkup.finding import Finding, bad, ok, unknown, warn
from pushctl.checkup.masters import Master


async def check_replicas(master: Master) -> Iterable[Finding]:
    wanted, copies = master.config.redis.wait_replicas, master.copies
    found = f"{copies} in step, redis.wait_replicas = {wanted}"
    if copies < wanted:
        return [
            bad(
                found,
                "No write can be confirmed: every POST is 503.",
                f"redis.wait_replicas = {copies}    # or start replicas: `replicaof` in their redis.conf",
            )
        ]
    if copies > 0 and wanted == 0:
        return [
            warn(
                found,
                "A failover loses what the replica had not got yet, although it was answered 201.",
                "redis.wait_replicas = 1",
            )
        ]
    return [ok(found if copies else "none, and none is waited for")]


async def check_lone_master(master: Master) -> Iterable[Finding]:
    """Whether a master that lost its replicas goes on taking writes that a failover will throw away."""
    text, copies, wanted = master.setting("min-replicas-to-write"), master.copies, master.config.redis.wait_replicas
    if text is None:
        return [
            unknown(
                "CONFIG GET min-replicas-to-write is refused",
                f"It should be {wanted}: more refuse writes that need not be, fewer keep what cannot be promised.",
            )
        ]
    least = int(text)
    if least > copies:
        return [
            bad(
                f"min-replicas-to-write {least}, {copies} in step",
                "Redis refuses every write (NOREPLICAS): every POST is 503.",
                "Start replicas, or:",
                *master.set("min-replicas-to-write", str(copies)),
            )
        ]
    if least < wanted:
        return [
            warn(
                f"min-replicas-to-write {least}, redis.wait_replicas = {wanted}",
                "A master that is cut off goes on writing what it cannot promise, and a failover throws it away.",
                *master.set("min-replicas-to-write", str(wanted)),
            )
        ]
    return [ok(f"min-replicas-to-write {least}")]


async def check_cluster(master: Master) -> Iterable[Finding]:
    if master.number("cluster_enabled") == 0:
        return []
    raw = await master.ask("CLUSTER", "INFO")
    state = dict(line.partition(":")[::2] for line in raw.decode().splitlines())
    covered = f"{state.get('cluster_slots_ok')} of 16384 slots are served"
    if state.get("cluster_state") == "ok":
        return [ok(covered)]
    found = f"cluster_state {state.get('cluster_state')}, {covered}"
    return [bad(found, "Users whose slots are not served get 503.", f"redis-cli --cluster check {master.address}")]


async def check_coverage(master: Master) -> Iterable[Finding]:
    if master.number("cluster_enabled") == 0:
        return []
    setting = master.setting("cluster-require-full-coverage")
    if setting is None:
        return [unknown("CONFIG GET cluster-require-full-coverage is refused", "It should be no.")]
    if setting == "yes":
        return [
            warn(
                "cluster-require-full-coverage yes",
                "One lost master stops the users of all the others.",
                *master.set("cluster-require-full-coverage", "no"),
            )
        ]
    return [ok("one lost master stops only its own users")]
