"""Many clients at Box Offices (docs/protocol.md, section 3): sisters, capacity that runs out, rates of arrival. The
socket servers are rows in the registry that say again and again how many came."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import httpx
import pytest
import trio

from pushctl.config.model import Boxoffice, Config, DevIdp, Limits
from pushctl.identity.sealing import hash_session_token
from pushctl.ids import ServerId, SessionHash, UserId, new_id
from pushctl.registry import Registry, open_registry
from pushctl.registry.servers import HEARTBEAT_SECONDS, Row
from pushctl.runtime import Ready, run_role
from roles.boxoffice import build
from roles.boxoffice.serve import BoxOfficeRole
from tests.metrics import values
from tests.scenario.bad_input import complaint
from tests.scenario.people import eventually

PROXY = "127.0.0.1"

CONNECT_SECONDS = (0.02, 0.5)
"""From being told where to go to being counted there."""


class Server:
    """A row that beats as a socket server's does."""

    def __init__(self, name: str, connections: int, capacity: int, zone: str = "") -> None:
        self.id = ServerId(name)
        self.url = f"ws://{name}.example/"
        self.connections = connections
        self.capacity = capacity
        self.zone = zone
        self.beats_on = True
        """Not to beat, it lives on for some seconds."""

    async def beat(self, registry: Registry) -> None:
        while self.beats_on:
            row = Row("ready", self.url, self.connections, self.capacity, 1, "0", "now", zone=self.zone)
            await registry.servers.heartbeat(self.id, row)
            await trio.sleep(HEARTBEAT_SECONDS)


class Offices:
    """Sister Box Offices, and sessions to ask them with."""

    def __init__(self, registry: Registry, http: httpx.AsyncClient) -> None:
        self._registry = registry
        self._http = http
        self.roles: list[BoxOfficeRole] = []
        self.urls: list[str] = []
        self.admin: list[str] = []

    async def sessions(self, how_many: int) -> list[str]:
        """Tokens of so many devices, as a log-in would have left them."""
        tokens = [new_id(32) for _ in range(how_many)]
        async with trio.open_nursery() as nursery:
            for n, token in enumerate(tokens):
                nursery.start_soon(self._log_in, UserId(f"user-{n}"), hash_session_token(token))
        return tokens

    async def _log_in(self, user: UserId, session: SessionHash) -> None:
        made = await self._registry.users.register(user, device=None, name="", session=session, identity=user)
        await self._registry.sessions.begin(
            session, user, made.device, provider="browserid-dev", expires_at_ms=2**50, lasts_ms=600_000
        )

    async def ask(self, token: str, office: int = 0, headers: Mapping[str, str] | None = None) -> httpx.Response:
        credential = {"Authorization": f"Bearer {token}"}
        with trio.fail_after(20):
            return await self._http.get(f"{self.urls[office]}/v1/servers", headers=credential | dict(headers or {}))

    async def refusals(self, office: int = 0) -> dict[str, float]:
        text = (await self._http.get(f"{self.admin[office]}/metrics")).text
        found = values(text).items()
        return {labels[0]: count for (name, labels), count in found if name == "pushctl_refusals_total" and count}

    async def arrivals(self, office: int = 0) -> float:
        text = (await self._http.get(f"{self.admin[office]}/metrics")).text
        (line,) = [line for line in text.splitlines() if line.startswith("pushctl_arrivals_total ")]
        return float(line.rpartition(" ")[2])

    async def know(self, *servers: Server) -> None:
        """Until each office names all of these, and each has heard its sisters."""
        for _ in range(2):
            for role in self.roles:
                with trio.fail_after(10):
                    await role.wait_for_servers([server.id for server in servers])


