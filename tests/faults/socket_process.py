"""A socket server as a process of its own, beside a service in this one: for what only the kernel can do to it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from pushctl.config.model import Config
from pushctl.ids import new_id
from tests.scenario.test_processes import free_ports

PUSHCTL = str(Path(sys.executable).with_name("pushctl"))


class SocketProcess:
    """`pushctl serve socket`. `said`: its log so far."""

    def __init__(self, process: trio.Process, url: str, log: Path) -> None:
        self._process = process
        self._log = log
        self.url = url

    @property
    def said(self) -> str:
        return self._log.read_text()

    def rss_bytes(self) -> int:
        """Memory that is its own now."""
        (line,) = re.findall(
            r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{self._process.pid}/status").read_text(), re.MULTILINE
        )
        return int(line) * 1024

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        return await self._process.wait()


@asynccontextmanager
async def socket_process(
    config: Config, name: str, folder: Path, *, port: int | None = None, more: Mapping[str, object] | None = None
) -> AsyncIterator[SocketProcess]:
    """With this configuration, of a running service, and this id; ready when the block begins, killed at its end.
    `more`: keys that differ."""
    spare, rpc = free_ports(2)
    port = port or spare
    url = f"ws://127.0.0.1:{port}/"
    sets = {
        "redis.url": config.redis.url,
        "redis.prefix": config.redis.prefix,
        "redis.timeout_seconds": config.redis.timeout_seconds,
        "api.public_url": config.api.public_url,
        "identity.keys_file": config.identity.keys_file,
        "log.format": "json",
        "limits.exempt_networks": ",".join(config.limits.exempt_networks),
        "socket.id": name,
        "socket.listen": f"127.0.0.1:{port}",
        "socket.public_url": url,
        "socket.admin_listen": "",
        "socket.rpc_listen": f"127.0.0.1:{rpc}",
        "socket.rpc_url": f"http://127.0.0.1:{rpc}",
    }
    settings = [f"--set={key}={value}" for key, value in (sets | dict(more or {})).items()]
    command = [PUSHCTL, "serve", "socket", *settings]
    log = folder / f"{name}-{new_id()}.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PUSHCTL_")}
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)
    assert process.stdout is not None
    running = SocketProcess(process, url, log)
    try:
        with trio.fail_after(60):
            line = await process.stdout.receive_some()
            assert b"ready role=socket" in line, running.said
        yield running
    finally:
        running.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
