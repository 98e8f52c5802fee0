"""Which Redis it is, and what it writes to its disk: what is left of a 201 after a crash.

Owns: version, role, append-only file, RDB files, errors of the disk, forks. docs/operations.md, "Persistence" says what
each setting promises, and how that was tried.
Must not know: replicas (copies.py).
"""

from collections.abc import Iterable, Mapping

from pushctl.checkup.finding import Finding, bad, ok, unknown, warn
from pushctl.checkup.masters import Master

OLDEST = (6, 2)

LONG_FORK_MS = 250


async def check_version(master: Master) -> Iterable[Finding]:
    product, number = product_of(master.info)
    found = f"{product} {number}"
    version = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    if product == "Redis" and version < OLDEST:
        return [bad(found, "Too old: scripts of the service need 6.2.", "Install Redis 6.2 or newer, or Valkey.")]
    return [ok(found)]


def product_of(info: Mapping[str, str]) -> tuple[str, str]:
    """Name and version. Valkey also says redis_version, 7.2.4 for ever, for clients that know nothing else."""
    if "valkey_version" in info:
        return "Valkey", info["valkey_version"]
    return "Redis", info.get("redis_version", "0")


async def check_role(master: Master) -> Iterable[Finding]:
    role = master.info.get("role", "master")
    if role == "master":
        return [ok("a master")]
    where = f"{master.info.get('master_host')}:{master.info.get('master_port')}"
    return [bad(f"a replica of {where}", "It takes no writes: every POST is 503.", f"redis.url: name {where}")]


async def check_persistence(master: Master) -> Iterable[Finding]:
    if master.info.get("aof_enabled") != "1":
        return [_without_aof(master)]
    fsync = master.setting("appendfsync")
    if fsync is None:
        return [
            unknown(
                "appendonly yes; CONFIG GET appendfsync is refused",
                "With everysec a crash of the machine loses up to about a second, with always nothing, with no "
                "whatever the system had not written yet.",
            )
        ]
    if fsync == "no":
        return [
            warn(
                "appendonly yes, appendfsync no",
                "A crash of the machine loses what the system had not written yet: half a minute is usual.",
                *master.set("appendfsync", "everysec"),
            )
        ]
    if master.setting("no-appendfsync-on-rewrite") == "yes":
        return [
            warn(
                f"appendfsync {fsync}, but not while the file is rewritten",
                "A crash of the machine then loses as with appendfsync no.",
                *master.set("no-appendfsync-on-rewrite", "no"),
            )
        ]
    loses = "nothing" if fsync == "always" else "about 1 s"
    return [ok(f"appendfsync {fsync}: a crash of the machine loses {loses}")]


def _without_aof(master: Master) -> Finding:
    save = master.setting("save")
    do = master.set("appendonly", "yes")
    if save == "":
        means = "When Redis ends, however it ends, everything is gone: messages, push URLs, sessions."
        return bad("appendonly no, no RDB files: only in memory", means, *do)
    changes = master.number("rdb_changes_since_last_save")
    means = f"A crash of Redis loses all since the last RDB file: {changes:,} changes right now."
    if save is None:
        return bad("appendonly no; CONFIG GET save is refused", f"At best: {means[0].lower()}{means[1:]}", *do)
    verdict = warn if 0 < master.config.redis.wait_replicas <= master.copies else bad
    return verdict(f"appendonly no, RDB files only (save {save})", means, *do)


async def check_disk(master: Master) -> Iterable[Finding]:
    """The last write, the last rewrite and the last RDB file."""
    problems = [
        bad(found, means, "df -h; tail redis.log    # on the host of Redis")
        for name, found, means in (
            ("aof_last_write_status", "the append-only file could not be written", "Redis refuses writes: 503."),
            ("aof_last_bgrewrite_status", "the last rewrite of the append-only file failed", "It only grows."),
            ("rdb_last_bgsave_status", "the last RDB file could not be written", "With `save` set, writes are 503."),
        )
        if master.info.get(name, "ok") != "ok"
    ]
    delayed = master.number("aof_delayed_fsync")
    if delayed:
        problems.append(
            warn(
                f"{delayed:,} times a sync of the append-only file took more than 2 s since Redis started",
                "While the disk is that slow, a mere kill of Redis loses up to 2 s, a crash of the machine more.",
                "A faster disk for Redis alone; or appendfsync always: slow, but nothing is lost.",
            )
        )
    return problems or [ok("no failed and no slow write")]


async def check_fork(master: Master) -> Iterable[Finding]:
    took_ms = master.number("latest_fork_usec") / 1000
    if took_ms > LONG_FORK_MS:
        return [
            warn(
                f"the last fork took {took_ms:,.0f} ms",
                "Redis answers nobody meanwhile, at every rewrite of its file.",
                "echo never > /sys/kernel/mm/transparent_hugepage/enabled    # on the host of Redis",
                "Otherwise less data per Redis: a Cluster.",
            )
        ]
    return [ok(f"the last fork took {took_ms:,.1f} ms" if took_ms else "none yet")]
