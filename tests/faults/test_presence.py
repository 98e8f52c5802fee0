"""Leases when hellos are cut off, words are lost and links break: no device is offline for longer than it takes to
notice, and nothing is left of connections that are over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import httpx
import msgspec
import pytest
import trio

from pushctl.config.model import Config, Redis
from pushctl.errors import StoreUnavailable
from pushctl.identity.sealing import hash_session_token
from pushctl.ids import ServerId, UserId
from pushctl.registry.presence import Holder
from pushctl.runtime import run_role
from pushctl.testing.service import running
from roles.socket import leases
from roles.socket.connection import Connection
from roles.socket.serve import SocketRole
from tests.conftest import RedisProcess
from tests.faults.proxy import Proxy, proxy
from tests.scenario.people import Person, Socket, Town, eventually

TIMEOUT = 0.5


@pytest.fixture
def impatient(own_redis: RedisProcess) -> Config:
    """On a Redis of its own. Reconcile is a minute away."""
    return replace(Config(), redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=TIMEOUT))


@pytest.fixture
async def town(impatient: Config) -> AsyncIterator[Town]:
    async with running(impatient) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


def role_of(town: Town, name: str = "s1") -> SocketRole:
    role = town.service.roles[name]
    assert isinstance(role, SocketRole)
    return role


async def holders(town: Town, person: Person) -> list[Holder]:
    (found,) = await role_of(town).registry.presence.holders_of([UserId(person.user)])
    return found


async def held_by(town: Town, person: Person, server: str) -> None:
    """Until one connection on this server, and no other, holds the person's device."""

    async def so() -> bool:
        try:
            return [holder.server for holder in await holders(town, person)] == [ServerId(server)]
        except StoreUnavailable:  # its link is on its way back
            return False

    await eventually(so)


async def told_now(town: Town, push_url: dict[str, Any], socket: Socket) -> None:
    """A message with TTL 0 comes through."""
    assert (await town.push(push_url["url"], {"body": "now"}, TTL="0")).status_code == 201
    while (await socket.until("message"))["cursor"] is not None:
        pass


@asynccontextmanager
async def behind_a_proxy(town: Town, redis: RedisProcess, name: str) -> AsyncIterator[Proxy]:
    """One more socket server, whose link (its channel apart) the proxy can cut."""
    stop = trio.Event()
    async with proxy(str(redis.path), f"pushctl-socket-{name}".encode()) as between, trio.open_nursery() as nursery:
        config = town.service.config
        config = replace(
            config,
            redis=replace(config.redis, url=between.url),
            socket=replace(config.socket, id=name, drain_seconds=1),
        )
        role = import_module("roles.socket").build(config)
        ready = await nursery.start(partial(run_role, role, until=stop.wait))
        town.service.sockets[name] = ready.url
        yield between
        stop.set()


# --- a hello that was given up ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(0, id="link-holds"), pytest.param(6 * TIMEOUT, id="link-breaks", marks=pytest.mark.slow)],
)
async def test_a_claim_that_runs_after_its_hello_was_given_up_leaves_the_device_where_it_was(
    town: Town, own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    class HeldUp(Connection):
        async def _claim(self) -> None:
            own_redis.freeze()
            await super()._claim()

    phone = await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected("s1") as older:
        await older.synced()
        (before,) = await holders(town, phone)
        monkeypatch.setattr("roles.socket.reception.Connection", HeldUp)
        try:
            async with phone.connected("s2") as newer:
                assert await newer.close_code() == 4005
            await trio.sleep(seconds)
        finally:
            own_redis.thaw()
        await held_by(town, phone, "s1")
        assert await holders(town, phone) == [before]
        await told_now(town, push_url, older)


async def test_a_claim_whose_answer_was_lost_is_taken_back_when_the_link_is_back(
    town: Town, own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    async with behind_a_proxy(town, own_redis, "s3") as between, phone.connected("s1") as older:
        await older.synced()

        class Unheard(Connection):
            async def _claim(self) -> None:
                between.deaf = True
                await super()._claim()

        monkeypatch.setattr("roles.socket.reception.Connection", Unheard)
        async with phone.connected("s3") as newer:
            assert await newer.close_code() == 4005
        assert [holder.server for holder in await holders(town, phone)] == ["s3"]  # it ran, and s1 was not told
        links = between.connections

        async def link_is_anew() -> bool:
            return between.connections > links

        await eventually(link_is_anew)
        between.deaf = False
        await held_by(town, phone, "s1")
        await told_now(town, push_url, older)


async def test_a_lease_is_given_back_although_the_link_lost_the_word(town: Town, own_redis: RedisProcess) -> None:
    phone = await town.login("ada")
    async with behind_a_proxy(town, own_redis, "s3") as between:
        async with phone.connected("s3") as socket:
            await socket.synced()
            between.mute = True
        links = between.connections

        async def link_is_anew() -> bool:
            return between.connections > links

        await eventually(link_is_anew)
        assert len(await holders(town, phone)) == 1
        between.mute = False

        async def given_back() -> bool:
            return not await holders(town, phone)

        await eventually(given_back)


# --- words that are lost ---------------------------------------------------------------------------------------------


async def test_a_displaced_connection_that_was_not_told_finds_out_at_reconcile(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "DOUBT_SECONDS", 0.2)
    often = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with running(often, without={"router"}) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        phone = await town.login("ada")
        async with phone.connected("s1") as older, phone.connected("s2") as newer:
            await newer.synced()
            assert await older.close_code() == 4503
            assert await newer.silent()
            await held_by(town, phone, "s2")


@pytest.mark.slow
async def test_who_lost_a_lease_to_a_claim_that_is_just_withdrawn_is_not_closed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reconcile came by in between. Nobody routes, so nobody is told either."""
    monkeypatch.setattr(leases, "DOUBT_SECONDS", 2)
    often = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with running(often, without={"router"}) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        phone = await town.login("ada")
        async with phone.connected("s1") as socket:
            await socket.synced()
            (ours,) = await holders(town, phone)
            role = role_of(town, "s2")
            late = msgspec.structs.replace(ours, connection=type(ours.connection)("late"))
            presence = role.registry.presence
            await presence.claim(
                UserId(phone.user),
                ours.device,
                late.connection,
                session=hash_session_token(phone.token),
                server=role.id,
                generation=role.generation,
                rank=0,
            )

            async def doubted() -> bool:
                return bool(role_of(town)._leases._doubts)

            await eventually(doubted)
            await presence.withdraw(UserId(phone.user), ours.device, late.connection)
            await held_by(town, phone, "s1")
            assert await socket.silent(2.5)
            assert await holders(town, phone) == [ours]
