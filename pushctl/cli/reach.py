"""An operator's way to the registry.

Owns: what is said while Redis does not answer, and where it may be instead.
Promises: nobody sits before a silent terminal, and who runs `serve all` here is told the name of its Redis.
Must not know: what is asked of the registry.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from pushctl import cli
from pushctl.config.model import Config
from pushctl.errors import Unreachable
from pushctl.registry import Registry, open_registry

_SILENT_SECONDS: Final = 1.0
_DEFAULT_URL: Final = Config().redis.url


@asynccontextmanager
async def reached(config: Config, *, name: str, installation: str | None = None) -> AsyncIterator[Registry]:
    """As `open_registry`."""
    try:
        async with trio.open_nursery() as nursery:
            waiting = await nursery.start(_say_that_we_wait, config.redis.connect_seconds)
            async with open_registry(config, name=name, installation=installation) as registry:
                waiting.cancel()
                yield registry
    except* Unreachable as group:
        raise Unreachable(f"{cli.leaves(group)[0]}{_elsewhere(config)}") from None


async def _say_that_we_wait(seconds: float, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await trio.sleep(_SILENT_SECONDS)
        if seconds > _SILENT_SECONDS:
            cli.tell(f"no answer from Redis yet; trying for {seconds:g} s")


def _elsewhere(config: Config) -> str:
    """For who named no Redis: that of a `serve all` with the usual data directory."""
    from pushctl.cli.everything import default_data_dir

    socket = default_data_dir() / "redis.sock"
    if config.redis.url != _DEFAULT_URL or not socket.exists():
        return ""
    return f". `serve all` here has one of its own: --set redis.url=unix://{socket}"
