"""Sessions and identities as clients see them: over HTTP, and on open sockets."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.inbox import Session
from pushctl.testing.service import running
from roles.socket.serve import SocketRole
from tests.conftest import RedisProcess
from tests.scenario.people import Person, Socket, Town


@pytest.fixture
async def town(config: Config) -> AsyncIterator[Town]:
    """Only notices end open connections: reconcile is an hour away."""
    seldom = replace(config, socket=replace(config.socket, reconcile_seconds=3600))
    async with running(seldom) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


async def link(town: Town, person: Person, name: str) -> httpx.Response:
    return await person.ask("POST", "/v1/identities", {"credential": f"BrowserID {await town.bundle(name)}"})


async def identities(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await person.ask("GET", "/v1/identities")).json()["identities"]
    return found


def socket_role(town: Town, name: str = "s1") -> SocketRole:
    role = town.service.roles[name]
    assert isinstance(role, SocketRole)
    return role


# --- open sockets ----------------------------------------------------------------------------------------------------


async def test_signing_out_everywhere_closes_every_socket_at_once_and_not_those_of_later_log_ins(town: Town) -> None:
    people = [await town.login("ada") for _ in range(3)]
    bob = await town.login("bob")
    async with AsyncExitStack() as stack:
        sockets: list[Socket] = []
        for n, person in enumerate([*people, bob]):
            sockets.append(await stack.enter_async_context(person.connected(f"s{n % 2 + 1}")))
            await sockets[-1].synced()
        assert (await people[0].ask("DELETE", "/v1/login?everywhere=true")).status_code == 204
        later = await town.login("ada", device=people[1].device)
        assert [await socket.close_code() for socket in sockets[:3]] == [4504, 4504, 4504]
        async with later.connected() as again:
            await again.synced()
            assert await sockets[3].silent()
    for person in people:
        assert (await person.ask("GET", "/v1/devices")).status_code == 401
        answer = await town.http.get(
            f"{town.service.boxoffice}/v1/servers", headers={"Authorization": f"Bearer {person.token}"}
        )
        assert answer.status_code == 401
        async with person.connected() as refused:
            assert await refused.close_code() == 4501
    assert (await later.ask("GET", "/v1/devices")).status_code == 200


async def test_a_session_that_is_over_ends_its_open_connection_though_nobody_says_so(config: Config) -> None:
    short = replace(config, identity=replace(config.identity, session_max_age_seconds=3))
    async with running(short, sockets=1, without=("router", "gc")) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        over = trio.current_time() + 3  # at the earliest: it begins with the log-in
        ada = await town.login("ada")
        async with ada.connected() as socket:
            await socket.synced()
            assert await socket.close_code() == 4504
            assert over - 0.1 < trio.current_time() < over + 8
        assert (await ada.ask("GET", "/v1/devices")).status_code == 401


async def test_a_socket_server_that_hears_no_notices_finds_out_at_reconcile(config: Config) -> None:
    often = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with running(often, sockets=1, without={"router"}) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        everywhere, one, bob = await town.login("ada"), await town.login("carol"), await town.login("bob")
        async with everywhere.connected() as first, one.connected() as second, bob.connected() as third:
            for socket in (first, second, third):
                await socket.synced()
            await everywhere.ask("DELETE", "/v1/login?everywhere=true")
            await one.ask("DELETE", "/v1/login")
            assert await first.close_code() == 4504
            assert await second.close_code() == 4504
            assert await third.silent(1.5)


async def test_a_socket_server_looks_at_its_sessions_when_redis_is_back(own_redis: RedisProcess) -> None:
    """Notices may have been lost meanwhile. The next reconcile is minutes away."""
    redis = replace(Config().redis, url=own_redis.url, connect_seconds=5, timeout_seconds=1)
    config = replace(Config(), redis=redis, socket=replace(Config().socket, reconcile_seconds=150))
    async with running(config, sockets=1, without={"router"}) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        ada = await town.login("ada")
        async with ada.connected() as socket:
            await socket.synced()
            await ada.ask("DELETE", "/v1/login?everywhere=true")
            assert await socket.silent()
            own_redis.kill()
            own_redis.start()
            assert await socket.close_code() == 4504


async def test_a_connection_of_a_provider_that_is_no_more_configured_ends_at_reconcile(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with running(often, sockets=1) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        ada = await town.login("ada")
        async with ada.connected() as socket:
            await socket.synced()
            monkeypatch.setattr(socket_role(town).accounts, "_providers", frozenset({"browserid"}))
            assert await socket.close_code() == 4504
        async with ada.connected() as refused:
            assert await refused.close_code() == 4501


async def test_a_sign_out_between_a_hello_and_its_claim_is_not_missed(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of a connection that holds no lease yet: so its claim must see it."""
    for path in ("/v1/login", "/v1/login?everywhere=true"):
        ada = await town.login("ada")
        accounts = socket_role(town).accounts
        look_up = accounts.session_to_claim

        async def and_sign_out(token: str, path: str = path, ada: Person = ada, look_up: Any = look_up) -> Session:
            session: Session = await look_up(token)
            assert (await ada.ask("DELETE", path)).status_code == 204
            return session

        with monkeypatch.context() as patch:
            patch.setattr(accounts, "session_to_claim", and_sign_out)
            async with ada.connected() as socket:
                assert await socket.close_code() == 4501
                assert [frame["type"] for frame in socket.frames] == ["error"]


