"""What a socket server does that did not run for longer than its silence may last: nothing, until it has asked.

Here it is made to believe so, and its heart is held: what it would do in the moment before its next heartbeat lasts
long enough to be seen. tests/faults/test_presence_processes.py stops a real process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.ids import UserId
from pushctl.testing.service import running
from roles.socket import heart
from roles.socket.serve import SocketRole
from tests.scenario.people import Town, eventually
from tests.scenario.test_socket import body_of


@asynccontextmanager
async def one_server(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Town, SocketRole]]:
    """Whose heart beats at the start, and then when the test says so."""
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 3600)
    often = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with running(often, sockets=1) as service, httpx.AsyncClient() as http:
        role = service.roles["s1"]
        assert isinstance(role, SocketRole)
        yield Town(service, http), role


def did_not_run(role: SocketRole) -> None:
    role.heart._turned_at -= heart.QUIET_SECONDS + 1


async def test_nothing_is_sent_written_or_believed_before_a_heartbeat_was_answered(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_server(config, monkeypatch) as (town, role):
        phone, laptop, tablet = [await town.login("ada") for _ in range(3)]
        push_url = await phone.allow()
        async with phone.connected() as on_phone, laptop.connected() as on_laptop:
            await on_laptop.synced()
            await on_phone.synced()
            first = await town.push(push_url["url"], {"body": "before"})
            event = await on_phone.until("message")
            await on_laptop.until("message")

            async def delivered() -> bool:
                answer = await town.http.get(town.service.api + first.headers["Location"])
                return bool(answer.json()["state"] == "delivered")

            did_not_run(role)
            await town.push(push_url["url"], {"body": "meanwhile"})
            presence, user = role.registry.presence, UserId(phone.user)
            (leases,) = await presence.holders_of([user])
            await presence.release([(user, lease.connection) for lease in leases])
            await on_phone.send({"type": "ack", "cursor": event["cursor"]})
            await on_laptop.send({"type": "ping"})
            async with tablet.connected() as on_tablet:
                # Longer than its loops take to come round.
                assert await on_phone.silent(1.5)
                assert await on_laptop.silent(0.1)
                assert await on_tablet.silent(0.1)
                assert not await delivered()
                assert await presence.holders_of([user]) == [[]]

                await role.heart._beat_on()
                await on_tablet.synced()
                assert body_of(await on_phone.until("message")) == "meanwhile"
                assert {(await on_laptop.receive())["type"] for _ in range(2)} == {"pong", "message"}
                await eventually(delivered)


async def test_an_absent_server_whose_redis_is_away_goes_on_when_it_could_not_ask(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several masters perhaps only the one is away that knows the servers: its own users are not left alone."""
    async with one_server(config, monkeypatch) as (town, role):
        phone = await town.login("ada")

        async def unanswered(*_: object) -> None:
            raise StoreUnavailable("away")

        async with phone.connected() as socket:
            await socket.synced()
            monkeypatch.setattr(role.registry.servers, "heartbeat", unanswered)
            did_not_run(role)
            await socket.send({"type": "ping"})
            assert await socket.silent()
            await role.heart._beat_on()
            await socket.until("pong")


async def test_a_heartbeat_that_was_asked_before_the_process_stopped_proves_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_server(config, monkeypatch) as (_, role):
        asked: list[float] = []
        heartbeat = role.registry.servers.heartbeat
        now = trio.current_time

        async def slow(*args: object) -> object:
            asked.append(now())
            answer = await heartbeat(*args)  # type: ignore[arg-type]
            if len(asked) == 1:  # it comes back to a process that was stopped meanwhile
                monkeypatch.setattr(trio, "current_time", lambda: now() + heart.QUIET_SECONDS + 1)
            return answer

        monkeypatch.setattr(role.registry.servers, "heartbeat", slow)
        await role.heart._beat_on()
        assert len(asked) == 2
