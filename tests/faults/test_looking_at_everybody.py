"""After its link to Redis was lost, a socket server looks at all its users: soon, and not all at once."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from pushctl.clock import system_clock
from pushctl.config.model import Config, Redis
from pushctl.ids import Cursor, Position, SessionHash, UserId, new_id
from pushctl.inbox import Session
from pushctl.testing.service import running
from roles.socket import leases
from roles.socket.leases import CONCURRENT_LOOKS
from roles.socket.serve import SocketRole
from tests.conftest import RedisProcess
from tests.interleavings.device import Device

USERS = 300
SPREAD = 2.0
"""Seconds, for SPREAD_SECONDS."""


class Looks:
    """When a server looked at whom."""

    def __init__(self, server: SocketRole) -> None:
        self.times: list[tuple[UserId, float]] = []
        self._reconcile = server.registry.presence.reconcile
        server.registry.presence.reconcile = self._noted  # type: ignore[method-assign]
        self._something = trio.Event()

    async def _noted(self, connections: Mapping[UserId, Any], **named: Any) -> Any:
        found = await self._reconcile(connections, **named)
        self.times += [(user, trio.current_time()) for user in found]
        self._something.set()
        self._something = trio.Event()
        return found

    @property
    def users(self) -> set[UserId]:
        return {user for user, _ in self.times}

    async def until(self, truth: Callable[[], bool]) -> None:
        with trio.fail_after(20):
            while not truth():
                await self._something.wait()


@asynccontextmanager
async def many_users(config: Config, count: int = USERS) -> AsyncIterator[tuple[SocketRole, set[UserId]]]:
    """On one server; what reconcile would do by itself is an hour away."""
    config = replace(config, socket=replace(config.socket, reconcile_seconds=3600))
    async with running(config, sockets=1, without={"router", "gc"}) as service, trio.open_nursery() as nursery:
        role = service.roles["s1"]
        assert isinstance(role, SocketRole)

        async def connect(user: UserId) -> None:
            session = SessionHash(new_id())
            made = await role.registry.users.register(user, device=None, name="", session=session, identity=user)
            expires_at_ms = system_clock() + 3_600_000
            await role.registry.sessions.begin(
                session, user, made.device, provider="browserid-dev", expires_at_ms=expires_at_ms, lasts_ms=3_600_000
            )
            device = Device(Session(user, made.device, session, expires_at_ms))
            device.dial(role, None)
            nursery.start_soon(device.stay)
            await device.settled()

        users = {UserId(new_id(16)) for _ in range(count)}
        async with trio.open_nursery() as connecting:
            for user in users:
                connecting.start_soon(connect, user)
        yield role, users
        nursery.cancel_scope.cancel()


async def test_after_the_link_was_lost_everybody_is_looked_at_and_that_is_spread(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leases.SPREAD_SECONDS == 10
    monkeypatch.setattr(leases, "SPREAD_SECONDS", SPREAD)
    config = replace(Config(), redis=Redis(url=own_redis.url, connect_seconds=5))
    async with many_users(config) as (server, users):
        looks = Looks(server)
        own_redis.kill()
        own_redis.start()
        await looks.until(lambda: looks.users == users)
        first, last = looks.times[0][1], looks.times[-1][1]
        in_the_first_quarter = sum(at < first + SPREAD / 4 for _, at in looks.times)
        assert in_the_first_quarter < USERS
        assert last - first > SPREAD / 3


async def test_nobody_is_passed_over_however_often_there_is_a_reason_to_begin_anew(config: Config) -> None:
    async with many_users(config) as (server, users):
        looks = Looks(server)
        for round_ in range(1, 1 + -(-USERS // CONCURRENT_LOOKS)):
            server._leases.hurry()
            await looks.until(lambda round_=round_: len(looks.times) >= round_ * CONCURRENT_LOOKS)  # type: ignore[misc]
        assert looks.users == users


async def test_a_user_whose_keys_are_damaged_is_in_nobodys_way(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "ACKNOWLEDGE_SECONDS", 3600)  # nobody writes but us
    async with many_users(config, 3) as (server, users):
        link, damaged = server.registry.link, next(iter(users))
        devices = {user: server.registry.presence._store.keys.user(user, "devices") for user in users}
        await link.ask("DEL", devices[damaged])
        await link.ask("SET", devices[damaged], "damaged")
        looks = Looks(server)
        await server._leases._look_at_all(list(users))
        assert looks.users == users - {damaged}
        assert server._leases._missed, "that one is looked at again soon"
        for connection in server.hub:
            epoch, *_ = await link.ask("HMGET", devices[connection.user].replace(":devices", ":meta"), "epoch")
            server.acknowledge(connection, Cursor(epoch.decode(), Position(0, 0)))
        await server._leases.flush()
        assert server._leases.unwritten == 1, "that one is written again"