@asynccontextmanager
async def opened(
    config: Config, *servers: Server, offices: int = 1, boxoffice: Boxoffice | None = None, limits: Limits | None = None
) -> AsyncIterator[Offices]:
    """By default no limit but capacity. Loopback is not exempt from anything."""
    office = boxoffice or Boxoffice(arrivals_per_second=0)
    office = replace(office, listen="127.0.0.1:0", admin_listen="127.0.0.1:0", drain_seconds=1)
    limits = limits or Limits(arrivals_per_second_per_address=0)
    assert limits.exempt_networks == ()
    identity = replace(config.identity, environment="development", dev_idp=DevIdp(enabled=True))
    config = replace(config, boxoffice=office, limits=limits, identity=identity)
    stop = trio.Event()
    async with (
        open_registry(config, name="test") as registry,
        httpx.AsyncClient(limits=httpx.Limits(max_connections=20)) as http,
        trio.open_nursery() as nursery,
    ):
        made = Offices(registry, http)
        beating = await nursery.start(_beat, registry, servers)
        for _ in range(offices):
            role = build(config)
            ready: Ready = await nursery.start(partial(run_role, role, until=stop.wait))
            made.roles.append(role)
            made.urls.append(ready.url or "")
            made.admin.append(ready.admin or "")
        await made.know(*servers)
        yield made
        stop.set()
        beating.cancel()


