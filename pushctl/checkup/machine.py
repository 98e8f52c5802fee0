"""The machine a role would run on: limits of the kernel and of this process.

Owns: how many files may be open, how long the queue of connections may be. Promises: what this system does not tell is
unknown, never good. Must not know: Redis.
"""

import resource
from collections.abc import Iterable
from pathlib import Path

from pushctl.checkup.configuration import Here
from pushctl.checkup.finding import Finding, bad, ok, unknown, warn
from pushctl.config.check import files_needed
from pushctl.config.model import ROLE_NAMES

LEAST_LISTEN_QUEUE = 1024
"""Connections that may wait to be accepted. When a socket server goes, its devices come to the others at once."""

SOMAXCONN = Path("/proc/sys/net/core/somaxconn")


async def check_open_files(here: Here) -> Iterable[Finding]:
    config = here.config
    needed = max(files_needed(config, role) for role in here.roles or ROLE_NAMES)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return [ok("no limit")]
    if hard >= needed:
        return [ok(f"{hard:,} may be opened from this shell, {needed:,} are needed")]
    return [
        bad(
            f"{hard:,} may be opened from this shell, {needed:,} are needed",
            "Beyond it connections fail without a word to the client (socket.max_connections and "
            "http.max_connections promise more).",
            f"LimitNOFILE={needed}    # in the unit of systemd",
            f"ulimit -n {needed}    # as root, in the shell that starts it",
        )
    ]


async def check_listen_queue(_: Here, somaxconn: Path = SOMAXCONN) -> Iterable[Finding]:
    try:
        length = int(somaxconn.read_text())  # noqa: ASYNC240 - the kernel answers at once
    except (OSError, ValueError):
        return [
            unknown(
                "this system does not say in /proc",
                f"Connections may wait in a queue of net.core.somaxconn; {LEAST_LISTEN_QUEUE:,} or more is good.",
                "sysctl kern.ipc.somaxconn    # on macOS and BSD",
            )
        ]
    if length >= LEAST_LISTEN_QUEUE:
        return [ok(f"{length:,} connections may wait to be accepted")]
    return [
        warn(
            f"{length:,} connections may wait to be accepted",
            "When many devices come at once, more are turned away and try again seconds later.",
            "sysctl -w net.core.somaxconn=4096    # and in /etc/sysctl.d/ for good",
        )
    ]
