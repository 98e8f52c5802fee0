"""What connections take of a machine's memory: of a process, and of the kernel for both ends of each.

Owns: which numbers of /proc say it. Promises: what cannot be read (slabs are for root) is None, not nought.
Must not know: who is connected.
"""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = 4096

SOCKET_SLABS = ("TCP", "TCPv6", "sock_inode_cache", "filp", "eventpoll_epi", "eventpoll_pwq", "ep_head", "tcp_bind")
"""Caches of the kernel that grow with sockets and little else (by how their names begin, where the kernel merges)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `rss` is of the process; the others are of the whole machine."""

    rss: int
    slab: int
    """All that the kernel has of small objects, whatever for."""
    sockets: int | None
    """Of it: what is sockets and nothing else."""
    buffers: int
    """What waits in the buffers of TCP."""

    @classmethod
    def of(cls, pid: int) -> "Memory":
        status, meminfo = Path(f"/proc/{pid}/status").read_text(), Path("/proc/meminfo").read_text()
        sockstat = Path("/proc/net/sockstat").read_text()
        buffers = int(re.findall(r"^TCP:.* mem (\d+)", sockstat, re.MULTILINE)[0]) * PAGE_BYTES
        return cls(_kb(status, "VmRSS"), _kb(meminfo, "Slab"), _socket_slabs(), buffers)


def _kb(text: str, name: str) -> int:
    return int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024


def _socket_slabs() -> int | None:
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()
    except PermissionError:
        return None
    rows = (line.split() for line in lines if line.startswith(SOCKET_SLABS))
    # name, objects in use, objects there is room for, bytes of one, ...: what is in use is what they take.
    return sum(int(row[1]) * int(row[3]) for row in rows)