async def _beat(
    registry: Registry, servers: tuple[Server, ...], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(server.beat, registry)
        task_status.started(nursery.cancel_scope)


@pytest.mark.slow
async def test_hundreds_of_clients_at_two_offices_fill_servers_of_different_size_evenly(config: Config) -> None:
    servers = [Server("a", 180, 600), Server("b", 15, 240), Server("c", 60, 120), Server("d", 0, 120)]
    by_url = {server.url: server for server in servers}
    chance = random.Random(7)
    async with opened(config, *servers, offices=2) as offices:
        tokens = await offices.sessions(300)

        async def come(token: str, office: int) -> None:
            answer = await offices.ask(token, office)
            assert answer.status_code == 200, answer.text
            await trio.sleep(chance.uniform(*CONNECT_SECONDS))
            by_url[answer.json()["servers"][0]].connections += 1

        async with trio.open_nursery() as nursery:
            for n, token in enumerate(tokens):
                nursery.start_soon(come, token, n % 2)
                await trio.sleep(0.02)
    fills = [100 * server.connections / server.capacity for server in servers]
    assert sum(server.connections for server in servers) == 555
    assert max(fills) - min(fills) < 5, fills


async def test_when_capacity_is_scarce_only_as_many_as_fit_get_a_list_and_the_others_are_spread(
    config: Config,
) -> None:
    servers = [Server("a", 995, 1000), Server("b", 493, 500)]
    async with opened(config, *servers, offices=2) as offices:
        tokens = await offices.sessions(60)
        answers: list[httpx.Response] = []
        # Those who are told where to go never come: a heartbeat some time later would say that there still is room.
        for server in servers:
            server.beats_on = False

        async def come(token: str, office: int) -> None:
            answers.append(await offices.ask(token, office))

        async with trio.open_nursery() as nursery:
            for n, token in enumerate(tokens):
                nursery.start_soon(come, token, n % 2)
        refused = [answer for answer in answers if answer.status_code == 503]
        assert len(answers) - len(refused) == 12
        for answer in refused:
            assert complaint(answer, 503, "no_capacity", None) is None, answer.text
            assert answer.json()["servers"] == []
            assert answer.json()["retry_after_seconds"] == int(answer.headers["retry-after"]) >= 2
        assert len({answer.headers["retry-after"] for answer in refused}) > 1
        counted = [await offices.refusals(n) for n in range(2)]
        assert sum(each["no_capacity"] for each in counted) == len(refused)


async def test_more_clients_than_may_arrive_are_no_capacity_whoever_they_are(config: Config) -> None:
    boxoffice = Boxoffice(arrivals_per_second=0.01, arrivals_burst=20)
    async with opened(config, Server("a", 0, 1000), boxoffice=boxoffice) as offices:
        answers = [await offices.ask(token) for token in await offices.sessions(30)]
        assert Counter(answer.status_code for answer in answers) == {200: 20, 503: 10}
        assert complaint(answers[-1], 503, "no_capacity", None) is None, answers[-1].text
        assert answers[-1].json()["retry_after_seconds"] == int(answers[-1].headers["retry-after"]) > 100
        # Whoever has no session takes nothing from those who have.
        assert (await offices.ask("nobody")).status_code == 401
        assert await offices.refusals() == {"arrivals": 10}
        assert await offices.arrivals() == 20


LIMITED = Limits(arrivals_per_second_per_address=0.01, arrivals_burst_per_address=5)


async def test_an_address_that_asks_too_often_is_429_with_or_without_a_session(config: Config) -> None:
    async with opened(config, Server("a", 0, 1000), limits=LIMITED) as offices:
        (token,) = await offices.sessions(1)
        answers = [await offices.ask("nobody" if n % 2 else token) for n in range(5)]
        assert [answer.status_code for answer in answers] == [200, 401, 200, 401, 200]
        for who in (token, "nobody"):
            answer = await offices.ask(who)
            assert complaint(answer, 429, "rate_limited", None) is None, answer.text
            assert 90 <= int(answer.headers["retry-after"]) <= 100
        assert await offices.refusals() == {"rate_limited": 2}


async def test_behind_a_trusted_proxy_each_client_is_counted_for_itself(config: Config) -> None:
    boxoffice = Boxoffice(trusted_proxies=(PROXY,))
    async with opened(config, Server("a", 0, 1000), boxoffice=boxoffice, limits=LIMITED) as offices:
        (token,) = await offices.sessions(1)

        async def status(client: str) -> int:
            return (await offices.ask(token, headers={"X-Forwarded-For": client})).status_code

        assert [await status("192.0.2.1") for _ in range(6)] == [200] * 5 + [429]
        assert await status("192.0.2.2") == 200
        assert await status("6.6.6.6, 192.0.2.1") == 429  # what a client writes itself moves nothing
        assert [await status(f"2001:db8::{n}") for n in range(1, 7)] == [200] * 5 + [429]


async def test_a_forged_header_from_anybody_else_changes_nothing(config: Config) -> None:
    async with opened(config, Server("a", 0, 1000), limits=LIMITED) as offices:
        (token,) = await offices.sessions(1)

        def forged() -> Iterator[dict[str, str]]:
            for n in range(8):
                yield {"X-Forwarded-For": f"192.0.2.{n}", "Forwarded": f"for=192.0.2.{n}"}

        statuses = [(await offices.ask(token, headers=headers)).status_code for headers in forged()]
        assert statuses == [200] * 5 + [429] * 3


async def test_exempt_networks_are_not_counted_by_address(config: Config) -> None:
    limits = replace(LIMITED, exempt_networks=("127.0.0.0/8",))
    config = replace(config, limits=limits)
    stop = trio.Event()
    async with trio.open_nursery() as nursery, httpx.AsyncClient() as http:
        listening = replace(config, boxoffice=Boxoffice(listen="127.0.0.1:0", admin_listen=""))
        ready: Ready = await nursery.start(partial(run_role, build(listening), until=stop.wait))
        for _ in range(20):
            assert (await http.get(f"{ready.url}/v1/servers")).status_code == 401
        stop.set()


@pytest.mark.parametrize(("zone", "first"), [("", "c"), ("east", "b")])
async def test_an_office_prefers_its_own_zone(config: Config, zone: str, first: str) -> None:
    servers = [Server("a", 50, 100, "west"), Server("b", 90, 100, "east"), Server("c", 10, 100)]
    boxoffice = Boxoffice(zone=zone, arrivals_per_second=0)
    async with opened(config, *servers, boxoffice=boxoffice) as offices:
        (token,) = await offices.sessions(1)
        named = (await offices.ask(token)).json()["servers"]
        assert named[0] == f"ws://{first}.example/"
        assert len(named) == 3


async def test_a_dead_sisters_part_is_soon_everybodys_again(config: Config) -> None:
    servers = [Server("a", 96, 100)]
    async with opened(config, *servers, offices=1) as offices:
        async with open_registry(config, name="sister") as registry:
            await registry.offices.look("sister", [])
        await offices.know(*servers)
        tokens = await offices.sessions(4)
        assert [(await offices.ask(token)).status_code for token in tokens[:3]] == [200, 200, 503]

        async def alone() -> bool:
            return (await offices.ask(tokens[2])).status_code == 200 == (await offices.ask(tokens[3])).status_code

        assert await eventually(alone)
