"""The masters: which there are, which of them holds a key, and that they stay connected.

Owns: the nodes, a Cluster's map of slots, its upkeep.
Promises: a node that the map no longer names is left; one that a redirection names is known at once. While a master is
away the others go on. Must not know: commands, deadlines of questions.
"""

import random
from collections.abc import Awaitable, Callable

import trio
from msgspec.structs import replace

from pushctl.config.model import Redis
from pushctl.errors import StoreUnavailable, Unreachable
from pushctl.liveness import Liveness
from pushctl.log import get_logger
from pushctl.registry import topology
from pushctl.registry.connection import Address, Connection
from pushctl.registry.keys import SLOTS, slot_of
from pushctl.registry.lane import NotAdmitted
from pushctl.registry.node import Node
from pushctl.registry.topology import Map, Target
from pushctl.tally import LaneState, LinkTally

MAP_SECONDS = 15.0
"""A Cluster's map is read again this often, and at once when a node says that something has moved."""

WORRIED_SECONDS = 1.0
"""The same while a master is away: perhaps another has taken its place."""


class Masters:
    """Run `begin`, then `keep_map`, in the same nursery."""

    def __init__(
        self,
        settings: Redis,
        *,
        name: str,
        admit: Callable[[Node, Connection], Awaitable[None]],
        tally: LinkTally,
        liveness: Liveness,
    ) -> None:
        """`admit` raises NotAdmitted for a master that must not be used. `tally`: counts what is asked of them."""
        self._settings = settings
        self._target = Target.parse(settings.url)
        self._name = name
        self._liveness = liveness
        self._admit_ours = admit
        self._tally = tally
        tally.state = self._state
        self._log = get_logger(part="masters", name=name)
        self._nodes: list[Node] = []
        self._slots: list[Node] | None = None
        """Of a Cluster: who holds which."""
        self._stale = trio.Event()
        self._changed = trio.Event()
        self._begun = False
        self._nursery: trio.Nursery
        self.when_back: list[Callable[[], None]] = []
        """Called when a master is connected again after a loss, or another has taken its place."""

    @property
    def nodes(self) -> list[Node]:
        return list(self._nodes)

    def _state(self) -> list[LaneState]:
        return [state for node in self._nodes for state in node.state()]

    @property
    def is_cluster(self) -> bool:
        return self._slots is not None

    @property
    def connected(self) -> bool:
        """Every master can be asked."""
        return bool(self._nodes) and all(node.connected for node in self._nodes)

    async def wait_until(self, truth: Callable[[], bool]) -> None:
        """Returns at once if `truth` holds, else when it does: looked at whenever a master comes or goes. Nobody waits
        for one node: another may take its place."""
        while not truth():
            await self._changed.wait()

    def holds(self, node: Node, slot: int) -> bool:
        return self._slots is None or self._slots[slot] is node

    def of_key(self, key: str | bytes | None) -> Node:
        """Who holds this key; None: anybody, rather one that is connected."""
        if self._slots is not None and key is not None:
            return self._slots[slot_of(key)]
        if len(self._nodes) == 1:
            return self._nodes[0]
        connected = [node for node in self._nodes if node.connected]
        return random.choice(connected or self._nodes)  # noqa: S311 - to share the load

    def at(self, address: str, *, for_good: bool) -> Node:
        """The node that a redirection names, `host:port`; a new one, if the map does not know it yet. One that is named
        not for good (a slot is on its way there) is kept a while although the map does not name it."""
        host, _, port = address.rpartition(":")
        known = self._nodes[0].address
        node = self._node(replace(known, host=host or known.host, port=int(port)))
        if not for_good:
            node.needed_until = trio.current_time() + MAP_SECONDS
        return node

    def _node(self, address: Address) -> Node:
        for node in self._nodes:
            if (node.address.host, node.address.port) == (address.host, address.port):
                return node
        node = Node(
            address,
            self._settings,
            name=self._name,
            locate=self.locate,
            admit=self._admit,
            on_error=self.heard_error,
            on_change=self._node_changed,
            liveness=self._liveness,
            tally=self._tally,
        )
        self._nodes.append(node)
        self._nursery.start_soon(node.run)
        return node

    async def locate(self, node: Node) -> Address:
        """Where a node is right now: Sentinels may have moved the master. Raises StoreUnavailable."""
        if self._target.service is not None:
            seconds = self._settings.timeout_seconds / 2
            node.address = await topology.locate(self._target, name=self._name, seconds=seconds)
        return node.address

    async def _admit(self, node: Node, connection: Connection) -> None:
        if self._slots is None:
            role = await connection.ask("ROLE")
            if isinstance(role, list) and role[0] != b"master":
                master = f"{role[1].decode()}:{role[2]}"
                raise NotAdmitted(
                    f"Redis at {node} is a replica: redis.url must name its master, {master}, or Sentinels"
                )
        await self._admit_ours(node, connection)

    def heard_error(self, error: str) -> None:
        """What an error reply says about the masters."""
        self._tally.error_reply(error)
        word = error.partition(" ")[0]
        if word in ("MOVED", "CLUSTERDOWN"):
            self._stale.set()
        elif word == "READONLY" or " -READONLY " in error:  # the second from a script, in Redis 6.2
            for node in self._nodes:
                node.expel("a master has become a replica")

    def _node_changed(self, node: Node) -> None:
        if not node.connected:
            self._stale.set()  # perhaps another has taken its place
        elif self._begun:
            for look_up in self.when_back:
                look_up()
        self._notice_change()

    def _notice_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- life --------------------------------------------------------------------------------------------------------

    async def begin(self, nursery: trio.Nursery) -> None:
        """Find the masters and connect to them: of a Cluster's, to those that answer.

        Raises Unreachable when none does within `redis.connect_seconds`.
        """
        self._nursery = nursery
        problem = "no answer"
        with trio.move_on_after(self._settings.connect_seconds):
            while not self._nodes:
                try:
                    await self._look(self._target, self._settings.timeout_seconds)
                except StoreUnavailable as error:
                    problem = error.detail
                    await trio.sleep(random.uniform(0.05, 0.2))  # noqa: S311 - jitter is no secret
            await self.wait_until(lambda: self.connected)
        self._begun = True
        if not any(node.connected for node in self._nodes):
            raise self.unreachable(self._nodes[0].problem if self._nodes else problem)

    def unreachable(self, problem: str) -> Unreachable:
        why = problem.removeprefix(f"cannot connect to Redis at {self._target}: ")
        return Unreachable(
            f"Redis at {self._target} cannot be used: {why}. Start it, or set [redis] url (that of `serve all` is in "
            f"the JSON line it prints). Gave up after {self._settings.connect_seconds:g} s, redis.connect_seconds"
        )

    async def _look(self, target: Target, seconds: float) -> None:
        found, map_ = await topology.discover(target, name=self._name, seconds=seconds)
        if map_ is None and self.is_cluster:
            raise StoreUnavailable(f"{found} is in no Cluster (any more)")
        self._use(map_ or Map(((0, SLOTS - 1, found),)), cluster=map_ is not None)

    def _use(self, map_: Map, *, cluster: bool) -> None:
        """From now on these are the masters."""
        owners = [(first, last, self._node(address)) for first, last, address in map_.ranges]
        if cluster:
            # A slot that nobody holds is asked for anywhere: CLUSTERDOWN is the answer.
            slots = [owners[0][2]] * SLOTS
            for first, last, owner in owners:
                slots[first : last + 1] = [owner] * (last - first + 1)
            self._slots = slots
        now = trio.current_time()
        current = {owner for _, _, owner in owners} | {node for node in self._nodes if node.needed_until > now}
        for node in self._nodes:
            if node not in current:
                node.stop()
        self._nodes = [node for node in self._nodes if node in current]
        self._notice_change()

    async def keep_map(self) -> None:
        """Read a Cluster's map again and again, until cancelled; nothing to do without one."""
        while self.is_cluster:
            with trio.move_on_after(MAP_SECONDS if self.connected else WORRIED_SECONDS):
                await self._stale.wait()
            self._stale = trio.Event()
            # Those that answer first; what redis.url names, when none of them does.
            answering = tuple(node.address for node in self._nodes if node.connected)
            try:
                await self._look(Target(answering or self._target.seeds), self._settings.timeout_seconds / 4)
            except StoreUnavailable as error:
                self._log.warning("map_stale", detail=error.detail)
            await trio.sleep(random.uniform(0.05, 0.1))  # noqa: S311 - no stampede
