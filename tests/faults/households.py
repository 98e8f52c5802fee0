"""Who uses an installation: households of two devices with a push URL, some of them with an unruly device.

Owns: how many there are, and how they behave. Promises: everybody is logged in, and connected unless unruly, when the
block begins; gone without a goodbye when it ends. Must not know: what is done to the installation.
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import httpx
import trio

from tests.faults.deployment import Deployment
from tests.faults.ledger import Ledger
from tests.faults.plan import SHORT
from tests.faults.senders import Mail, Target
from tests.faults.swarm import Device, Manners, World
from tests.faults.unruly import misbehave
from tests.scenario.people import Person, Town

SITES = 8
PER_SECOND = 28
"""Messages that all sites send together."""


@dataclass(frozen=True, slots=True)
class Size:
    users: int = 16
    unruly: int = 4
    """Users of whose two devices one does not behave."""
    freeze_seconds: float = SHORT.freeze
    """The longest that a server may be frozen: some devices are more patient."""


MANY = Size()


def patient(size: Size) -> float:
    """Seconds of silence that a patient device takes; it survives a freeze."""
    return size.freeze_seconds + 2


def all_manners(size: Size) -> list[Manners]:
    """Of devices that keep to the protocol. Some leave a frozen server, some stay."""
    return [
        Manners(patience_seconds=patient(size)),
        Manners(patience_seconds=3),
        Manners(patience_seconds=3, vanishes_after_seconds=5),
        Manners(patience_seconds=patient(size), vanishes_after_seconds=8, forgets=True),
        Manners(patience_seconds=patient(size), frame_seconds=0.2),
    ]


@asynccontextmanager
async def households(
    deployment: Deployment, ledger: Ledger, size: Size, chance: random.Random
) -> AsyncIterator[tuple[World, list[Device], Mail]]:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http, trio.open_nursery() as nursery:
        town = Town(deployment.service, http)
        world = World(deployment.service.boxoffice, http, ledger)
        kinds = all_manners(size)
        devices: list[Device] = []
        targets: list[Target] = []
        doors = [link.door for link in deployment.device_links.values()]
        for number in range(size.users + size.unruly):
            people = [await _log_in(town, f"user{number}") for _ in range(2)]
            targets.append(await _allow(people[0], deployment))
            for n, person in enumerate(people):
                manners = Manners(unruly=True) if n == 1 and number >= size.users else chance.choice(kinds)
                device = Device(person, f"user{number}/{n}", world, manners, random.Random(chance.random()))
                devices.append(device)
                if manners.unruly:
                    nursery.start_soon(misbehave, device, world, doors, random.Random(chance.random()))
                else:
                    nursery.start_soon(device.run)
                    with trio.fail_after(20):
                        await device.live.wait()
        yield world, devices, Mail(deployment.apis, targets, ledger, SITES / PER_SECOND)
        nursery.cancel_scope.cancel()


async def _log_in(town: Town, name: str) -> Person:
    answer = await _insist(partial(town.ask_to_log_in, name))
    assert answer.status_code == 201, answer.text
    return Person(town.service, town.http, answer.json())


async def _allow(person: Person, deployment: Deployment) -> Target:
    answer = await _insist(partial(person.ask, "POST", "/v1/push-urls", {"site": "https://news.example"}))
    assert answer.status_code == 201, answer.text
    return Target(person.user, answer.json()["url"].removeprefix(deployment.service.api))


async def _insist(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """As every client has to: roles reach Redis by way of this process, and when it stands still they answer 503."""
    with trio.fail_after(20):
        while (answer := await ask()).status_code == 503:  # noqa: ASYNC110 - it is asked again
            await trio.sleep(float(answer.headers["Retry-After"]))
    return answer