async def test_a_renewed_session_that_ends_before_its_connection_uses_it_is_not_missed(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await town.login("ada")
    async with phone.connected() as socket:
        await socket.synced()
        renewed = await town.login("ada", device=phone.device)
        accounts = socket_role(town).accounts
        look_up = accounts.session_of_token
        looked = 0

        async def and_sign_out(token: str, *, field: str = "$.token") -> Session:
            nonlocal looked
            session = await look_up(token, field=field)
            looked += 1
            if looked == 1:
                assert (await renewed.ask("DELETE", "/v1/login")).status_code == 204
                await trio.sleep(0.3)  # its notice comes meanwhile, and concerns nobody
            return session

        monkeypatch.setattr(accounts, "session_of_token", and_sign_out)
        await socket.send({"type": "token", "token": renewed.token})
        assert await socket.close_code() == 4501


async def test_a_deletion_ends_the_sockets_and_sessions_of_all_identities_and_they_begin_anew(town: Town) -> None:
    ada = await town.login("ada")
    assert (await link(town, ada, "work")).status_code == 201
    work, renewing = await town.login("work"), await town.login("ada")
    async with ada.connected("s1") as first, work.connected("s2") as second:
        await first.synced()
        await second.synced()
        assert (await town.login("ada", device=renewing.device)).user == work.user == ada.user
        assert (await work.ask("DELETE", "/v1/account")).status_code == 204
        assert [await first.close_code(), await second.close_code()] == [4504, 4504]
    for person in (ada, work, renewing):
        assert (await person.ask("GET", "/v1/devices")).status_code == 401
    by_ada, by_work = await town.login("ada"), await town.login("work")
    assert by_ada.user == ada.user != by_work.user
    assert len(await identities(by_ada)) == 1


# --- identities over HTTP --------------------------------------------------------------------------------------------


async def test_a_second_identity_is_linked_by_a_session_and_a_fresh_credential(office: Town) -> None:
    ada = await office.login("ada")
    answer = await link(office, ada, "work")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said.keys() == {"id", "provider", "linked_at", "last_used_at", "current"}
    assert (said["provider"], said["current"]) == ("browserid-dev", False)
    assert (await link(office, ada, "work")).status_code == 200
    by_work = await office.login("work")
    assert by_work.user == ada.user
    assert [each["current"] for each in await identities(by_work)] == [False, True]
    assert "work" not in str(await identities(ada))
    assert "@" not in str(await identities(ada))


async def test_an_identity_with_an_account_of_its_own_is_not_linked(office: Town) -> None:
    ada, bob = await office.login("ada"), await office.login("bob")
    answer = await link(office, ada, "bob")
    assert (answer.status_code, answer.json()["code"]) == (409, "identity_taken")
    assert (await office.login("bob")).user == bob.user
    assert len(await identities(ada)) == 1
    assert (await bob.ask("DELETE", "/v1/account")).status_code == 204
    assert (await link(office, ada, "bob")).status_code == 201


async def test_unlinking_ends_what_the_identity_opened_and_never_takes_the_last(town: Town) -> None:
    ada = await town.login("ada")
    linked = (await link(town, ada, "work")).json()["id"]
    work = await town.login("work")
    async with ada.connected() as on_ada, work.connected() as on_work:
        await on_ada.synced()
        await on_work.synced()
        assert (await ada.ask("DELETE", f"/v1/identities/{linked}")).status_code == 204
        assert await on_work.close_code() == 4504
        assert await on_ada.silent()
    assert (await ada.ask("DELETE", f"/v1/identities/{linked}")).status_code == 404
    (last,) = await identities(ada)
    answer = await ada.ask("DELETE", f"/v1/identities/{last['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "last_identity")
    assert (await town.login("work")).user != ada.user


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({}, 400, "body_invalid", "$.credential"),
        ({"credential": ""}, 400, "body_invalid", "$.credential"),
        ({"credential": "BrowserID x"}, 400, "malformed_bundle", "$.credential"),
        ({"credential": "Basic x"}, 400, "body_invalid", "$.credential"),
        ({"credential": "BrowserID " + "x" * 17_000}, 413, "assertion_too_large", "$.credential"),
        ({"credential": "BrowserID x", "provider": "p"}, 400, "body_invalid", "$.provider"),
        ({"credential": "BrowserID x", "email": "a@b"}, 400, "body_invalid", "$.email"),
    ],
)
async def test_what_is_wrong_with_the_second_credential_is_wrong_with_the_body(
    office: Town, body: dict[str, str], status: int, code: str, field: str
) -> None:
    ada = await office.login("ada")
    answer = await ada.ask("POST", "/v1/identities", body)
    said = answer.json()
    assert (answer.status_code, said["code"], said["field"]) == (status, code, field)


async def test_a_session_token_is_no_second_credential_and_a_used_assertion_neither(office: Town) -> None:
    ada, bob = await office.login("ada"), await office.login("bob")
    answer = await ada.ask("POST", "/v1/identities", {"credential": f"Bearer {bob.token}"})
    assert answer.status_code == 400
    credential = {"credential": f"BrowserID {await office.bundle('work')}"}
    answers = [await ada.ask("POST", "/v1/identities", credential) for _ in range(2)]
    assert [(each.status_code, each.json().get("code")) for each in answers] == [
        (201, None),
        (401, "replayed_assertion"),
    ]
    assert answers[1].json()["field"] == "$.credential"


async def test_a_session_is_asked_for_before_the_second_credential_is_looked_at(office: Town) -> None:
    answer = await office.http.post(
        f"{office.service.api}/v1/identities", json={"credential": f"BrowserID {await office.bundle('work')}"}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
