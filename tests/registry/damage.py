"""What Redis may lose of one user, done on purpose: any key, an entry of the log, the newest writes (a failover)."""

from collections.abc import Iterable

from pushctl.ids import Position, UserId
from pushctl.registry import Registry
from pushctl.registry.keys import Keys, shard_of

NOUNS = [
    *("meta", "gone", "devices", "push_urls", "push_url_order", "sites", "ghosts", "log", "messages", "unread"),
    *("unread_by_url", "bytes_by_url", "expiry", "topics", "stubs", "stub_expiry", "presence"),
]


class UserKeys:
    """All keys of one user, as Redis sees them. `marks`: full names of idempotency marks, which the caller knows."""

    def __init__(self, registry: Registry, keys: Keys, user: UserId) -> None:
        self._link = registry.link
        self._keys = keys
        self._user = user
        self.marks: set[str] = set()

    def _all(self) -> list[str]:
        return [*(self._keys.user(self._user, noun) for noun in NOUNS), *sorted(self.marks)]

    async def wipe(self) -> None:
        await self._link.ask_all([("DEL", key) for key in self._all()])

    async def never_were(self) -> None:
        """As `wipe`, and gc has never heard of the user."""
        await self.wipe()
        shard = shard_of(self._user)
        await self._link.ask_all([("DEL", self._keys.shard(shard, noun)) for noun in ("due", "idle", "users")])

    async def nouns(self) -> list[str]:
        """The keys that are there."""
        there = await self._link.ask_all([("EXISTS", self._keys.user(self._user, noun)) for noun in NOUNS])
        return [noun for noun, is_there in zip(NOUNS, there, strict=True) if is_there]

    async def lose(self, noun: str) -> None:
        assert await self._link.ask("DEL", self._keys.user(self._user, noun)) == 1

    async def lose_mark(self, mark: str) -> None:
        await self._link.ask("DEL", mark)

    async def log(self) -> list[Position]:
        entries = await self._link.ask("XRANGE", self._keys.user(self._user, "log"), "-", "+")
        return [Position.parse(entry.decode()) for entry, _ in entries]

    async def lose_entry(self, position: Position) -> None:
        assert await self._link.ask("XDEL", self._keys.user(self._user, "log"), str(position)) == 1

    async def count(self, noun: str) -> int:
        command = "ZCARD" if noun == "bytes_by_url" else "HLEN"
        return int(await self._link.ask(command, self._keys.user(self._user, noun)))

    async def dump(self) -> list[tuple[str, bytes]]:
        keys = self._all()
        dumps = await self._link.ask_all([("DUMP", key) for key in keys])
        return [(key, dump) for key, dump in zip(keys, dumps, strict=True) if dump is not None]

    async def roll_back(self, to: Iterable[tuple[str, bytes]]) -> None:
        """The user is as it was then: what a failover to a replica that was behind does."""
        await self.wipe()
        await self._link.ask_all([("RESTORE", key, 0, dump) for key, dump in to])
