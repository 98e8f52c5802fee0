"""A socket server as a process of its own, beside a service in this one: for what only the kernel can do to it."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from pushctl.config.model import Config
from pushctl.ids import new_id
from tests.faults.processes import RoleProcess, clean_environment
from tests.processes import free_port


class SocketProcess(RoleProcess):
    """`pushctl serve socket`. `url`: for devices; `more`: keys that differ."""

    def __init__(self, config: Config, name: str, folder: Path, port: int, more: Mapping[str, object]) -> None:
        self.url = f"ws://127.0.0.1:{port}/"
        rpc = f"127.0.0.1:{free_port()}"
        settings = {
            "redis.url": config.redis.url,
            "redis.prefix": config.redis.prefix,
            "redis.timeout_seconds": str(config.redis.timeout_seconds),
            "api.public_url": config.api.public_url,
            "identity.keys_file": config.identity.keys_file,
            # Sessions are those of providers that are configured.
            "identity.environment": config.identity.environment,
            "identity.dev_idp.enabled": str(config.identity.dev_idp.enabled).lower(),
            "log.format": "json",
            "limits.exempt_networks": ",".join(config.limits.exempt_networks),
            "socket.id": name,
            "socket.listen": f"127.0.0.1:{port}",
            "socket.public_url": self.url,
            "socket.admin_listen": "",
            "socket.rpc_listen": rpc,
            "socket.rpc_url": f"http://{rpc}",
        }
        settings |= {key: str(value) for key, value in more.items()}
        log = folder / f"{name}-{new_id()}.log"
        super().__init__(name, "socket", None, settings, clean_environment(), log=log)

    @property
    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text()

    def rss_bytes(self) -> int:
        """Memory that is its own now."""
        (line,) = re.findall(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return int(line) * 1024


@asynccontextmanager
async def socket_process(
    config: Config, name: str, folder: Path, *, port: int | None = None, more: Mapping[str, object] | None = None
) -> AsyncIterator[SocketProcess]:
    """With this configuration, of a running service, and this id; ready when the block begins, killed at its end.
    `more`: keys that differ."""
    process = SocketProcess(config, name, folder, port or free_port(), more or {})
    await process.start()
    try:
        yield process
    finally:
        process.end()
