"""How many files this process may open, and how many it has.

Owns: the limit, and when it is near. A connection is a file. Promises: on a system that does not tell what is open,
nothing is said. Must not know: what they are opened for.
"""

import math
import os
import resource
from typing import Final

from pushctl.log import get_logger
from pushctl.reasons import Code, Reason

RESERVE: Final = 64
"""Files that must be left: for Redis, log, health checks and files of TLS. A process whose limit is small keeps a
quarter of it."""

_FOLDER: Final = "/proc/self/fd"

log = get_logger()


def raise_open_file_limit(needed: int = 0) -> float:
    """Let this process open as many files as the system lets it ask for: one per connection. Returns the limit; says so
    in the log if fewer than `needed`."""
    limit = _raised()
    if limit < needed:
        log.warning(
            "open_files_low",
            limit=int(limit),
            needed=needed,
            detail="beyond it connections fail without a word; raise the hard limit (LimitNOFILE, ulimit -Hn)",
        )
    return limit


def _raised() -> float:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # "unlimited" that the kernel does not mean: macOS
        return soft
    return math.inf if hard == resource.RLIM_INFINITY else hard


def open_files_short() -> list[Reason]:
    """Not ready while so few files can still be opened that whoever comes next may find the listener deaf."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return []
    used = _open_now(limit)
    if limit - used >= min(RESERVE, limit // 4):
        return []
    return [
        Reason(
            Code.OPEN_FILES_SHORT,
            f"{used:,} of {limit:,} files are open: new connections would fail; raise the hard limit (LimitNOFILE, "
            "ulimit -Hn), or lower socket.max_connections or http.max_connections",
        )
    ]


def _open_now(limit: int) -> int:
    """How many files are open; 0 on a system that does not tell."""
    try:
        counted = os.stat(_FOLDER).st_size  # Linux since 6.2: no list of ten thousand for one number
        return counted or len(os.listdir(_FOLDER)) - 1  # the folder itself
    except FileNotFoundError:
        return 0
    except OSError:
        return limit  # none is left even to look
