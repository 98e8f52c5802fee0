"""What operators wish of a running socket server: to drain, or to take clients again.

Owns: script wish, and the shape of a wish. Promises: a server hears of a wish with its next heartbeat, whatever
happened to its link meanwhile; a wish is for one start of a server (its generation), so a restarted one begins anew.
That there is no wish means nothing: one that a failover lost is not taken back by that.
Must not know: how a server drains.
"""

import msgspec

from pushctl.errors import Failed
from pushctl.ids import ServerId
from pushctl.registry.script import Script
from pushctl.registry.store import Store

WISH = Script.load("wish")

MAX_BY = 200
"""Characters of who asked that are kept."""


class Wish(msgspec.Struct, frozen=True):
    """`drain`: False is to be ready again. `by`: who asked, in their words. `at_ms`: when, by the registry's time."""

    drain: bool
    by: str
    at_ms: int
    over_ms: int = 0
    """How long the server may take to send everybody away."""


def encode_wish(wish: Wish) -> bytes:
    return msgspec.msgpack.encode(wish)


def decode_wish(raw: bytes) -> Wish:
    return msgspec.msgpack.decode(raw, type=Wish)


class Wishes:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def wish(self, server: ServerId, generation: int, wish: Wish) -> None:
        """Ask it of this start of the server; the newest wish counts. Raises Failed if a newer one has started."""
        keys = [self._store.keys.servers(noun) for noun in WISH.keys]
        reply = await self._store.run_on(WISH, keys, server=server, generation=generation, wish=encode_wish(wish))
        if reply != b"done":
            raise Failed(f"{server} was restarted this very moment: look at `pushctl stats servers`, and ask again")
