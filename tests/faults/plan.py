"""What is done to an installation, one fault after the other, chosen by a seed.

Owns: the faults and their lengths. Promises: each round has every fault once, in an order of its own; when a fault is
over, everything it broke has been started or healed. Must not know: who uses the installation, what became of messages.
"""

import random
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import trio

from tests.faults.deployment import COUNTS, Deployment
from tests.faults.proxy import Mode, Proxy

HELD_UP_SECONDS = (0.1, 1.3)
"""A delayed link is one of these late: within, and beyond what a question to Redis may take in a run."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds that faults last, and between two."""

    freeze: float = 10
    redis_freeze: float = 5
    cut: float = 4
    rest: float = 3
    silence: float = 9
    """Instead of rest, after what devices only notice by their patience."""
    kills: int = 2
    """Of each role, and of Redis, in a round."""
    before: float = 5
    """Calm, until the first."""
    recovery: float = 45
    """After the last until all must be as at first: a connection that went silent is found after 40."""
    after: float = 5
    """Calm again; 0: not looked at."""


SHORT = Lengths(freeze=3, redis_freeze=3, cut=1.2, rest=0.8, silence=0.8, kills=1, before=4, recovery=0, after=0)


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    strike: Callable[["Scene"], Awaitable[str]]
    """Does it, and undoes it. What exactly was struck."""
    counts_from: Literal["begin", "end"]
    """When slow recovery begins."""
    connections: bool = False
    """It may cost those connections that go to what was struck. None other ever does."""
    silent: bool = False
    """Devices are not told that their connections are of no use any more."""

    async def struck(self, scene: "Scene") -> "Struck":
        began = trio.current_time()
        what = await self.strike(scene)
        ended = trio.current_time()
        reference = began if self.counts_from == "begin" else ended
        return Struck(self.name, what, began, ended, reference, {what} if self.connections else frozenset())


@dataclass(frozen=True, slots=True)
class Scene:
    deployment: Deployment
    chance: random.Random
    lengths: Lengths


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was. Times of the run's clock."""

    name: str
    what: str
    began: float
    ended: float
    reference: float
    """From when on everything should be well, and what is not is slow recovery."""
    servers: Collection[str] = ()
    """Whose connections may be lost for it."""


# --- processes -------------------------------------------------------------------------------------------------------


async def _kill(role: str, scene: Scene) -> str:
    process = scene.deployment.roles[scene.chance.choice(scene.deployment.labels(role))]
    await process.kill()
    await trio.sleep(scene.chance.choice([0, 0.5]))
    await process.revive()
    return process.label


async def _freeze(scene: Scene) -> str:
    # More often what holds connections and jobs.
    label = scene.chance.choice([*scene.deployment.roles, *scene.deployment.labels("socket"), "router1", "router2"])
    process = scene.deployment.roles[label]
    process.freeze()
    await trio.sleep(scene.lengths.freeze)
    process.thaw()
    return label


async def _drain(scene: Scene) -> str:
    label = scene.chance.choice([*scene.deployment.roles, *scene.deployment.labels("socket")])
    process = scene.deployment.roles[label]
    await process.drain()
    await process.revive()
    return label


# --- Redis -----------------------------------------------------------------------------------------------------------


async def _kill_redis(scene: Scene) -> str:
    scene.deployment.redis.kill()
    await trio.sleep(scene.chance.uniform(0, 1))
    await scene.deployment.restart_redis()
    return ""


async def _freeze_redis(scene: Scene) -> str:
    scene.deployment.redis.freeze()
    await trio.sleep(scene.lengths.redis_freeze)
    scene.deployment.redis.thaw()
    return ""


# --- connections -----------------------------------------------------------------------------------------------------


async def _cut(mode: Mode, scene: Scene) -> str:
    """Between roles and Redis: of all roles, or of one."""
    links = scene.deployment.redis_links
    everybody = scene.chance.random() < 0.3
    labels = list(links) if everybody else [scene.chance.choice([*links, *scene.deployment.labels("socket")])]
    await _struck([links[label] for label in labels], mode, scene)
    return "everybody" if everybody else labels[0]


async def _cut_devices(mode: Mode, scene: Scene) -> str:
    links = scene.deployment.device_links
    label = scene.chance.choice(list(links))
    await _struck([links[label]], mode, scene)
    return label


async def _struck(proxies: list[Proxy], mode: Mode, scene: Scene) -> None:
    for proxy in proxies:
        proxy.delay_seconds = scene.chance.choice(HELD_UP_SECONDS)
        await proxy.strike(mode)
    await trio.sleep(scene.lengths.cut)
    for proxy in proxies:
        proxy.heal()


FAULTS = (
    *(Fault(f"kill -9 {role}", partial(_kill, role), "begin", connections=True) for role in COUNTS),
    Fault("freeze a role", _freeze, "end", connections=True),
    Fault("drain a role", _drain, "begin", connections=True),
    Fault("kill -9 Redis", _kill_redis, "begin"),
    Fault("freeze Redis", _freeze_redis, "end"),
    *(
        Fault(f"Redis link: {mode.value}", partial(_cut, mode), "end")
        for mode in (Mode.DROP, Mode.ANSWERS_LOST, Mode.DELAY, Mode.HALF_OPEN, Mode.RESET)
    ),
    # Not delayed: what is late then is not the service's doing.
    *(
        Fault(
            f"device link: {mode.value}",
            partial(_cut_devices, mode),
            "end",
            connections=True,
            silent=mode is not Mode.RESET,
        )
        for mode in (Mode.DROP, Mode.HALF_OPEN, Mode.RESET)
    ),
)


def faults_of(lengths: Lengths, chance: random.Random) -> Iterator[Fault]:
    """For ever. Each round has every fault once, kills as often as `lengths` say, in an order of its own."""
    while True:
        yield from chance.sample(_round(lengths), round_size(lengths))


def round_size(lengths: Lengths) -> int:
    return len(_round(lengths))


def _round(lengths: Lengths) -> list[Fault]:
    return [*FAULTS, *(lengths.kills - 1) * [fault for fault in FAULTS if fault.name.startswith("kill")]]
