"""A slow walk over every key there is, for repair: the one place that SCANs.

Owns: which keys the walk understands, script fade. Promises: a step looks at about COUNT keys; a key that is there
during a whole round is seen. Must not know: the pace; what is done with what was found.
"""

import re
from collections.abc import Sequence

import msgspec

from pushctl.ids import UserId
from pushctl.registry.script import Script
from pushctl.registry.store import Store

FADE = Script.load("fade")

COUNT = 500
"""Keys that Redis looks at in one step, about."""

LASTING = ("devices", "identities", "push_urls", "push_url_order", "sites")
"""A user's keys without an end of their own, beside meta."""


class Found(msgspec.Struct):
    """Of one step. `lasting`: users with keys that never end by themselves; `allowing`: those who have push URLs;
    `entries`: of the identity index."""

    users: set[UserId] = msgspec.field(default_factory=set)
    tombstones: set[UserId] = msgspec.field(default_factory=set)
    lasting: set[UserId] = msgspec.field(default_factory=set)
    allowing: set[UserId] = msgspec.field(default_factory=set)
    entries: list[str] = msgspec.field(default_factory=list)


class KeySpace:
    def __init__(self, store: Store) -> None:
        self._store = store
        prefix = store.keys.prefix
        self._pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + ":*"
        self._of_user = re.compile(re.escape(prefix) + r":\{u:([^}]*)\}:(\w+)")
        self._identity = re.compile(re.escape(prefix) + r":identity:(.+)")

    async def masters(self) -> dict[str, int]:
        """How many keys each master holds, other installations' included, by address."""
        sizes = await self._store.link.ask_masters("DBSIZE")
        return {address: int(size) for address, size in sizes.items()}

    async def step(self, master: str, cursor: int) -> tuple[int, Found]:
        """(next cursor, 0 at the end; what a user or an index hangs on among the keys of this step).

        Raises StoreUnavailable, also when this is no master any more: then the round begins anew.
        """
        reply = await self._store.link.ask_master(master, "SCAN", cursor, "MATCH", self._pattern, "COUNT", COUNT)
        found = Found()
        nouns = {"meta": found.users, "gone": found.tombstones, **dict.fromkeys(LASTING, found.lasting)}
        for name in (raw.decode(errors="replace") for raw in reply[1]):
            if (of_user := self._of_user.fullmatch(name)) and of_user[2] in nouns:
                nouns[of_user[2]].add(UserId(of_user[1]))
                if of_user[2] == "push_urls":
                    found.allowing.add(UserId(of_user[1]))
            elif identity := self._identity.fullmatch(name):
                found.entries.append(identity[1])
        return int(reply[0]), found

    async def fade(self, users: Sequence[UserId]) -> int:
        """Give keys of users without meta the end that nothing else gives them. How many."""
        keys = self._store.keys
        return sum([int(await self._store.run_on(FADE, keys.of_script(FADE, user))) for user in users])
