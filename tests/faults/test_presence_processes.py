"""Socket servers that are stopped, killed, restarted and replaced, as the kernel does it to a process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.ids import UserId
from pushctl.registry import open_registry
from pushctl.registry.presence import Holder
from pushctl.testing.service import running
from tests.faults.socket_process import SocketProcess, socket_process
from tests.scenario.people import Person, Socket, Town, raw_socket
from tests.scenario.test_socket import body_of

pytestmark = pytest.mark.slow

BELOW_A_RECONCILE = 30
"""Seconds; `socket.reconcile_seconds` is 60 here."""


@pytest.fixture
def strategy() -> str:
    """routing.strategy, for tests that name none."""
    return "channel"


@pytest.fixture
async def town(config: Config, strategy: Any) -> AsyncIterator[Town]:
    """Without a socket server."""
    config = replace(config, routing=replace(config.routing, strategy=strategy))
    async with running(config, sockets=0) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


@asynccontextmanager
async def connected(person: Person, server: SocketProcess) -> AsyncIterator[Socket]:
    async with raw_socket(server.url) as socket:
        await socket.send({"type": "hello", "token": person.token, "cursor": None})
        await socket.synced()
        yield socket


async def holders(config: Config, person: Person) -> list[Holder]:
    async with open_registry(config, name="test") as registry:
        (found,) = await registry.presence.holders_of([UserId(person.user)])
        return found


async def told_now(town: Town, push_url: dict[str, Any], socket: Socket) -> None:
    """Send messages with TTL 0 until one comes through; whatever else came stays in `socket.frames`."""
    with trio.fail_after(BELOW_A_RECONCILE):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                while True:
                    await town.push(push_url["url"], {"body": "now"}, TTL="0")
                    await trio.sleep(0.2)

            nursery.start_soon(send)
            while (await socket.until("message"))["cursor"] is not None:
                pass
            nursery.cancel_scope.cancel()


def bodies(socket: Socket) -> list[str]:
    """Of the messages that came and were stored."""
    return [body_of(frame) for frame in socket.frames if frame["type"] == "message" and frame["cursor"]]


# broadcast looks at no lease
@pytest.mark.parametrize("strategy", ["channel", pytest.param("rpc", marks=pytest.mark.long)])
async def test_a_server_stopped_for_10_s_and_continued_is_delivered_to_again_within_one_reconcile(
    town: Town, tmp_path: Path
) -> None:
    phone = await town.login("ada")
    push_url = await phone.allow()
    config = town.service.config
    async with socket_process(config, "s1", tmp_path) as s1, connected(phone, s1) as socket:
        (before,) = await holders(config, phone)
        sent: list[str] = []
        s1.freeze()
        with trio.move_on_after(10):
            while True:
                answer = await town.push(push_url["url"], {"body": str(len(sent))})
                assert answer.status_code == 201
                sent.append(str(len(sent)))
                await trio.sleep(0.5)
        assert await holders(config, phone) == []  # dead after 7 s, and pruned at the next job
        s1.thaw()
        await told_now(town, push_url, socket)
        assert await holders(config, phone) == [before]  # the same connection, the same generation
        assert bodies(socket) == sent
        assert "was_silent" in s1.said


async def test_a_server_killed_and_restarted_under_its_id_delivers_nothing_foreign(town: Town, tmp_path: Path) -> None:
    ada, bob = await town.login("ada"), await town.login("bob")
    hers, his = await ada.allow(), await bob.allow()
    config = town.service.config
    async with socket_process(config, "s1", tmp_path) as old, connected(ada, old):
        await old.kill()
        (stale,) = await holders(config, ada)
        port = int(old.url[:-1].rpartition(":")[2])
        async with socket_process(config, "s1", tmp_path, port=port) as new, connected(bob, new) as socket:
            assert await holders(config, ada) == [stale]
            for ttl in ("60", "0"):
                await town.push(hers["url"], {"body": "hers"}, TTL=ttl)
            with trio.fail_after(BELOW_A_RECONCILE):
                while await holders(config, ada):
                    await town.push(hers["url"], {"body": "hers"})
            await told_now(town, his, socket)
            assert {body_of(frame) for frame in socket.frames if frame["type"] == "message"} == {"now"}
            (holder,) = await holders(config, bob)
            assert holder.generation == stale.generation + 1


async def test_a_stopped_server_that_was_replaced_meanwhile_ends_itself_and_does_nothing_more(
    town: Town, tmp_path: Path
) -> None:
    phone, laptop = await town.login("ada"), await town.login("ada")
    push_url = await phone.allow()
    config = town.service.config
    async with (
        socket_process(config, "s1", tmp_path) as old,
        connected(phone, old) as on_old,
        connected(laptop, old) as also_on_old,
    ):
        answer = await town.push(push_url["url"], {"body": "before"})
        event = await on_old.until("message")
        await also_on_old.until("message")
        old.freeze()
        # What waits in its buffers: a hint, and a frame of a device.
        await town.push(push_url["url"], {"body": "meanwhile"})
        await on_old.send({"type": "read", "upto": event["cursor"]})
        async with socket_process(config, "s1", tmp_path) as new, connected(phone, new) as on_new:
            await trio.sleep(8)  # longer than its silence may last
            await told_now(town, push_url, on_new)
            leases = await holders(config, phone)
            assert [holder.generation for holder in leases] == [2]
            old.thaw()
            with trio.fail_after(20):
                assert await old.ended() == 5
            assert "another socket server has started with the id s1" in old.said
            for socket in (on_old, also_on_old):
                heard = len(socket.frames)
                await socket.close_code()
                assert {frame["type"] for frame in socket.frames[heard:]} <= {"error", "reconnect"}
            state = (await town.http.get(town.service.api + answer.headers["Location"])).json()["state"]
            assert state != "read"
            assert await holders(config, phone) == leases
