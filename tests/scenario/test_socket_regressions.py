"""Faults that were found and fixed; each test is named for what must not come back."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from pushctl.config.model import Config, Redis
from pushctl.protocol import jobs
from pushctl.registry import open_registry
from pushctl.registry.servers import ServerRow
from pushctl.runtime import run_role
from pushctl.testing.service import running
from roles.socket.held import Held
from roles.socket.wire import Wire
from tests.conftest import RedisProcess
from tests.faults.proxy import proxy
from tests.scenario.mozilla_peer import Browser
from tests.scenario.people import PATIENCE_SECONDS, Closed, Socket, Town, eventually, raw_socket
from tests.scenario.raw_frames import PING, PONG, raw_frame, raw_peer, text
from tests.scenario.test_socket import body_of


async def state_of(socket: Socket) -> str:
    """ "open", or the code it was closed with, once it has synced."""
    try:
        await socket.synced()
        # One that had synced before it was displaced is told why first.
        return "open" if await socket.silent() else str(await socket.close_code())
    except Closed as closed:
        return str(closed.code)


async def test_acknowledging_each_event_while_catching_up_is_honest(config: Config) -> None:
    """A live device fell behind; its log comes event by event, and it acknowledges faster than the last was sent."""
    often = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with running(often, sockets=1, without={"router"}) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        phone = await town.login("ada")
        push_url = await phone.allow()
        async with phone.connected() as socket:
            await socket.synced()
            for n in range(60):
                await town.push(push_url["url"], {"body": f"{n} " + "x" * 3000})
            for n in range(60):
                event = await socket.until("message")
                assert body_of(event).startswith(f"{n} ")
                await socket.send({"type": "ack", "cursor": event["cursor"]})
            await socket.send({"type": "ping"})
            await socket.until("pong")


async def test_a_snapshot_owed_after_a_lowered_filter_is_owed_until_it_was_acknowledged(town: Town) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected(hello={"min_urgency": "high"}) as socket:
        await socket.synced()
        await town.push(push_url["url"], {"body": "low"}, Urgency="low")
        await town.push(push_url["url"], {"body": "high"}, Urgency="high")
        cursor = (await socket.until("message"))["cursor"]
    async with phone.connected(cursor=cursor) as socket:
        await socket.until("welcome")  # cut here: the snapshot is never applied
    async with phone.connected(cursor=cursor) as socket:
        (sync,) = await socket.synced()
        assert sync["mode"] == "snapshot"
        assert [message["notification"]["body"] for message in sync["messages"]] == ["low", "high"]
        await socket.send({"type": "ack", "cursor": sync["cursor"]})

    async def owed_no_more() -> bool:  # acknowledgements are written in batches
        async with phone.connected(cursor=sync["cursor"]) as socket:
            return bool((await socket.synced())[0]["mode"] == "delta")

    await eventually(owed_no_more)


async def test_a_late_word_of_being_displaced_does_not_close_the_newest(config: Config) -> None:
    """s1, s2, s1 again while nobody routes; then the jobs of both moves arrive."""
    async with running(config, without={"router"}) as service, httpx.AsyncClient() as http:
        phone = await Town(service, http).login("ada")
        async with phone.connected("s1") as first, phone.connected("s2") as second:
            await second.synced()
            async with phone.connected("s1") as newest:
                await newest.synced()
                stop = trio.Event()
                async with trio.open_nursery() as nursery:
                    router = import_module("roles.router").build(service.config)
                    await nursery.start(partial(run_role, router, until=stop.wait))
                    assert await first.close_code() == 4503
                    assert await second.close_code() == 4503
                    assert await newest.silent()
                    stop.set()


async def test_of_two_hellos_at_once_one_stays(own_redis: RedisProcess) -> None:
    patient = replace(Config(), redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=5))
    async with running(patient, sockets=1) as service, httpx.AsyncClient() as http:
        phone = await Town(service, http).login("ada")
        os.kill(own_redis.pid, signal.SIGSTOP)  # both claims are answered in one go
        async with phone.connected() as one, phone.connected() as other:
            await trio.sleep(0.3)
            os.kill(own_redis.pid, signal.SIGCONT)
            assert sorted([await state_of(one), await state_of(other)]) == ["4503", "open"]


@asynccontextmanager
async def impatient(own_redis: RedisProcess, *, timeout_seconds: float = 1, **socket: float) -> AsyncIterator[Town]:
    """One socket server, on a Redis that this test may kill."""
    config = replace(
        Config(),
        redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=timeout_seconds),
        socket=replace(Config().socket, **socket),  # type: ignore[arg-type]  # seconds
    )
    async with running(config, sockets=1) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


async def test_reads_while_redis_is_away_do_not_cost_the_connection(own_redis: RedisProcess) -> None:
    async with impatient(own_redis, ping_seconds=0.3, pong_seconds=0.3, reconcile_seconds=1) as town:
        phone = await town.login("ada")
        push_url = await phone.allow()
        await town.push(push_url["url"], {"body": "one"})
        async with phone.connected() as socket:
            (sync,) = await socket.synced()
            own_redis.kill()
            ids = [message["id"] for message in sync["messages"]]
            for _ in range(4):
                await socket.send({"type": "read", "ids": ids})
            assert await socket.silent(2.5)  # several pings' worth
            own_redis.start()
            assert (await socket.until("read"))["ids"] == ids


@contextmanager
def dead(redis: RedisProcess) -> Iterator[None]:
    redis.kill()
    yield
    redis.start()


@pytest.mark.parametrize("away", [dead, RedisProcess.frozen])
async def test_a_device_that_is_behind_hears_pings_while_redis_is_away_or_does_not_answer(
    own_redis: RedisProcess,
    monkeypatch: pytest.MonkeyPatch,
    away: Callable[[RedisProcess], AbstractContextManager[None]],
) -> None:
    quick = {"ping_seconds": 0.2, "pong_seconds": 5, "reconcile_seconds": 3600}
    async with impatient(own_redis, timeout_seconds=3 * PATIENCE_SECONDS, **quick) as town:
        phone = await town.login("ada")
        push_url = await phone.allow()
        async with phone.connected() as socket:
            await socket.synced()
            (connection,) = town.service.roles["s1"].hub  # type: ignore[attr-defined]  # the socket role's
            with away(own_redis):
                connection.tail.fall_behind()
                connection.wake()
                pinged = trio.Semaphore(0)
                write_ping = Wire.write_ping

                def counted(wire: Wire) -> None:
                    write_ping(wire)
                    pinged.release()

                monkeypatch.setattr(Wire, "write_ping", counted)
                with trio.fail_after(PATIENCE_SECONDS):
                    for _ in range(3):
                        await pinged.acquire()

            async def accepted() -> bool:
                return (await town.push(push_url["url"], {"body": "after"})).status_code == 201

            await eventually(accepted)
            assert (await socket.until("message"))["message"]["notification"]["body"] == "after"


async def test_a_ping_that_came_while_the_kernel_was_full_is_answered_though_redis_is_away(
    own_redis: RedisProcess,
) -> None:
    """In the midst of a snapshot, whose next page is waited for."""
    page = {"page_bytes": 65_536, "stall_seconds": 60, "reconcile_seconds": 3600}
    async with impatient(own_redis, **page) as town:
        phone = await town.login("ada")
        push_url = await phone.allow()
        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(town.push, push_url["url"], {"body": f"{n} " + "x" * 3500})
        peer = await raw_peer(town.service.sockets["s1"], receive_buffer=4096)
        await peer.upgrade()
        await peer.send(text({"type": "hello", "token": phone.token, "cursor": None}))
        hub = town.service.roles["s1"].hub  # type: ignore[attr-defined]  # the socket role's

        async def is_full() -> bool:
            return any(connection._wire.busy for connection in hub)

        async def has_heard() -> bool:
            return any(connection._wire.owes_pong for connection in hub)

        await eventually(is_full)
        own_redis.kill()
        await peer.send(raw_frame(PING, b"here?"))
        await eventually(has_heard)
        await peer.read_until(raw_frame(PONG, b"here?", masked=False))
        assert b'"done":true' not in peer.received
        own_redis.start()
        await peer.read_until(b'"done":true')
        await peer.stream.aclose()


async def waiting(town: Town) -> Held:
    """The only connection: it is behind, and its writer waits for Redis."""
    connection: Held
    (connection,) = town.service.roles["s1"].hub  # type: ignore[attr-defined]  # the socket role's
    connection.fall_behind()

    async def is_waiting() -> bool:
        return connection._patience.is_needed

    await eventually(is_waiting)
    return connection


async def test_a_device_that_is_behind_is_answered_and_sent_away_while_redis_is_away(own_redis: RedisProcess) -> None:
    async with impatient(own_redis, reconcile_seconds=3600) as town:
        phone = await town.login("ada")
        async with phone.connected() as socket:
            await socket.synced()
            own_redis.kill()
            connection = await waiting(town)
            await socket.send({"type": "ping"})
            await socket.send({"type": "ping"})
            await socket.until("pong")
            await socket.until("pong")
            connection.ask_to_leave(0, closed_after=3600)
            assert (await socket.until("reconnect"))["after_ms"] == 0


async def test_a_browser_that_is_behind_is_answered_while_redis_is_away(own_redis: RedisProcess) -> None:
    async with impatient(own_redis, reconcile_seconds=3600, browser_ping_seconds=0) as town:
        browser = Browser(town.service.sockets["s1"])
        async with browser.connected() as socket:
            await browser.subscribe(socket)
            own_redis.kill()
            await waiting(town)
            await socket.ping()
            assert (await socket.unregister(*browser.endpoints))["status"] == 500


async def test_a_mistake_of_ours_ends_a_connection_whose_writer_waits_for_redis(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise RuntimeError("a mistake")

    async with impatient(own_redis, ping_seconds=60, pong_seconds=60, reconcile_seconds=3600) as town:
        phone = await town.login("ada")
        async with phone.connected() as socket:
            await socket.synced()
            hub = town.service.roles["s1"].hub  # type: ignore[attr-defined]  # the socket role's
            (connection,) = hub
            own_redis.kill()
            connection.tail.fall_behind()
            connection.wake()
            monkeypatch.setattr(type(connection), "_hear", mistaken)
            await socket.send({"type": "ping"})
            assert await socket.close_code() == 4001
            assert not hub.connections


async def test_a_hello_in_the_middle_of_a_drain_is_sent_on(town: Town) -> None:
    phone = await town.login("ada")
    role = town.service.roles["s1"]
    async with raw_socket(town.service.sockets["s1"]) as socket, trio.open_nursery() as nursery:
        nursery.start_soon(role.drain)
        await trio.sleep(0.1)
        await socket.send({"type": "hello", "token": phone.token, "cursor": None})
        assert await socket.close_code() == 4001
        assert socket.frames[-1]["type"] == "reconnect"


async def test_who_has_not_even_shaken_hands_does_not_hold_up_a_drain(town: Town) -> None:
    url = urlsplit(town.service.sockets["s1"])
    async with await trio.open_tcp_stream(str(url.hostname), url.port or 0):
        with trio.fail_after(Config().socket.handshake_seconds / 2):
            await town.service.roles["s1"].drain()
        assert "s1" not in [row.id for row in await servers(town)]


async def servers(town: Town) -> list[ServerRow]:
    async with open_registry(town.service.config, name="test") as registry:
        return await registry.servers.picture("")


async def test_ttl_0_is_not_delivered_after_its_moment(town: Town) -> None:
    phone = await town.login("ada")
    role = town.service.roles["s1"]
    async with phone.connected() as socket:
        await socket.synced()
        now_ms = await role.registry.now_ms()  # type: ignore[attr-defined]  # the socket role's
        frame = b'{"type":"message","cursor":null,"message":{}}'
        # What a receiver that was frozen for 20 s finds in its buffer.
        role._hear(jobs.Batch([jobs.Ephemeral(phone.user, now_ms - 20_000, 2, frame)]))  # type: ignore[attr-defined]
        assert await socket.silent()
        role._hear(jobs.Batch([jobs.Ephemeral(phone.user, now_ms + 2000, 2, frame)]))  # type: ignore[attr-defined]
        assert (await socket.receive())["cursor"] is None


async def test_no_session_survives_the_removal_of_its_device(town: Town) -> None:
    laptop, phone = await town.login("ada"), await town.login("ada")
    renewed = await town.login("ada", device=phone.device)
    assert (await phone.ask("GET", "/v1/devices")).status_code == 200  # for 60 s more
    assert (await laptop.ask("DELETE", f"/v1/devices/{phone.device}")).status_code == 204
    for session in (phone, renewed):
        assert (await session.ask("GET", "/v1/devices")).status_code == 401
    again = await town.login("ada", device=laptop.device)
    assert (await again.ask("DELETE", "/v1/login", params={"everywhere": "true"})).status_code == 204
    assert (await laptop.ask("GET", "/v1/devices")).status_code == 401


async def test_many_large_events_at_once_do_not_end_the_router(config: Config) -> None:
    small = replace(config, redis=replace(config.redis, queue_bytes=2 * 1024 * 1024))
    async with running(small, sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        phone = await town.login("ada")
        async with phone.connected() as socket:
            await socket.synced()
            async with trio.open_nursery() as nursery:
                for n in range(200):
                    icon = "data:image/png;base64," + "A" * 12_000
                    nursery.start_soon(phone.allow, f"https://site{n}.example", icon)
            for _ in range(200):
                await socket.until("push_url")


async def test_a_router_whose_reader_went_silent_notices_and_goes_on(
    config: Config, redis_process: RedisProcess
) -> None:
    async with proxy(str(redis_process.path), b"\r\nXREADGROUP\r\n") as between:
        quick = replace(config, redis=replace(config.redis, url=between.url, timeout_seconds=1))
        async with running(quick, sockets=1) as service, httpx.AsyncClient() as http:
            town = Town(service, http)
            phone = await town.login("ada")
            push_url = await phone.allow()
            async with phone.connected() as socket:
                await socket.synced()
                between.deaf = True

                async def reader_was_replaced() -> bool:
                    return between.connections > 1

                await eventually(reader_was_replaced)
                between.deaf = False
                await town.push(push_url["url"], {"body": "heard"})
                assert body_of(await socket.until("message")) == "heard"


@pytest.mark.parametrize("code", [1000, 1001, 3000])
async def test_a_client_that_closes_is_let_go(town: Town, code: int) -> None:
    phone = await town.login("ada")
    async with phone.connected() as socket:
        await socket.synced()
        await socket.websocket.aclose(code)

        async def gone() -> bool:
            answer = await phone.ask("GET", "/v1/devices")
            return not answer.json()["devices"][0]["connected"]

        await eventually(gone)


async def test_a_connection_that_is_over_leaves_nothing_to_the_garbage_collector(town: Town) -> None:
    """It would walk through all the others to find it, and those that were put aside it does not look at for long."""
    phone = await town.login("ada")
    gc.collect()
    gc.disable()
    try:
        for hello in ({}, {"min_urgency": "high"}):
            async with phone.connected("s1", hello=hello) as socket:
                await socket.synced()
                await socket.send({"type": "ping"})
                await socket.until("pong")
        async with phone.connected("s1") as socket:
            await socket.synced()
            await socket.send({"type": "nonsense"})
            assert await socket.close_code() == 4502
        role: Any = town.service.roles["s1"]
        await eventually(lambda: is_empty(role))
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [each for each in gc.garbage if type(each).__module__.startswith("roles.")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


async def is_empty(role: Any) -> bool:
    return bool(role.reception.streams == 0)
