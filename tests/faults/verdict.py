"""Balancing the books when the trouble is over: waiting until all settled, then looking for what is wrong.

Owns: how long everything may take to settle, and what is compared with the ledger. Must not know: what the trouble was.
"""

from collections.abc import Collection, Iterator, Sequence

import trio

from tests.faults.deployment import PREFIX, Deployment
from tests.faults.ledger import DEAF_SECONDS, Ledger, Problem
from tests.faults.plan import Struck
from tests.faults.swarm import Device, Loss, World

SETTLE_SECONDS = 45.0
"""After the last fault, until every device has everything."""

LEFTOVER_SECONDS = 30.0
"""After the last device has gone, until no lease and no job is left."""

QUIET_SECONDS = 1.5
"""Listened on after everything is there: what comes twice comes late."""


class Lag:
    """When this process was not listening: it judges others by its own clock."""

    def __init__(self) -> None:
        self._missed: list[tuple[float, float]] = []

    async def watch(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(0.05)
            late = trio.current_time() - before - 0.05
            if late > 0.01:
                self._missed.append((trio.current_time(), late))

    def between(self, begin: float, end: float) -> float:
        """Seconds of this time, all told."""
        return sum(late for at, late in self._missed if begin <= at <= end + 0.2)

    @property
    def worst(self) -> float:
        return max((late for _, late in self._missed), default=0.0)


async def settle(world: World, devices: list[Device], ledger: Ledger) -> None:
    """Until every device has everything, for SETTLE_SECONDS at most: then what is missing is lost."""
    world.calm = True
    with trio.move_on_after(SETTLE_SECONDS):
        while any(ledger.missing()) or not all(each.settled for each in devices):  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.1)
    await trio.sleep(QUIET_SECONDS)
    for device in devices:
        if not device.settled:
            ledger.note("read", f"{device.book.label} is not settled: {device.state()}", trio.current_time())


async def compare_unread(devices: list[Device], ledger: Ledger) -> None:
    """What the client API says is unread, with the ledger and with what devices show."""
    for user, person in {device.person.user: device.person for device in devices}.items():
        stored: dict[str, str] = {}
        since: str | None = None
        while True:
            answer = await person.ask(
                "GET", "/v1/messages", params={"limit": 500} | ({"since": since} if since else {})
            )
            assert answer.status_code == 200, answer.text
            stored |= {message["id"]: message["notification"]["body"] for message in answer.json()["messages"]}
            since = answer.json()["next"]
            if since is None:
                break
        ledger.compare_unread(user, stored, trio.current_time())


def unexplained(
    deployment: Deployment, losses: Sequence[Loss], struck: Collection[Struck], lag: Lag, patience_seconds: float
) -> Iterator[Problem]:
    """Connections lost though nothing was done to their server, nor to its link with devices: whatever is done to
    Redis, and to others, costs no connection. `patience_seconds`: until a device notices that its server is gone."""
    servers = {link.door: label for label, link in deployment.device_links.items()}
    for loss in losses:
        server = servers[loss.server]
        if any(server in each.servers and each.began <= loss.at <= each.ended + patience_seconds for each in struck):
            continue
        if loss.how == "silence" and lag.between(loss.at - patience_seconds, loss.at) > DEAF_SECONDS:
            continue  # it was we who did not listen
        yield Problem("closed", f"{loss.device} lost its connection to {server}: {loss.how}", loss.at)


async def leftovers(deployment: Deployment) -> list[Problem]:
    """Leases and jobs that are still there LEFTOVER_SECONDS after everybody left."""
    found: list[str] = []

    def look() -> list[str]:
        redis = deployment.redis
        leases = [f"a lease: {key.decode()}" for key in redis.ask("KEYS", f"{PREFIX}:{{u:*}}:presence")]
        jobs = []
        for key in redis.ask("KEYS", f"{PREFIX}:{{route:*}}"):
            groups = [dict(zip(group[::2], group[1::2], strict=True)) for group in redis.ask("XINFO", "GROUPS", key)]
            if (length := redis.ask("XLEN", key)) or any(group[b"pending"] for group in groups):
                jobs.append(f"jobs: {length} in {key.decode()}, {groups}")
        return leases + jobs

    with trio.move_on_after(LEFTOVER_SECONDS):
        while found := await trio.to_thread.run_sync(look):  # noqa: ASYNC110 - Redis tells nobody
            await trio.sleep(0.2)
    return [Problem("leftover", text, trio.current_time()) for text in found]
