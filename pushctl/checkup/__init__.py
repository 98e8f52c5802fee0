"""Is all in place for what the service promises? What `pushctl doctor` finds out, without the printing.

Owns: which checks there are, and that one that cannot be made says so instead of stopping the others.
Promises: asks, changes nothing; costs each master of Redis about a hundred small commands. No finding holds a secret.
Must not know: marks, colours, exit codes (cli/doctor.py).

A check is one function `check_NAME(subject) -> findings`. Its subject is the configuration and the roles that run here
(Here), one master of Redis (Master), or all of them.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from pushctl.checkup.certificates import check_tls
from pushctl.checkup.configuration import (
    Here,
    check_dev_idp,
    check_keys_file,
    check_public_urls,
    check_roles,
    mistake_of,
)
from pushctl.checkup.copies import check_cluster, check_coverage, check_lone_master, check_replicas
from pushctl.checkup.finding import Finding, Verdict, bad, unknown
from pushctl.checkup.machine import check_listen_queue, check_open_files
from pushctl.checkup.masters import Master, meet_masters
from pushctl.checkup.memory import check_clients, check_eviction, check_idle_timeout, check_memory
from pushctl.checkup.ownership import check_installation
from pushctl.checkup.storage import check_disk, check_fork, check_persistence, check_version
from pushctl.checkup.times import check_clock, check_clocks, check_latency, check_scripts
from pushctl.clock import Clock, system_clock
from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.registry import Registry

__all__ = [
    "CHECKS",
    "CONFIGURATION",
    "REACH",
    "Finding",
    "Here",
    "Verdict",
    "examine_configuration",
    "examine_machine",
    "examine_redis",
    "mistaken",
    "out_of_reach",
]

CONFIGURATION: Final = "Configuration"
"""The group of what the operator wrote."""

FILES: Final = "files"
REACH: Final = "reach"
"""What is found when nothing else can be: the configuration cannot be read, Redis cannot be asked."""

S = TypeVar("S")
Check = Callable[[S], Awaitable[Iterable[Finding]]]

OF_THIS_MACHINE: Final[Sequence[Check[Here]]] = (check_open_files, check_listen_queue)
OF_THE_CONFIGURATION: Final[Sequence[Check[Here]]] = (
    check_roles,
    check_keys_file,
    check_public_urls,
    check_tls,
    check_dev_idp,
)
OF_A_MASTER: Final[Sequence[Check[Master]]] = (
    check_version,
    check_installation,
    check_persistence,
    check_disk,
    check_replicas,
    check_lone_master,
    check_cluster,
    check_coverage,
    check_eviction,
    check_memory,
    check_clients,
    check_idle_timeout,
    check_fork,
    check_latency,
    check_scripts,
    check_clock,
)
OF_ALL_MASTERS: Final[Sequence[Check[Sequence[Master]]]] = (check_clocks,)


def _name(check: Check[S]) -> str:
    return getattr(check, "__name__", "").removeprefix("check_")


CHECKS: Final = (
    *map(_name, OF_THIS_MACHINE),
    FILES,
    *map(_name, OF_THE_CONFIGURATION),
    REACH,
    *map(_name, OF_A_MASTER),
    *map(_name, OF_ALL_MASTERS),
)
"""What `Finding.check` can be, in the order in which they are made."""


async def examine_machine(here: Here) -> list[Finding]:
    return await _examine("This machine", OF_THIS_MACHINE, here)


async def examine_configuration(here: Here) -> list[Finding]:
    return await _examine(CONFIGURATION, OF_THE_CONFIGURATION, here)


def mistaken(mistakes: Iterable[str]) -> list[Finding]:
    """A configuration that could not be read, by its mistakes."""
    not_asked = unknown("was not asked", "Put the configuration right first.")
    return [*(mistake_of(mistake).about(CONFIGURATION, FILES) for mistake in mistakes), not_asked.about("Redis", REACH)]


async def examine_redis(registry: Registry, config: Config, clock: Clock = system_clock) -> list[Finding]:
    """Every master of Redis. `clock`: this host's. Raises StoreUnavailable when one does not even say who it is."""
    masters = await meet_masters(registry, config, clock)
    found: list[Finding] = []
    for master in masters:
        found += await _examine(f"Redis {master.address}", OF_A_MASTER, master)
    if len(masters) > 1:
        found += await _examine("Redis, all masters", OF_ALL_MASTERS, masters)
    return found


def out_of_reach(detail: str) -> Finding:
    """Redis could not be asked at all."""
    return bad("cannot be asked", detail).about("Redis", REACH)


async def _examine(group: str, checks: Sequence[Check[S]], subject: S) -> list[Finding]:
    found: list[Finding] = []
    for check in checks:
        try:
            findings = await check(subject)
        except StoreUnavailable as error:
            findings = [unknown(f"no answer: {error.detail}", "What is the matter there is not known.")]
        found += [finding.about(group, _name(check)) for finding in findings]
    return found
