"""Mozilla's protocol as Firefox speaks it, frame by frame, on a real service."""

import base64
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pushctl.config.model import Config
from pushctl.ids import UserId
from pushctl.registry import Registry
from pushctl.testing.service import running
from tests.conftest import ON_BOTH
from tests.scenario.mozilla_peer import Browser, new_channel, talk
from tests.scenario.people import Frame, Town, eventually

pytestmark = ON_BOTH


def quick(config: Config) -> Config:
    """Where browsers may ping as often as they like."""
    return replace(config, socket=replace(config.socket, browser_ping_seconds=0))


@pytest.fixture
async def town(config: Config) -> AsyncIterator[Town]:
    async with running(quick(config)) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


@pytest.fixture
def browser(town: Town) -> Browser:
    return Browser(town.service.sockets["s1"])


async def push(town: Town, endpoint: str, **headers: str) -> str:
    """A push without a body; its message id."""
    answer = await town.http.post(endpoint, headers={"TTL": "60"} | headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"].rpartition("/")[2]


async def status(town: Town, endpoint: str) -> int:
    return (await town.http.post(endpoint, headers={"TTL": "60"})).status_code


async def state(town: Town, message_id: str) -> str:
    return str((await town.http.get(f"{town.service.api}/message/{message_id}")).json()["state"])


async def everybody(town: Town) -> AsyncIterator[UserId]:
    """Who is stored."""
    registry: Registry = town.service.roles["s1"].registry  # type: ignore[attr-defined]
    for shard in registry.index.shards:
        for user in (await registry.users.listing.some(shard, 0, 1000))[1]:
            yield user


def a_key(*, padding: bool = False) -> str:
    point = (
        ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    )
    text = base64.urlsafe_b64encode(point).decode()
    return text if padding else text.rstrip("=")


# --- hello -----------------------------------------------------------------------------------------------------------


async def test_a_first_hello_is_answered_with_a_uaid_as_firefox_wants_it(browser: Browser) -> None:
    async with talk(browser.url) as socket:
        assert socket.websocket.subprotocol == "push-notification"
        answer = await socket.hello()
        assert answer == {
            "messageType": "hello",
            "uaid": answer["uaid"],
            "status": 200,
            "use_webpush": True,
            "broadcasts": {},
        }
        assert len(answer["uaid"]) == 32
        int(answer["uaid"], 16)


async def test_a_browser_that_asks_for_no_subprotocol_is_treated_the_same(town: Town, browser: Browser) -> None:
    async with browser.connected(subprotocols=[]) as socket:
        await push(town, await browser.subscribe(socket))
        await socket.notification()


async def test_a_known_uaid_comes_back_and_an_unknown_or_senseless_one_is_replaced(browser: Browser) -> None:
    async with browser.connected() as socket:
        await browser.subscribe(socket)
    known = browser.uaid
    for uaid, kept in ((known, True), ("f" * 32, False), ("", False), ("F" * 32, False), ("x" * 1000, False)):
        async with talk(browser.url) as socket:
            answer = await socket.hello(uaid)
            assert (answer["uaid"] == uaid) is kept
            assert answer["status"] == 200


async def test_whatever_breaks_the_protocol_is_closed_as_autopush_does(browser: Browser) -> None:
    channel = new_channel()
    register = {"messageType": "register", "channelID": channel}
    hello = {"messageType": "hello"}
    wrong: list[tuple[list[Frame | str | bytes], int]] = [
        ([register], 1011),
        ([{}], 1011),
        (["nonsense"], 1011),
        ([b"{}"], 1003),
        ([hello, hello], 1011),
        ([hello, register | {"channelID": channel.upper()}], 1011),
        ([hello, {"messageType": "register"}], 1011),
        ([hello, {"messageType": "purge"}], 1011),
        ([hello, "[]"], 1011),
        ([hello, {"messageType": "ack", "updates": {}}], 1011),
    ]
    for frames, code in wrong:
        async with talk(browser.url) as socket:
            for frame in frames:
                await socket.send(frame)
            assert await socket.close_code() == code, frames


async def test_silence_at_hello_ends_the_connection(config: Config) -> None:
    hasty = replace(config, socket=replace(config.socket, hello_seconds=0.1))
    async with running(hasty, sockets=1) as service, talk(service.sockets["s1"]) as socket:
        assert await socket.close_code() == 1011


async def test_pings_are_answered_unless_they_come_too_often(config: Config) -> None:
    async with running(config, sockets=1) as service, talk(service.sockets["s1"]) as socket:
        await socket.hello()
        await socket.send("{}")
        assert await socket.receive() == {}
        await socket.send("{}")
        assert await socket.close_code() == 1011


# --- subscriptions ---------------------------------------------------------------------------------------------------


async def test_register_echoes_the_channel_and_gives_a_push_url_that_works(town: Town, browser: Browser) -> None:
    channel = new_channel()
    async with browser.connected() as socket:
        answer = await socket.register(channel, key=None)
        endpoint = answer["pushEndpoint"]
        assert answer == {
            "messageType": "register",
            "channelID": channel,
            "status": 200,
            "pushEndpoint": endpoint,
        }
        assert endpoint.startswith(f"{town.service.api}/push/")
        assert (await socket.register(channel))["pushEndpoint"] == endpoint
        message_id = await push(town, endpoint)
        notification = await socket.notification()
        assert notification == {"messageType": "notification", "channelID": channel, "version": message_id}


async def test_a_key_is_taken_with_and_without_padding_and_a_bad_one_is_told(town: Town, browser: Browser) -> None:
    channel, key = new_channel(), a_key(padding=True)
    async with browser.connected() as socket:
        for bad in ("AAAA", "B" * 87, "no base64!"):
            answer = await socket.register(channel, key=bad)
            assert answer["status"] == 400
            assert answer["channelID"] == channel
        bound = (await socket.register(channel, key=key))["pushEndpoint"]
        assert (await socket.register(channel, key=key.rstrip("=")))["pushEndpoint"] == bound
        assert await status(town, bound) == 401
        # Another key for the channel: the push URL of before is gone.
        other = (await socket.register(channel, key=a_key()))["pushEndpoint"]
        assert other != bound
        assert await status(town, bound) == 410
        assert await status(town, other) == 401


async def test_an_unregistered_channel_is_gone_and_stays_gone_when_it_is_registered_anew(
    town: Town, browser: Browser
) -> None:
    channel = new_channel()
    async with browser.connected() as socket:
        first = (await socket.register(channel))["pushEndpoint"]
        assert await socket.unregister(channel) == {
            "messageType": "unregister",
            "channelID": channel,
            "status": 200,
        }
        assert await status(town, first) == 410
        second = (await socket.register(channel))["pushEndpoint"]
        assert second != first
        assert (await status(town, first), await status(town, second)) == (410, 201)
        assert (await socket.unregister(new_channel()))["status"] == 200


async def test_a_browser_may_have_so_many_subscriptions_and_no_more(config: Config) -> None:
    small = replace(config, limits=replace(config.limits, push_urls_per_user=2))
    async with running(small, sockets=1) as service:
        browser = Browser(service.sockets["s1"])
        async with browser.connected() as socket:
            for _ in range(2):
                await browser.subscribe(socket)
            assert (await socket.register(new_channel()))["status"] == 409
            await socket.unregister(next(iter(browser.endpoints)))
            await browser.subscribe(socket)


# --- messages --------------------------------------------------------------------------------------------------------


async def test_what_came_while_it_was_away_comes_in_order_and_acknowledged_never_again(
    town: Town, browser: Browser
) -> None:
    async with browser.connected() as socket:
        endpoint = await browser.subscribe(socket)
    sent = [await push(town, endpoint) for _ in range(5)]
    async with browser.connected() as socket:
        came = await socket.notifications(5)
        assert [each["version"] for each in came] == sent
        for n, code in enumerate((100, 101, 102)):
            await socket.ack(came[n], code=code)
        await socket.ping()
        assert [await state(town, each) for each in sent] == ["delivered"] * 3 + ["stored"] * 2
    browser.url = town.service.sockets["s2"]
    async with browser.connected() as socket:
        assert [each["version"] for each in await socket.notifications(2)] == sent[3:]
        await socket.send({"messageType": "nack", "version": sent[3], "code": 301})
        assert await socket.silent()


async def test_however_many_messages_wait_all_come_and_the_uaid_stays(config: Config) -> None:
    roomy = replace(config, limits=replace(config.limits, unread_per_push_url=1000))
    async with running(roomy, sockets=1) as service, httpx.AsyncClient() as http:
        town, browser = Town(service, http), Browser(service.sockets["s1"])
        async with browser.connected() as socket:
            endpoint = await browser.subscribe(socket)
        uaid = browser.uaid
        sent = [await push(town, endpoint) for _ in range(300)]
        async with browser.connected() as socket:
            assert browser.uaid == uaid
            came: list[Frame] = []
            while len(came) < 300:
                came.append(await socket.notification())
                await socket.ack(came[-1])
            assert [each["version"] for each in came] == sent
            assert await socket.silent()


async def test_only_so_many_are_outstanding_and_each_ack_makes_room(town: Town, browser: Browser) -> None:
    async with browser.connected() as socket:
        endpoint = await browser.subscribe(socket)
        sent = [await push(town, endpoint) for _ in range(60)]
        came = await socket.notifications(50)
        assert await socket.silent()
        await socket.ack(*came[10:13])
        came += await socket.notifications(3)
        assert await socket.silent()
        await socket.ack(*came[:10], *came[13:])
        came += await socket.notifications(7)
        assert [each["version"] for each in came] == sent


async def test_a_browser_that_acknowledges_nothing_is_closed_and_gets_them_again(config: Config) -> None:
    hasty = replace(config, socket=replace(config.socket, stall_seconds=1))
    async with running(hasty, sockets=1) as service, httpx.AsyncClient() as http:
        town, browser = Town(service, http), Browser(service.sockets["s1"])
        async with browser.connected() as socket:
            endpoint = await browser.subscribe(socket)
            sent = [await push(town, endpoint) for _ in range(51)]
            await socket.notifications(50)
            assert await socket.close_code() == 1008
        async with browser.connected() as socket:
            assert [each["version"] for each in await socket.notifications(50)] == sent[:50]


async def test_ttl_0_comes_now_or_never_and_needs_no_ack(town: Town, browser: Browser) -> None:
    async with browser.connected() as socket:
        endpoint = await browser.subscribe(socket)
        # The lease was claimed on this connection's first register: the hint finds it.
        message_id = await push(town, endpoint, TTL="0")
        notification = await socket.notification()
        assert notification["version"] == message_id
        await socket.ack(notification)
        await socket.ping()

    async def gone() -> bool:
        presence = town.service.roles["s1"].registry.presence  # type: ignore[attr-defined]
        return not (await presence.holders_of([UserId(user)]))[0]

    (user,) = [user async for user in everybody(town)]
    await eventually(gone)
    await push(town, endpoint, TTL="0")
    async with browser.connected() as socket:
        assert await socket.silent()


async def test_a_replaced_and_a_cancelled_message_do_not_come(town: Town, browser: Browser) -> None:
    async with browser.connected() as socket:
        endpoint = await browser.subscribe(socket)
    await push(town, endpoint, Topic="t")
    second = await push(town, endpoint, Topic="t")
    third = await push(town, endpoint)
    assert (await town.http.delete(f"{town.service.api}/message/{third}")).status_code == 204
    async with browser.connected() as socket:
        assert (await socket.notification())["version"] == second
        assert await socket.silent()


async def test_acks_of_what_is_not_its_own_or_senseless_do_nothing(town: Town, browser: Browser) -> None:
    other = Browser(browser.url)
    async with browser.connected() as socket, other.connected() as its:
        theirs = await push(town, await other.subscribe(its))
        await its.notification()
        await browser.subscribe(socket)
        updates = [{"channelID": new_channel(), "version": version} for version in (theirs, "nonsense", "")]
        await socket.send({"messageType": "ack", "updates": updates})
        await socket.ping()
        assert await state(town, theirs) == "stored"


async def test_the_newest_of_two_connections_wins(town: Town, browser: Browser) -> None:
    async with browser.connected() as older:
        endpoint = await browser.subscribe(older)
        browser.url = town.service.sockets["s2"]
        async with browser.connected() as newer:
            assert await older.close_code() == 1011
            await push(town, endpoint)
            await newer.notification()


async def test_an_ack_makes_no_event_and_no_job(town: Town, browser: Browser) -> None:
    async with browser.connected() as socket:
        endpoint = await browser.subscribe(socket)
        before = (await town.http.get(town.service.admin["router"] + "/metrics")).text
        await push(town, endpoint)
        await socket.ack(await socket.notification())
        await socket.ping()

        async def handed_over() -> bool:
            after = (await town.http.get(town.service.admin["router"] + "/metrics")).text
            return jobs_in(after) == jobs_in(before) + 1

        await eventually(handed_over)
        await trio.sleep(0.2)
        assert await handed_over()


def jobs_in(metrics: str) -> float:
    return sum(
        float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith("pushctl_job_seconds_count")
    )
