"""The Box Office (docs/protocol.md, section 3) with socket servers that are only rows in the registry."""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace

import httpx
import pytest
import trio

from pushctl.config.model import Boxoffice, Config, Redis
from pushctl.ids import ServerId
from pushctl.registry import Registry, open_registry
from pushctl.registry.keys import SLOTS, slot_of
from pushctl.registry.servers import Row, ServerState
from pushctl.testing.service import Running, running
from roles.boxoffice import doorman
from roles.boxoffice.serve import BoxOfficeRole
from tests.conftest import RedisProcess
from tests.redises.cluster import RedisCluster
from tests.scenario.bad_input import complaint
from tests.scenario.people import Person, Town, eventually


class Office:
    def __init__(self, town: Town, registry: Registry) -> None:
        self.town = town
        self.service: Running = town.service
        self._registry = registry

    async def heartbeat(
        self, name: str, connections: int = 0, capacity: int = 100, state: ServerState = "ready"
    ) -> None:
        row = Row(state, f"ws://{name}.example/", connections, capacity, 1, "0", "2026-01-01T00:00:00.000Z")
        await self._registry.servers.heartbeat(ServerId(name), row)

    async def looked(self, *names: str) -> None:
        """Until the office's picture has these."""
        role = self.service.roles["boxoffice"]
        assert isinstance(role, BoxOfficeRole)
        with trio.fail_after(10):
            await role.wait_for_servers(names)

    async def servers(self, person: Person | None, **headers: str) -> httpx.Response:
        credential = {} if person is None else {"Authorization": f"Bearer {person.token}"}
        with trio.fail_after(10):
            return await self.town.http.get(f"{self.service.boxoffice}/v1/servers", headers=credential | headers)


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Office]:
    async with (
        running(config, sockets=0, without=("router", "gc")) as service,
        open_registry(config, name="test") as registry,
        httpx.AsyncClient() as http,
    ):
        yield Office(Town(service, http), registry)


@pytest.fixture
async def office(config: Config) -> AsyncIterator[Office]:
    async with opened(config) as made:
        yield made


async def test_servers_come_by_free_capacity_at_most_five_without_those_that_take_nobody(office: Office) -> None:
    ada = await office.town.login("ada")
    for name, connections in (("a", 90), ("b", 10), ("c", 50), ("d", 70), ("e", 20), ("f", 30), ("g", 40)):
        await office.heartbeat(name, connections)
    await office.heartbeat("draining", state="draining")
    await office.heartbeat("unready", state="not_ready")
    await office.heartbeat("full", 100, 100)
    await office.looked("a", "g", "full")
    answer = await office.servers(ada)
    assert (answer.status_code, answer.json()) == (
        200,
        {"servers": [f"ws://{name}.example/" for name in "befgc"], "expires_in_seconds": 30},
    )


async def test_two_clients_in_a_row_are_sent_to_different_servers(office: Office) -> None:
    await office.heartbeat("a")
    await office.heartbeat("b")
    await office.looked("a", "b")
    people = [await office.town.login(name) for name in ("ada", "bob", "cyd", "dan")]
    first = Counter([(await office.servers(person)).json()["servers"][0] for person in people])
    assert set(first.values()) == {2}


async def test_without_capacity_the_body_says_what_the_header_says(office: Office) -> None:
    ada = await office.town.login("ada")
    await office.heartbeat("full", 5, 5)
    await office.looked("full")
    answer = await office.servers(ada)
    assert complaint(answer, 503, "no_capacity", None) is None, answer.text
    said = answer.json()
    assert said["servers"] == []
    assert said["retry_after_seconds"] == int(answer.headers["retry-after"]) >= 1


async def test_only_sessions_are_told(office: Office) -> None:
    ada = await office.town.login("ada")
    await office.heartbeat("a")
    await office.looked("a")
    assert (await office.servers(ada)).status_code == 200
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"BrowserID {ada.token}"}):
        answer = await office.servers(None, **headers)
        assert complaint(answer, 401, "unauthenticated", "Authorization") is None
        assert answer.headers["www-authenticate"] == "Bearer"
    await ada.ask("DELETE", "/v1/login")
    assert (await office.servers(ada)).status_code == 401


async def test_bad_requests_are_problems(office: Office) -> None:
    ada = await office.town.login("ada")
    headers = {"Authorization": f"Bearer {ada.token}"}
    http, base = office.town.http, office.service.boxoffice
    answer = await http.get(f"{base}/v1/servers?x=1", headers=headers)
    assert complaint(answer, 400, "query_invalid", "x") is None
    answer = await http.post(f"{base}/v1/servers", headers=headers, content=b"{")
    assert complaint(answer, 405, "method_not_allowed", None) is None
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    for path in ("/", "/v1/login", "/push/x", "/v1/servers/x"):
        assert complaint(await http.get(f"{base}{path}", headers=headers), 404, "not_found", None) is None


