"""The Redis that `serve all` brings along: a redis-server child process that keeps its data in one directory.

Owns: the order of things: choose a server (program.py), take the directory (directory.py), run the child (child.py).
Promises: one server per directory; it listens on a unix socket only this user can open; it is gone when we are, however
we end (on Linux; a clean end waits for it); data written by a newer version is never opened by an older one.
Must not know: what is stored. Everything else about Redis is the registry's.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
import trio
from trio import TaskStatus

from pushctl.embedded.child import Child
from pushctl.embedded.directory import claim_version, locked, socket_path
from pushctl.embedded.program import Server, find_server
from pushctl.errors import Failed
from pushctl.log import get_logger

log = get_logger()

LOCK_SECONDS = 15.0
"""How long to wait for whoever uses the directory: longer than a Redis whose parent died needs to go."""


class EmbeddedRedis(msgspec.Struct, frozen=True):
    """A running embedded Redis."""

    url: str
    """unix:// URL, as [redis] url takes it"""
    server: Server
    pid: int
    data_dir: Path


async def serve(
    data_dir: Path,
    *,
    options: Sequence[str] = (),
    lock_seconds: float = LOCK_SECONDS,
    environ: Mapping[str, str] | None = None,
    task_status: TaskStatus[EmbeddedRedis] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a redis-server on `data_dir` until cancelled; then stop it and wait until it is gone.

    Reports it once it answers, its data loaded. `options`: more of redis-server's (`--appendfsync always`).
    Raises Failed: no server program, the directory is in use, or a newer server's; the server ended by itself.
    """
    server = await find_server(os.environ if environ is None else environ)
    data_dir = data_dir.absolute()  # noqa: ASYNC240 - redis-server changes into it; no file is touched here
    async with locked(data_dir, lock_seconds) as lock:
        claim_version(data_dir, server)
        with socket_path(data_dir) as socket:
            child = Child(server, [*_arguments(data_dir, socket), *options], keep_open=lock)
            try:
                await child.until_it_answers(socket)
                url = f"unix://{quote(str(socket))}"
                log.info("redis_ready", server=str(server), data_dir=str(data_dir), pid=child.pid)
                task_status.started(EmbeddedRedis(url, server, child.pid, data_dir))
                await child.until_gone()
                raise Failed(f"the embedded {server} ended by itself; {data_dir / 'redis.log'} may say why")
            finally:
                with trio.CancelScope(shield=True):
                    await child.stop()


def _arguments(data_dir: Path, socket: Path) -> list[str]:
    return [
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(data_dir), "--logfile", str(data_dir / "redis.log"), "--daemonize", "no"),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        # A full store must refuse writes: keys that vanish are lost messages.
        *("--maxmemory-policy", "noeviction"),
    ]
