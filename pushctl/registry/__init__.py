"""The registry: all state that roles share, in Redis. The only floor that says "redis" (with embedded.py).

`open_registry` gives the nouns; each answers one question per method, in one round trip. keys.py draws the key space,
scripts/ holds what must be atomic, link.py is how it all travels.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.registry.channel import Channels
from pushctl.registry.index import Index
from pushctl.registry.jobs import Jobs
from pushctl.registry.keys import Keys
from pushctl.registry.keyspace import KeySpace
from pushctl.registry.link import Link
from pushctl.registry.messages import Messages
from pushctl.registry.presence import Presence
from pushctl.registry.push_urls import PushUrls
from pushctl.registry.servers import Servers
from pushctl.registry.sessions import Sessions
from pushctl.registry.store import Store
from pushctl.registry.users import Users


class Registry:
    """The nouns. Each raises StoreUnavailable (503) when Redis does not answer in time."""

    def __init__(self, link: Link, config: Config, shift_ms: Callable[[], int] = lambda: 0) -> None:
        store = Store(link, Keys(config.redis.prefix), config, shift_ms)
        self.link = link
        self.users = Users(store)
        self.push_urls = PushUrls(store)
        self.messages = Messages(store)
        self.presence = Presence(store)
        self.servers = Servers(store)
        self.sessions = Sessions(store)
        self.jobs = Jobs(store)
        self.index = Index(store)
        self.keyspace = KeySpace(store)
        self.channels = Channels(store)

    @property
    def connected(self) -> bool:
        return self.link.connected

    async def check(self) -> list[str]:
        """Why a role that needs the registry is not ready; empty when it can be used."""
        try:
            await self.link.ask("PING")
            memory = await self.link.ask("INFO", "memory")
        except StoreUnavailable as error:
            return [error.detail]
        policy = _info(memory).get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            return [f"Redis evicts keys (maxmemory-policy {policy}): it would lose messages; set it to noeviction"]
        return []

    async def info(self) -> dict[str, str]:
        """What Redis says of itself (INFO)."""
        return _info(await self.link.ask("INFO"))

    async def now_ms(self) -> int:
        """Redis TIME: the clock that everything stored is judged by."""
        seconds, microseconds = await self.link.ask("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000


def _info(raw: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in raw.decode().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


@asynccontextmanager
async def open_registry(
    config: Config, *, name: str, shift_ms: Callable[[], int] = lambda: 0
) -> AsyncIterator[Registry]:
    """The registry, connected, for as long as the block lasts.

    Raises Unreachable when Redis cannot be reached within `redis.connect_seconds`. `name` is shown in CLIENT LIST.
    """
    link = Link(config.redis, name=name)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield Registry(link, config, shift_ms)
        nursery.cancel_scope.cancel()
