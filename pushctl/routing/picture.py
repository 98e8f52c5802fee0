"""The picture of living socket servers that look-ups are held against.

Owns: the rows as this process last saw them. Promises: a server is not taken for dead without evidence; while Redis is
away the last picture stays. Must not know: what is brought to servers.
"""

from collections.abc import Sequence

import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ServerId
from pushctl.log import get_logger
from pushctl.registry import Registry
from pushctl.registry.presence import Holder
from pushctl.registry.servers import ServerRow

PICTURE_SECONDS = 1.5
"""Between two looks at the servers. Below the gap after which a judge counts as absent."""


class Picture:
    """Which generation of which server lives, as this process last saw it."""

    def __init__(self, registry: Registry, judge: str) -> None:
        self._registry = registry
        self._judge = judge
        self._rows: dict[ServerId, ServerRow] = {}
        self._living: dict[str, ServerId | None] = {}
        """What `living` has found out since the last look."""
        self._log = get_logger(part="picture")

    async def keep(self) -> None:
        """Look again and again, until cancelled. While Redis is away the last picture stays."""
        while True:
            try:
                await self.look()
            except StoreUnavailable as error:
                self._log.warning("picture_stale", detail=error.detail)
            await trio.sleep(PICTURE_SECONDS)

    async def look(self) -> None:
        rows = await self._registry.servers.picture(self._judge)
        self._rows = {row.id: row for row in rows}
        self._living.clear()

    async def look_for(self, holders: Sequence[Holder]) -> None:
        """Look again if one of these was not in the picture yet, a server that has just started; or was dead in it: it
        may be back, and what it has just claimed again must not be pruned. Without Redis the last picture serves."""
        if not all(self.may_live(holder) and not self._is_news(holder) for holder in holders):
            try:
                await self.look()
            except StoreUnavailable as error:
                self._log.warning("picture_stale", detail=error.detail)

    def row(self, server: ServerId) -> ServerRow | None:
        """As last seen, dead or alive."""
        return self._rows.get(server)

    def _is_news(self, holder: Holder) -> bool:
        row = self._rows.get(holder.server)
        return row is None or holder.generation > row.generation

    def living(self, holder: str) -> ServerId | None:
        """The server of a '<server> <generation>', if it is in the picture as this very generation, alive."""
        if holder not in self._living:
            server, _, generation = holder.rpartition(" ")
            row = self._rows.get(ServerId(server))
            lives = row is not None and row.alive and str(row.generation) == generation
            self._living[holder] = ServerId(server) if lives else None
        return self._living[holder]

    def may_live(self, holder: Holder) -> bool:
        """False only on evidence: its server is silent, or has been replaced by a newer generation."""
        row = self._rows.get(holder.server)
        return row is None or row.may_hold(holder.generation)
