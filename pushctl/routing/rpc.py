"""Strategy `rpc`: look up who holds the users, POST a batch to each such server's internal listener.

Owns: who is suspected. Promises:
- A server that did not answer is suspected: its jobs go by its channel (channel.py), and one small question at a time,
  at growing intervals, finds out when it answers again. So it is not hammered, and holds up nobody.
- Jobs of the call that was not answered go by the channel, too, if they may come twice; TTL 0 may not.
- What a server says it does not hold is pruned from presence, unless it has changed since.
Must not know: HTTP (caller.py).
"""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import trio

from pushctl.identity.peers import PeerKeys
from pushctl.ids import ServerId, UserId
from pushctl.log import get_logger
from pushctl.metrics import RpcMetrics
from pushctl.metrics.shared import ANSWERED, REPLACED, UNANSWERED
from pushctl.protocol.jobs import Batch, Ephemeral, Job, encode
from pushctl.registry import Registry
from pushctl.registry.jobs import Taken
from pushctl.registry.servers import ServerRow
from pushctl.routing.batches import batches
from pushctl.routing.caller import Caller, Replaced, Unanswered
from pushctl.routing.channel import publish
from pushctl.routing.lookup import Found, Lookup
from pushctl.routing.strategy import Delivered

FIRST_ASK_SECONDS = 0.5
LONGEST_ASK_SECONDS = 10.0
"""Between two questions to a suspected server: from the first, doubled, up to the longest."""

_QUESTION = encode(Batch([]))


@dataclass(slots=True)
class _Line:
    """To one generation of a server, at one address."""

    generation: int
    url: str
    caller: Caller
    suspected: bool = False


class RpcStrategy:
    """Made by `open_rpc`."""

    def __init__(
        self,
        registry: Registry,
        lookup: Lookup,
        keys: PeerKeys,
        nursery: trio.Nursery,
        metrics: RpcMetrics | None = None,
    ) -> None:
        self._registry = registry
        self._lookup = lookup
        self._keys = keys
        self._nursery = nursery
        self._lines: dict[ServerId, _Line] = {}
        self._metrics = metrics
        if metrics is not None:
            metrics.suspected.look = lambda: [((), sum(line.suspected for line in self._lines.values()))]
        self._log = get_logger(part="rpc")

    async def deliver(self, jobs: Sequence[Job], done: Sequence[Taken] = ()) -> Delivered:
        found = await self._lookup.find(jobs, believe=False)  # its leases are needed to prune what servers deny
        calls: dict[ServerId, _Line] = {}
        detour: dict[ServerId, Sequence[Job]] = {}
        for server, theirs in found.by_server.items():
            line = self._line(server)
            if line is None or line.suspected:
                detour[server] = theirs
            else:
                calls[server] = line
        delivered = await self._call(calls, found, detour)
        published = await publish(self._registry, detour.items())
        return replace(
            delivered,
            hints=delivered.hints + published.hints,
            unheard=delivered.unheard + published.unheard,
            detoured=sum(map(len, detour.values())),
        )

    async def _call(
        self, calls: Mapping[ServerId, _Line], found: Found, detour: dict[ServerId, Sequence[Job]]
    ) -> Delivered:
        """Call servers together; what was not answered and may be said again is added to `detour`."""
        hints, unheard, pruned = 0, 0, found.pruned

        async def call(server: ServerId, line: _Line) -> None:
            nonlocal hints, unheard, pruned
            theirs = found.by_server[server]
            try:
                for batch in batches(theirs):
                    hints += 1
                    pruned += self._prune(found, server, line, await self._tell(line, batch))
            except Replaced:
                unheard += 1
            except Unanswered as problem:
                unheard += 1
                self._suspect(server, line, str(problem))
                again = [job for job in theirs if not isinstance(job, Ephemeral)]
                if again:
                    detour[server] = again

        async with trio.open_nursery() as nursery:
            for server, line in calls.items():
                nursery.start_soon(call, server, line)
        return Delivered(hints=hints, nobody=found.nobody, pruned=pruned, unheard=unheard)

    async def _tell(self, line: _Line, batch: bytes) -> list[str]:
        """Caller.tell, counted."""
        began, outcome = trio.current_time(), UNANSWERED
        try:
            missing = await line.caller.tell(batch)
            outcome = ANSWERED
        except Replaced:
            outcome = REPLACED
            raise
        finally:
            if self._metrics is not None:
                self._metrics.called(outcome, trio.current_time() - began)
        return missing

    def _prune(self, found: Found, server: ServerId, line: _Line, missing: Sequence[str]) -> int:
        """Leases of users that the server does not hold, as they stood before it was asked."""
        pruned = 0
        for name in missing:
            holders = found.holders.get(UserId(name), [])
            stale = [each for each in holders if (each.server, each.generation) == (server, line.generation)]
            pruned += self._lookup.prune(UserId(name), stale)
        return pruned

    # --- who answers -------------------------------------------------------------------------------------------------

    def _line(self, server: ServerId) -> _Line | None:
        """How to call a server; None if it has no internal listener, or nothing is known of it."""
        row = self._lookup.picture.row(server)
        if row is None or not row.rpc_url:
            return None
        line = self._lines.get(server)
        if line is None or not _is_for(line, row):
            self._hang_up(server)
            for gone in [each for each in self._lines if self._lookup.picture.row(each) is None]:
                self._hang_up(gone)
            caller = Caller(self._keys, server, row.generation, row.rpc_url)
            self._lines[server] = line = _Line(row.generation, row.rpc_url, caller)
        return line

    def _hang_up(self, server: ServerId) -> None:
        line = self._lines.pop(server, None)
        if line is not None:
            line.caller.close()

    def close(self) -> None:
        """Hang up on everybody."""
        for server in list(self._lines):
            self._hang_up(server)

    def _suspect(self, server: ServerId, line: _Line, problem: str) -> None:
        if not line.suspected:
            line.suspected = True
            self._log.warning("server_suspected", server=server, detail=problem)
            self._nursery.start_soon(self._ask_until_it_answers, server, line)

    async def _ask_until_it_answers(self, server: ServerId, line: _Line) -> None:
        """Until the server answers again, is dead, or another has taken its place."""
        seconds = FIRST_ASK_SECONDS
        while True:
            await trio.sleep(seconds * random.uniform(0.8, 1.2))  # noqa: S311 - jitter is no secret
            seconds = min(2 * seconds, LONGEST_ASK_SECONDS)
            row = self._lookup.picture.row(server)
            if row is None or not row.alive or not _is_for(line, row):
                return  # whoever is called there next gets a line of its own
            try:
                await self._tell(line, _QUESTION)
            except (Unanswered, Replaced):
                continue
            line.suspected = False
            self._log.info("server_answers_again", server=server)
            return


def _is_for(line: _Line, row: ServerRow) -> bool:
    return (line.generation, line.url) == (row.generation, row.rpc_url)


@asynccontextmanager
async def open_rpc(
    registry: Registry, lookup: Lookup, keys: PeerKeys, metrics: RpcMetrics | None = None
) -> AsyncIterator[RpcStrategy]:
    """The strategy, with its connections, for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        strategy = RpcStrategy(registry, lookup, keys, nursery, metrics)
        try:
            yield strategy
        finally:
            strategy.close()
        nursery.cancel_scope.cancel()
