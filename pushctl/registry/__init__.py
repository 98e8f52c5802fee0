"""The registry: all state that roles share, in Redis. The only floor that says "redis" (with embedded.py).

`open_registry` gives the nouns; each answers one question per method, in one round trip. keys.py draws the key space,
scripts/ holds what must be atomic. How it travels: link.py (one question), masters.py (which Redis), topology.py (where
they are), node.py and lane.py (the connections), installation.py (whether a Redis is ours).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.ids import UserId
from pushctl.liveness import Liveness
from pushctl.reasons import Code, Reason
from pushctl.registry.broadcasts import Broadcasts
from pushctl.registry.browsers import Browsers
from pushctl.registry.channel import Channels
from pushctl.registry.identities import Identities
from pushctl.registry.index import Index
from pushctl.registry.info import parse_info
from pushctl.registry.inspection import Inspection
from pushctl.registry.installation import Installation
from pushctl.registry.jobs import Jobs
from pushctl.registry.key_holders import KeyHolders
from pushctl.registry.keys import Keys
from pushctl.registry.keyspace import KeySpace
from pushctl.registry.link import Link
from pushctl.registry.messages import Messages
from pushctl.registry.offices import Offices
from pushctl.registry.presence import Presence
from pushctl.registry.processes import Processes
from pushctl.registry.push_urls import PushUrls
from pushctl.registry.rates import Rates
from pushctl.registry.receipts import Receipts
from pushctl.registry.servers import Servers
from pushctl.registry.sessions import Sessions
from pushctl.registry.store import Store
from pushctl.registry.users import Users
from pushctl.registry.wishes import Wishes
from pushctl.tally import LinkTally


class Registry:
    """The nouns. Each raises StoreUnavailable (503) when Redis does not answer in time."""

    def __init__(self, link: Link, keys: Keys, config: Config, shift_ms: Callable[[], int] | None = None) -> None:
        store = Store(link, keys, config, shift_ms)
        self.link = link
        self.users = Users(store)
        self.push_urls = PushUrls(store)
        self.browsers = Browsers(store)
        self.messages = Messages(store)
        self.presence = Presence(store)
        self.servers = Servers(store)
        self.processes = Processes(store)
        self.offices = Offices(store)
        self.wishes = Wishes(store)
        self.key_holders = KeyHolders(store)
        self.sessions = Sessions(store)
        self.identities = Identities(store, self.users.listing, self.sessions)
        self.index = Index(store)
        self.inspection = Inspection(store)
        self.rates = Rates(store)
        self.keyspace = KeySpace(store)
        self.channels = Channels(store)
        self.jobs = Jobs(store, self.channels)
        self.broadcasts = Broadcasts(store, self.channels)
        self.receipts = Receipts(store)
        self._keys = keys

    @property
    def connected(self) -> bool:
        """Every master can be asked."""
        return self.link.connected

    async def wait_for(self, user: UserId) -> None:
        """Returns once the master that holds this user can be asked."""
        await self.link.wait_connected(self._keys.user(user, "meta"))

    async def check(self) -> list[Reason]:
        """Why a role that needs the registry is not ready; empty when it can be used: by some users at least, if one of
        several masters is away."""
        reasons = self.link.why_not()
        if reasons:
            return reasons
        policies: list[Reason] = []
        silent: list[str] = []

        async def look(address: str) -> None:
            try:
                memory = parse_info(await self.link.ask_master(address, "INFO", "memory"))
            except StoreUnavailable as error:
                silent.append(error.detail)
                return
            policy = memory.get("maxmemory_policy", "noeviction")
            if policy != "noeviction":
                detail = (
                    f"Redis at {address} evicts keys (maxmemory-policy {policy}): it would lose messages; set it to "
                    "noeviction"
                )
                policies.append(Reason(Code.REDIS_EVICTS, detail))

        masters = self.link.masters
        async with trio.open_nursery() as nursery:
            for address in masters:
                nursery.start_soon(look, address)
        if policies or len(silent) < len(masters):
            return policies
        return [Reason(Code.REDIS_AWAY, detail) for detail in dict.fromkeys(silent)]

    async def verdicts(self, installation: str) -> dict[str, str | None]:
        """Of each master that answers: why it is not this installation's; None: it is."""
        return await self.link.verdicts(Installation(installation, self._keys))

    async def is_unused(self, installation: str) -> bool:
        """No role has ever used this registry: the first that starts will adopt it."""
        return await self.link.is_unused(Installation(installation, self._keys))

    async def adopt(self, installation: str) -> None:
        """From now on this registry is this installation's, whatever was lost in it; unless it is another's."""
        await self.link.adopt(Installation(installation, self._keys))

    async def infos(self) -> dict[str, dict[str, str]]:
        """What each master says of itself (INFO), by address."""
        return {address: parse_info(raw) for address, raw in (await self.link.ask_masters("INFO")).items()}

    async def now_ms(self) -> int:
        """Redis TIME: the clock that everything stored is judged by."""
        seconds, microseconds = await self.link.ask_any("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000


@asynccontextmanager
async def open_registry(
    config: Config,
    *,
    name: str,
    installation: str | None = None,
    tally: LinkTally | None = None,
    liveness: Liveness | None = None,
    shift_ms: Callable[[], int] | None = None,
) -> AsyncIterator[Registry]:
    """The registry, connected, for as long as the block lasts.

    `installation`: of the keys file; a Redis that does not hold its marker is not used. None (tools): any.
    Raises Unreachable when Redis cannot be reached within `redis.connect_seconds`, or is not this installation's.
    `name` is shown in CLIENT LIST; `tally`: counts what the link to Redis does; `liveness`: of the role, told of by its
    connections.
    """
    keys = Keys(config.redis.prefix)
    marker = Installation(installation, keys) if installation else None
    link = Link(config.redis, name=name, installation=marker, tally=tally, liveness=liveness)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield Registry(link, keys, config, shift_ms)
        nursery.cancel_scope.cancel()
