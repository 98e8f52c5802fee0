"""The data directory of the embedded Redis: who may use it, who wrote it, and where the socket is.

In it: appendonly files, redis.log, redis.sock, VERSION (which server wrote it) and lock. The lock is an flock that the
server process inherits, so it is free only when both pushctl and its server are gone: whoever takes it needs to look
for nothing else.

Owns: lock, VERSION and the socket's path. Promises: data written by a newer server is never given to an older one; the
socket's path is short enough and nobody else can be there.
Must not know: how a server is run.
"""

import fcntl
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from pushctl.embedded.program import Server
from pushctl.errors import Failed
from pushctl.log import get_logger

log = get_logger()

_LONGEST_SOCKET_PATH = 103
"""sockaddr_un holds 108 bytes on Linux and 104 elsewhere, one of them the closing zero."""


@asynccontextmanager
async def locked(data_dir: Path, seconds: float) -> AsyncIterator[int]:
    """Make the directory if need be and hold its lock; gives the lock's file descriptor.

    Waits for `seconds` at most for whoever has it; then, or if the directory cannot be written, Failed.
    """
    descriptor = _open_lock(data_dir)
    try:
        with trio.move_on_after(seconds) as waiting:
            if not _try_lock(descriptor):
                log.info("data_dir_in_use", data_dir=str(data_dir), process=_holder(descriptor), wait_seconds=seconds)
            # flock has no form that can be awaited and given up, so it is asked again and again.
            while not _try_lock(descriptor):  # noqa: ASYNC110
                await trio.sleep(0.05)
        if waiting.cancelled_caught:
            holder = _holder(descriptor)
            raise Failed(f"{data_dir} is in use by process {holder}: stop it, or choose another --data-dir")
        yield descriptor
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode("ascii", "replace") or "?"


def _open_lock(data_dir: Path) -> int:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Failed(f"{data_dir}: {error.strerror}: choose another --data-dir") from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return True


def claim_version(data_dir: Path, server: Server) -> None:
    """Refuse a directory written by a newer server; else record that from now on this one writes it.

    Before it starts: servers convert what they find as they start.
    """
    record = data_dir / "VERSION"
    if record.exists():
        said = record.read_text(encoding="utf-8", errors="replace").strip()
        found = re.fullmatch(r"(redis|valkey) (\d+)\.(\d+)\.(\d+)", said)
        if found is None:
            raise Failed(f"{record}: expected a server and its version, got {said[:40]!r}")
        if not server.can_open(found[1], (int(found[2]), int(found[3]), int(found[4]))):
            raise Failed(
                f"{data_dir} was written by {said}, and {server} ({server.path}) cannot open it: "
                f"install {said} or newer, or choose another --data-dir"
            )
    fresh = record.with_suffix(".new")
    fresh.write_text(f"{server}\n", encoding="utf-8")
    fresh.replace(record)


@contextmanager
def socket_path(data_dir: Path) -> Iterator[Path]:
    """Where the socket goes: in the directory, or in a short private one if the path would be too long."""
    socket = data_dir / "redis.sock"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
        name = f"pushctl-{os.getuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        places = [place / name for place in (runtime, Path("/tmp")) if place.is_dir()]  # noqa: S108 - checked below
        short = next(place for place in places if len(os.fsencode(place)) < _LONGEST_SOCKET_PATH - len("/redis.sock"))
        socket = _private(short) / "redis.sock"
    # Only we can be here (the lock), so this is what a killed server left.
    socket.unlink(missing_ok=True)
    try:
        yield socket
    finally:
        socket.unlink(missing_ok=True)
        if socket.parent != data_dir:
            with suppress(OSError):
                socket.parent.rmdir()


def _private(directory: Path) -> Path:
    """A directory in a place where others may have put one first: it must be ours alone."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise Failed(f"{directory} belongs to somebody else: choose a --data-dir with a shorter path")
    return directory
