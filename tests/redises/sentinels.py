"""Sentinels that watch a master and its replica, and promote the replica when the master is silent for a second.

Promises: from the start every Sentinel knows the replica and the other Sentinels, so a failover can follow at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.redises.process import RedisProcess
from tests.redises.replication import Replicas, replicas
from tests.redises.waiting import until

NAME = "mymaster"


class SentinelSet:
    """`watched` is as it was at the start; `master` is whom the Sentinels name now."""

    def __init__(self, watched: Replicas, sentinels: list[RedisProcess]) -> None:
        self.watched = watched
        self.sentinels = sentinels
        for sentinel in sentinels:
            until(lambda one=sentinel: self._is_complete(one), f"{sentinel.address} knows everybody")  # type: ignore[misc]

    @property
    def url(self) -> str:
        """Of all Sentinels, so that it also works when some are down."""
        return f"redis+sentinel://{','.join(sentinel.address for sentinel in self.sentinels)}/{NAME}/0"

    @property
    def master(self) -> RedisProcess:
        """In the eyes of the first Sentinel that lives."""
        return self._named_by(next(sentinel for sentinel in self.sentinels if sentinel.alive))

    def until_promoted(self, replica: RedisProcess, *, seconds: float = 20) -> None:
        """Wait until it is master, and every living Sentinel says so."""

        def promoted() -> bool:
            living = [sentinel for sentinel in self.sentinels if sentinel.alive]
            return replica.ask("ROLE")[0] == b"master" and all(self._named_by(one) is replica for one in living)

        until(promoted, f"{replica.address} promoted", seconds=seconds)

    def _named_by(self, sentinel: RedisProcess) -> RedisProcess:
        _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return next(one for one in (self.watched.master, *self.watched.replicas) if one.port == int(port))

    def _is_complete(self, sentinel: RedisProcess) -> bool:
        flat = sentinel.ask("SENTINEL", "MASTER", NAME)
        known = dict(zip(flat[::2], flat[1::2], strict=True))
        if int(known[b"num-other-sentinels"]) != len(self.sentinels) - 1:
            return False
        followers = [dict(zip(one[::2], one[1::2], strict=True)) for one in sentinel.ask("SENTINEL", "REPLICAS", NAME)]
        healthy = [one for one in followers if one[b"flags"] == b"slave" and one[b"master-link-status"] == b"ok"]
        return len(healthy) == len(self.watched.replicas)


@contextmanager
def sentinel_set(
    folder: Path, *, count: int = 3, quorum: int = 2, down_after_ms: int = 2000, binary: str | None = None
) -> Iterator[SentinelSet]:
    """A master, a replica and so many Sentinels; all of them gone at the end."""
    with ExitStack() as stack:
        watched = stack.enter_context(replicas(folder, binary=binary))
        lines = (
            f"sentinel monitor {NAME} 127.0.0.1 {watched.master.port} {quorum}",
            f"sentinel down-after-milliseconds {NAME} {down_after_ms}",
            f"sentinel failover-timeout {NAME} 5000",
        )

        def start(name: str) -> RedisProcess:
            process = RedisProcess(folder / name, *lines, listen="port", binary=binary, arguments=("--sentinel",))
            stack.callback(process.kill)
            return process

        yield SentinelSet(watched, [start(f"sentinel-{n}") for n in range(count)])
