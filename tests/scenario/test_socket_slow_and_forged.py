"""A device that falls behind and comes round; words that are not the device's to say."""

from dataclasses import replace

import httpx
import trio

from pushctl.config.model import Config, RoleName
from pushctl.testing.service import running
from tests.scenario.people import Town, eventually
from tests.scenario.raw_frames import raw_peer
from tests.scenario.test_socket_hostile import still_serves

NO_ROUTER: tuple[RoleName, ...] = ("router",)


async def test_a_device_that_stopped_reading_holds_little_and_gets_all_in_order_when_it_reads_again(
    config: Config,
) -> None:
    small = replace(config, socket=replace(config.socket, outbox_bytes=8192, page_bytes=8192))
    async with running(small, sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        slow, quick = await town.login("ada"), await town.login("ada")
        urls = [(await slow.allow(f"https://site-{n}.example"))["url"] for n in range(2)]
        peer = await raw_peer(service.sockets["s1"], receive_buffer=4096)
        await peer.hello(slow.token)
        async with quick.connected() as socket:
            await socket.synced()
            for number in range(150):
                await town.push(urls[number % 2], {"body": f"<{number}>" + "x" * 3500})
                with trio.fail_after(5):
                    await socket.until("message")
        (connection,) = [each for each in service.roles["s1"].hub if each.device == slow.device]  # type: ignore[attr-defined]
        assert connection.tail.behind
        assert connection.tail._outbox_bytes <= 8192
        await peer.read_until(b"<149>")
        places = [peer.received.index(b"<%d>" % number) for number in range(150)]
        assert places == sorted(places)
        assert all(peer.received.count(b"<%d>" % number) == 1 for number in range(150))
        await peer.stream.aclose()


async def test_a_token_of_another_users_device_closes_the_connection_and_changes_nothing_of_either(town: Town) -> None:
    mallory, ada = await town.login("mallory"), await town.login("ada")
    async with ada.connected() as hers, mallory.connected() as his:
        await hers.synced()
        await his.synced()
        await his.send({"type": "token", "token": ada.token})
        assert await his.close_code() == 4501
        push_url = await ada.allow()
        await hers.until("push_url")
        await town.push(push_url["url"], {"body": "hello"})
        await hers.until("message")
    async with mallory.connected() as again:
        await again.synced()


async def test_a_session_whose_end_nobody_heard_of_is_found_by_looking(config: Config) -> None:
    often = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with running(often, sockets=1, without=NO_ROUTER) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        phone = await town.login("ada")
        async with phone.connected() as socket:
            await socket.synced()
            assert (await phone.ask("DELETE", "/v1/login")).status_code == 204
            assert await socket.close_code() == 4504


async def test_read_frames_of_thousands_of_ids_of_nobody_change_nothing(town: Town) -> None:
    mallory, ada = await town.login("mallory"), await town.login("ada")
    push_url = await ada.allow()
    await town.push(push_url["url"], {"body": "hello"})
    (message,) = await ada.unread()
    async with mallory.connected() as socket:
        await socket.synced()
        await socket.send({"type": "read", "ids": [message["id"], *(f"{n:x}" for n in range(499))]})
        await socket.send({"type": "ping"})
        await socket.until("pong")

        async def still_unread() -> bool:
            return len(await ada.unread()) == 1

        assert await eventually(still_unread)
        await socket.send({"type": "read", "ids": [f"{n:x}" for n in range(5000)]})
        assert await socket.close_code() == 4502
    async with mallory.connected() as socket:
        await socket.synced()
        await socket.send({"type": "read", "ids": [f"{n:020}" for n in range(10_000)]})
        assert await socket.close_code() == 1009
    await still_serves(town)