async def test_any_page_may_ask_without_credentials(office: Office) -> None:
    page = {"Origin": "https://app.example"}
    for answer in (
        await office.servers(None, **page),
        await office.town.http.options(
            f"{office.service.boxoffice}/v1/servers", headers=page | {"Access-Control-Request-Method": "GET"}
        ),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


async def test_its_documents_name_its_one_route(office: Office) -> None:
    document = (await office.town.http.get(f"{office.service.boxoffice}/openapi.json")).json()
    assert list(document["paths"]) == ["/v1/servers"]
    assert (await office.town.http.get(f"{office.service.boxoffice}/docs")).status_code == 200


# --- Redis away ------------------------------------------------------------------------------------------------------


@contextmanager
def frozen(redis: RedisProcess) -> Iterator[None]:
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(redis.pid, signal.SIGCONT)


async def test_while_redis_is_away_known_clients_are_answered_until_the_picture_is_stale(
    own_redis: RedisProcess,
) -> None:
    config = Config()
    config = replace(
        config,
        redis=replace(config.redis, url=own_redis.url, timeout_seconds=1),
        boxoffice=replace(config.boxoffice, stale_seconds=6),
    )
    async with opened(config) as office:
        ada, bob = await office.town.login("ada"), await office.town.login("bob")
        await office.heartbeat("a")
        await office.looked("a")
        assert (await office.servers(ada)).status_code == 200
        with frozen(own_redis):
            answer = await office.servers(ada)
            assert (answer.status_code, answer.json()["servers"]) == (200, ["ws://a.example/"])
            answer = await office.servers(bob)
            assert complaint(answer, 503, "store_unavailable", None) is None, answer.text

            async def stale() -> bool:
                answer = await office.servers(ada)
                if answer.status_code == 200:
                    return False
                assert complaint(answer, 503, "store_unavailable", None) is None
                assert int(answer.headers["retry-after"]) >= 1
                return True

            assert await eventually(stale)
            assert (await office.town.http.get(f"{office.service.admin['boxoffice']}/readyz")).status_code == 503

        async def well() -> bool:
            return (await office.servers(ada)).status_code == 200

        assert await eventually(well)


@pytest.mark.slow
async def test_on_a_cluster_it_does_so_while_the_master_of_the_servers_rows_is_away(own_cluster: RedisCluster) -> None:
    config = replace(
        Config(),
        redis=Redis(url=own_cluster.url, timeout_seconds=1),
        # A look may be 1.2 s old, and each session whose master does not answer takes up to a second.
        boxoffice=Boxoffice(stale_seconds=6),
    )
    frozen_one = own_cluster.masters[slot_of("{servers}") * 3 // SLOTS]
    async with opened(config) as office:
        people = [await office.town.login(name) for name in ("ada", "bob", "cyd", "dan", "eve")]
        await office.heartbeat("a")
        await office.looked("a")
        assert [(await office.servers(person)).status_code for person in people] == [200] * 5
        with frozen_one.frozen():
            assert [(await office.servers(person)).status_code for person in people] == [200] * 5

            async def all_refused() -> bool:
                answers = [await office.servers(person) for person in people]
                complaints = [complaint(answer, 503, "store_unavailable", None) for answer in answers]
                return complaints == [None] * 5 and all(int(answer.headers["retry-after"]) >= 1 for answer in answers)

            assert await eventually(all_refused)

        async def well() -> bool:
            return [(await office.servers(person)).status_code for person in people] == [200] * 5

        assert await eventually(well)


async def test_only_so_many_sessions_are_remembered(own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorman, "MAX_REMEMBERED", 1)
    config = replace(Config(), redis=replace(Config().redis, url=own_redis.url, timeout_seconds=1))
    async with opened(config) as office:
        ada, bob = await office.town.login("ada"), await office.town.login("bob")
        await office.heartbeat("a")
        await office.looked("a")
        for person in (ada, bob):
            assert (await office.servers(person)).status_code == 200
        with frozen(own_redis):
            assert [(await office.servers(person)).status_code for person in (ada, bob)] == [503, 200]


async def test_a_dead_session_is_not_remembered(own_redis: RedisProcess) -> None:
    config = replace(Config(), redis=replace(Config().redis, url=own_redis.url, timeout_seconds=1))
    async with opened(config) as office:
        ada = await office.town.login("ada")
        await office.heartbeat("a")
        await office.looked("a")
        assert (await office.servers(ada)).status_code == 200
        await ada.ask("DELETE", "/v1/login")
        assert (await office.servers(ada)).status_code == 401
        with frozen(own_redis):
            assert (await office.servers(ada)).status_code == 503
