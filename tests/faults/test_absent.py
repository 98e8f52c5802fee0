"""What a socket server does that did not run for longer than its silence may last: nothing, until it has asked.

Here it is made to believe so, and its heart is held: what it would do in the moment before its next heartbeat lasts
long enough to be seen. tests/faults/test_presence_processes.py stops a real process.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.identity.sealing import hash_session_token
from pushctl.ids import UserId
from pushctl.protocol import jobs
from pushctl.testing.service import running
from roles.socket import heart
from roles.socket.serve import SocketRole
from tests.scenario.people import Town, eventually
from tests.scenario.test_socket import body_of


@asynccontextmanager
async def one_server(
    config: Config, monkeypatch: pytest.MonkeyPatch, *, reconcile_seconds: float = 1
) -> AsyncIterator[tuple[Town, SocketRole]]:
    """Whose heart beats at the start, and then when the test says so."""
    monkeypatch.setattr(heart, "HEARTBEAT_SECONDS", 3600)
    often = replace(config, socket=replace(config.socket, reconcile_seconds=reconcile_seconds))
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
        phone, laptop, tablet, watch = [await town.login("ada") for _ in range(4)]
        push_url = await phone.allow()
        async with phone.connected() as on_phone, laptop.connected() as on_laptop, watch.connected() as on_watch:
            locations: list[str] = []
            for socket in (on_phone, on_laptop, on_watch):
                await socket.synced()
            for body in ("acknowledged", "read"):
                locations.append((await town.push(push_url["url"], {"body": body})).headers["Location"])
                for socket in (on_phone, on_laptop, on_watch):
                    await socket.until("message")

            did_not_run(role)
            await town.push(push_url["url"], {"body": "meanwhile"})
            await watch.ask("DELETE", "/v1/login")
            role._hear(
                jobs.Batch([jobs.SessionEnds(watch.user, [hash_session_token(watch.token)], 0)])
            )  # as from its buffer
            acknowledged, read = [frame for frame in on_phone.frames if frame["type"] == "message"]
            await on_phone.send({"type": "ack", "cursor": acknowledged["cursor"]})
            await on_laptop.send({"type": "read", "ids": [read["message"]["id"]]})
            presence, user = role.registry.presence, UserId(phone.user)
            (leases,) = await presence.holders_of([user])
            await presence.release([(user, lease.connection) for lease in leases])
            for connection in role.hub:  # as if they had been just about to read their log
                connection.fall_behind()

            async def states() -> list[str]:
                return [(await town.http.get(town.service.api + where)).json()["state"] for where in locations]

            async with tablet.connected() as on_tablet:
                # Longer than its loops take to come round, and than a connection takes that is told to end.
                assert await on_phone.silent(2.5)
                for socket in (on_laptop, on_tablet, on_watch):
                    assert await socket.silent(0.1)
                assert await states() == ["stored", "stored"]
                assert await presence.holders_of([user]) == [[]]

                await role.heart._beat_on()
                await on_tablet.synced()
                for socket in (on_phone, on_laptop):
                    assert body_of(await socket.until("message")) == "meanwhile"
                    await socket.until("read")
                assert await on_watch.close_code() == 4504

                async def settled() -> bool:
                    return await states() == ["delivered", "read"]

                await eventually(settled)


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
        # Its clock alone: the other roles of this process would see theirs go back.
        its_trio = SimpleNamespace(**vars(trio))
        monkeypatch.setattr(heart, "trio", its_trio)

        async def slow(*args: object) -> object:
            asked.append(trio.current_time())
            answer = await heartbeat(*args)  # type: ignore[arg-type]
            if len(asked) == 1:  # it comes back to a process that was stopped meanwhile
                its_trio.current_time = lambda: trio.current_time() + heart.QUIET_SECONDS + 1
            return answer

        monkeypatch.setattr(role.registry.servers, "heartbeat", slow)
        await role.heart._beat_on()
        monkeypatch.undo()
        assert len(asked) == 2


async def test_after_a_silence_everybody_is_looked_at_and_once_more_a_heartbeat_later(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ran, but could not reach Redis. Routers prune its leases; one of them late, by a picture of before."""
    async with one_server(config, monkeypatch, reconcile_seconds=3600) as (town, role):
        phone = await town.login("ada")
        presence, user = role.registry.presence, UserId(phone.user)

        async def held() -> bool:
            return await presence.holders_of([user]) == [leases]

        async with phone.connected() as socket:
            await socket.synced()
            (leases,) = await presence.holders_of([user])
            role.heart._beaten_at -= heart.QUIET_SECONDS + 1
            for _ in range(2):
                presence.prune(user, leases)
                assert not await held()
                await role.heart._beat_on()
                await eventually(held)
            presence.prune(user, leases)
            await role.heart._beat_on()
            assert await socket.silent()
            assert not await held()  # nothing happened: the next round will see to it
