"""A master and its replicas: in sync, cut off, promoted. Also what a Cluster and Sentinels need of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.redises.process import RedisProcess
from tests.redises.waiting import until

REPLICATION = (
    # A user of their own for replicas, so that the master can lock them out while everybody else goes on (`cut_off`).
    "user default on nopass ~* &* +@all",
    "user replica on >replica +psync +replconf +ping",
    "masteruser replica",
    "masterauth replica",
    "repl-diskless-sync yes",
    "repl-diskless-sync-delay 0",
    "repl-ping-replica-period 1",
)
"""Lines of redis.conf for everybody who may be a master or a replica."""


def is_in_sync(master: RedisProcess, replica: RedisProcess) -> bool:
    """Whether the replica has received everything the master has written, and the master knows: before the replica's
    first word after a full copy (it speaks every second) nothing is sent to it, and no WAIT counts it."""
    behind, ahead = replica.info("replication"), master.info("replication")
    if behind.get("master_link_status") != "up":
        return False
    known = [line for name, line in ahead.items() if name.startswith("slave") and f"port={replica.port}," in line]
    offset = ahead["master_repl_offset"]
    # Of a master that has said nothing yet (it pings every second) there is nothing to know.
    return behind["slave_repl_offset"] == offset != "0" and any(f",offset={offset}," in line for line in known)


def until_in_sync(master: RedisProcess, replica: RedisProcess, *, seconds: float = 30) -> None:
    until(lambda: is_in_sync(master, replica), f"{replica.address} in sync with {master.address}", seconds=seconds)


def cut_off(master: RedisProcess, replica: RedisProcess) -> None:
    """From now on this master's replicas miss what it writes. They stay alive, and can be promoted.

    Freezing the replica would not do: what the master wrote would wait in its socket, and be applied after the thaw.
    """
    until_in_sync(master, replica)
    master.ask("ACL", "SETUSER", "replica", "off")
    master.ask("CLIENT", "KILL", "TYPE", "replica")
    until(lambda: replica.info("replication").get("master_link_status") == "down", f"{replica.address} lost its master")


def let_back(master: RedisProcess) -> None:
    """The end of `cut_off`: its replicas find back by themselves (within a second or two)."""
    master.ask("ACL", "SETUSER", "replica", "on")


class Replicas:
    """A master and its replicas, on TCP ports."""

    def __init__(self, master: RedisProcess, replicas: list[RedisProcess]) -> None:
        self.master = master
        self.replicas = replicas
        for replica in replicas:
            self.follow(replica, master)

    @property
    def url(self) -> str:
        """Of the master."""
        return self.master.url

    @property
    def replica(self) -> RedisProcess:
        return self.replicas[0]

    def follow(self, replica: RedisProcess, master: RedisProcess) -> None:
        """Make it a replica of that master; returns when it is in sync."""
        replica.ask("REPLICAOF", "127.0.0.1", master.port)
        until_in_sync(master, replica)

    def cut_off(self) -> None:
        cut_off(self.master, self.replica)

    def let_back(self) -> None:
        let_back(self.master)
        until_in_sync(self.master, self.replica)

    def promote(self, replica: RedisProcess) -> None:
        """By hand, as an operator would. Its address is not the old master's."""
        replica.ask("REPLICAOF", "NO", "ONE")
        self.master = replica


@contextmanager
def replicas(folder: Path, *lines: str, count: int = 1, binary: str | None = None) -> Iterator[Replicas]:
    """A master and so many replicas in sync with it; all of them gone at the end."""
    with ExitStack() as stack:

        def start(name: str) -> RedisProcess:
            process = RedisProcess(folder / name, *REPLICATION, *lines, listen="port", binary=binary)
            stack.callback(process.kill)
            return process

        yield Replicas(start("master"), [start(f"replica-{n}") for n in range(count)])
