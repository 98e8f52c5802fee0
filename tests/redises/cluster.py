"""A Redis Cluster of plain redis-server processes: formed, resharded, failed over, cut off.

Promises: `url` works from the start: every node knows every other, all slots are served, replicas are in sync.
Formed without redis-cli, which the wheel's server does not bring.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.redises.process import RedisProcess
from tests.redises.replication import REPLICATION, cut_off, let_back, until_in_sync
from tests.redises.waiting import until

SLOTS = 16_384


class RedisCluster:
    """`masters` as they were at the start (`owner` and `role` say how it is now); `replicas[n]` is of `masters[n]`."""

    def __init__(self, masters: list[RedisProcess], replicas: list[RedisProcess]) -> None:
        self.masters = masters
        self.replicas = replicas
        self.nodes = [*masters, *replicas]
        self._form()

    @property
    def url(self) -> str:
        """Of all nodes, so that it also works when some are down."""
        return f"redis://{','.join(node.address for node in self.nodes)}/0"

    # --- who is who --------------------------------------------------------------------------------------------------

    def id_of(self, node: RedisProcess) -> str:
        return str(node.ask("CLUSTER", "MYID").decode())

    def role(self, node: RedisProcess) -> str:
        """master or slave: Redis' word."""
        return str(node.ask("ROLE")[0].decode())

    def owner(self, slot: int, *, asked: RedisProcess | None = None) -> RedisProcess:
        """The master of this slot, in the eyes of one node (the first that lives)."""
        asked = asked or next(node for node in self.nodes if node.alive)
        for first, last, (_, port, *_), *_ in asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody serves slot {slot}")

    def replica_of(self, master: RedisProcess) -> RedisProcess:
        """The replica that it was given at the start."""
        return self.replicas[self.masters.index(master)]

    def slot_of(self, key: str) -> int:
        return int(self.masters[0].ask("CLUSTER", "KEYSLOT", key))

    # --- faults ------------------------------------------------------------------------------------------------------

    def cut_off(self, replica: RedisProcess) -> None:
        """It misses what its master writes from now on, but lives and can be promoted."""
        cut_off(self.masters[self.replicas.index(replica)], replica)

    def let_back(self, replica: RedisProcess) -> None:
        master = self.masters[self.replicas.index(replica)]
        let_back(master)
        until_in_sync(master, replica)

    def until_promoted(self, replica: RedisProcess, *, seconds: float = 20) -> None:
        """Wait until it is master of its dead (or frozen) master's slots, and all who live say so."""
        slot = self._range_of(self.replicas.index(replica)).start
        alive = [node for node in self.nodes if node.alive and node is not self.masters[self.replicas.index(replica)]]

        def promoted() -> bool:
            return self.role(replica) == "master" and all(self.owner(slot, asked=node) is replica for node in alive)

        until(promoted, f"{replica.address} promoted", seconds=seconds)

    # --- resharding --------------------------------------------------------------------------------------------------

    def migration(self, slot: int, to: RedisProcess) -> Iterator[bytes]:
        """Move a slot the way redis-cli does, key by key; between two keys the caller has its turn, while both nodes
        answer for the slot. The slot has moved when the iteration is over, not before."""
        source = self.owner(slot)
        assert source is not to
        to.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            reply = source.ask("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            assert reply in (b"OK", b"NOKEY"), reply  # it may have expired or been deleted since
            yield keys[0]
        # The new owner first: whoever is redirected finds somebody who serves.
        others = [node for node in self.nodes if node not in (source, to) and node.alive]
        for node in (to, source, *(other for other in others if self.role(other) == "master")):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(to))

    def migrate_slot(self, slot: int, to: RedisProcess) -> int:
        """Move a slot in one go; how many keys it held."""
        return sum(1 for _ in self.migration(slot, to))

    # --- forming -----------------------------------------------------------------------------------------------------

    def _form(self) -> None:
        for number, master in enumerate(self.masters):
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)  # distinct ones, or they would have to settle it
            master.ask("CLUSTER", "ADDSLOTS", *self._range_of(number))
        for node in self.nodes:
            for other in self.nodes:  # everybody everybody: gossip would take a second or two
                if node is not other:
                    node.ask("CLUSTER", "MEET", "127.0.0.1", other.port)
        for master, replica in zip(self.masters, self.replicas, strict=False):
            name = self.id_of(master)
            until(lambda r=replica, m=name: r.ask("CLUSTER", "REPLICATE", m), f"{replica.address} knows its master")  # type: ignore[misc]
        for node in self.nodes:
            until(lambda n=node: self._is_complete(n), f"{node.address} sees the whole cluster")  # type: ignore[misc]
        for master, replica in zip(self.masters, self.replicas, strict=False):
            until_in_sync(master, replica)

    def _range_of(self, number: int) -> range:
        """The slots that this master is given: those that `shard_of` counts as its part."""
        first, end = (-(-SLOTS * n // len(self.masters)) for n in (number, number + 1))
        return range(first, end)

    def _is_complete(self, node: RedisProcess) -> bool:
        lines = node.ask("CLUSTER", "INFO").decode().split()
        expected = {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_known_nodes:{len(self.nodes)}"}
        if not expected <= set(lines):
            return False
        described = node.ask("CLUSTER", "NODES").decode()
        return "handshake" not in described and described.count("slave") == len(self.replicas)


@contextmanager
def redis_cluster(
    folder: Path,
    *lines: str,
    masters: int = 3,
    with_replicas: bool = False,
    node_timeout_ms: int = 2000,
    full_coverage: bool = False,
    binary: str | None = None,
    client: dict[str, Any] | None = None,
) -> Iterator[RedisCluster]:
    """A cluster ready for use; all of it gone at the end. `node_timeout_ms`: of silence until a node counts as failed;
    `client`: as of a RedisProcess.

    Without `full_coverage` the other masters go on when one is away, which is not Redis' default.
    """
    settings = (
        # A user is said once: whoever brings `default` along has it as it says.
        *(line for line in REPLICATION if line.split()[:2] not in [own.split()[:2] for own in lines]),
        "cluster-enabled yes",
        "cluster-config-file nodes.conf",
        "cluster-announce-ip 127.0.0.1",
        f"cluster-node-timeout {node_timeout_ms}",
        f"cluster-require-full-coverage {'yes' if full_coverage else 'no'}",
        "cluster-replica-validity-factor 0",  # however old its data: a replica that was cut off may take over
        *lines,
    )
    with ExitStack() as stack:

        def start(name: str) -> RedisProcess:
            node = RedisProcess(folder / name, *settings, listen="port", binary=binary, client=client)
            stack.callback(node.kill)
            return node

        first = [start(f"master-{n}") for n in range(masters)]
        second = [start(f"replica-{n}") for n in range(masters if with_replicas else 0)]
        yield RedisCluster(first, second)
