"""A socket server as a process of its own, beside a service in this one: for what only the kernel can do to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pushctl.config.model import Config
from pushctl.ids import new_id
from tests.faults.processes import RoleProcess, clean_environment
from tests.processes import free_port


class SocketProcess(RoleProcess):
    """`pushctl serve socket`. `url`: for devices."""

    def __init__(self, config: Config, name: str, folder: Path, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/"
        rpc = f"127.0.0.1:{free_port()}"
        settings = {
            "redis.url": config.redis.url,
            "redis.prefix": config.redis.prefix,
            "redis.timeout_seconds": str(config.redis.timeout_seconds),
            "api.public_url": config.api.public_url,
            "identity.keys_file": config.identity.keys_file,
            "log.format": "json",
            "socket.id": name,
            "socket.listen": f"127.0.0.1:{port}",
            "socket.public_url": self.url,
            "socket.admin_listen": "",
            "socket.rpc_listen": rpc,
            "socket.rpc_url": f"http://{rpc}",
        }
        log = folder / f"{name}-{new_id()}.log"
        super().__init__(name, "socket", None, settings, clean_environment(), log=log)

    @property
    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text()


@asynccontextmanager
async def socket_process(
    config: Config, name: str, folder: Path, *, port: int | None = None
) -> AsyncIterator[SocketProcess]:
    """With this configuration, of a running service, and this id; ready when the block begins, killed at its end."""
    process = SocketProcess(config, name, folder, port or free_port())
    await process.start()
    try:
        yield process
    finally:
        process.end()
