"""`pushctl drain` and `undrain` on a running service: everybody is sent elsewhere at a pace, and nothing is lost."""

from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable
from pushctl.protocol import jobs
from pushctl.registry import Registry
from pushctl.registry.wishes import Wish
from pushctl.testing.service import running
from tests.conftest import RedisProcess
from tests.scenario.people import Closed, Socket, Town, eventually
from tests.scenario.test_processes import PUSHCTL
from tests.unit.cli.commands import Ran, pushctl


def redis_of(town: Town) -> tuple[str, str]:
    redis = town.service.config.redis
    return f"--set=redis.url={redis.url}", f"--set=redis.prefix={redis.prefix}"


async def run(town: Town, *arguments: str) -> Ran:
    """`pushctl ARGUMENTS`, here: nothing else of what is run may print meanwhile."""
    return await pushctl(*arguments, *redis_of(town))


async def run_beside_others(town: Town, *arguments: str) -> Ran:
    """The same as a process."""
    with trio.fail_after(60):
        done = await trio.run_process(
            [PUSHCTL, *arguments, *redis_of(town)], capture_stdout=True, capture_stderr=True, check=False
        )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode(), arguments)


def registry_of(town: Town) -> Registry:
    registry: Registry = town.service.roles["s1"].registry  # type: ignore[attr-defined]  # the socket role's
    return registry


async def named(town: Town, token: str) -> list[str]:
    """What the Box Office would hand out now, by id."""
    answer = await town.http.get(f"{town.service.boxoffice}/v1/servers", headers={"Authorization": f"Bearer {token}"})
    urls = {url: name for name, url in town.service.sockets.items()}
    return sorted(urls[url] for url in answer.json()["servers"])


async def is_left_out(town: Town, token: str) -> bool:
    return await named(town, token) == ["s2"]


async def draining(town: Town) -> bool:
    return any(row.state == "draining" for row in await registry_of(town).servers.picture(""))


async def drained(town: Town) -> bool:
    rows = await registry_of(town).servers.picture("")
    return any(row.state == "draining" and not row.connections for row in rows)


async def test_a_device_may_stay_until_its_moment_and_is_closed_soon_after(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.socket.draining.random.random", lambda: 0.9)  # its moment comes late: there is time
    phone = await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected("s1") as socket:
        await socket.synced()
        assert (await run(town, "drain", "s1", "--over", "3s", "--no-wait", "--by", "ops")).code == 0
        frame = await socket.until("reconnect")
        assert frame["reason"] == "draining"
        assert 0 <= frame["after_ms"] <= 3000
        assert await draining(town), "that stands in the registry before anybody is sent away"
        await town.push(push_url["url"], {"body": "still here"})
        assert (await socket.receive())["message"]["notification"]["body"] == "still here"
        with pytest.raises(Closed) as closed:
            await socket.receive()
        assert closed.value.code == 4001
    await eventually(lambda: drained(town))
    await eventually(lambda: is_left_out(town, phone.token))
    refused = await town.http.get(
        town.service.sockets["s1"].replace("ws", "http"),
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        },
    )
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1


async def test_what_waits_to_be_written_is_written_before_the_close_if_it_is_in_no_log(town: Town) -> None:
    phone = await town.login("ada")
    role: Any = town.service.roles["s1"]
    async with phone.connected("s1") as socket:
        await socket.synced()
        (connection,) = role.hub
        until_ms = await role.registry.now_ms() + 2000
        message = b'{"type":"message","cursor":null,"message":{}}'
        # In one go: nobody has written the one before the other comes.
        role._hear(jobs.Batch([jobs.Ephemeral(phone.user, until_ms, 2, message)]))
        connection.drain(after_ms=0)
        assert (await socket.receive())["cursor"] is None
        assert (await socket.receive())["type"] == "reconnect"
        assert await socket.close_code() == 4001


async def test_who_was_asked_to_leave_and_does_not_may_stay_after_all_when_the_drain_is_taken_back(town: Town) -> None:
    phone = await town.login("ada")
    role: Any = town.service.roles["s1"]
    async with phone.connected("s1") as socket:
        await socket.synced()
        (connection,) = role.hub
        connection.ask_to_leave(0.1, closed_after=0.3)
        assert (await socket.receive())["type"] == "reconnect"
        role.drainer.hear(Wish(drain=False, by="ops", at_ms=1))
        assert await socket.silent(1.5)


@pytest.mark.slow
async def test_the_command_returns_when_the_server_is_empty_and_everybody_can_see_who_asked(town: Town) -> None:
    people = [await town.login(name) for name in ("ada", "bob", "eve")]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(person.connected("s1")) for person in people]
        for socket in sockets:
            await socket.synced()
        async with trio.open_nursery() as nursery:
            ran: list[Ran] = []

            async def command() -> None:
                ran.append(
                    await run_beside_others(town, "drain", "s1", "--over", "4s", "--by", "ada, OPS-17", "--json")
                )

            nursery.start_soon(command)
            for socket in sockets:
                nursery.start_soon(socket.close_code)

            async def is_shown() -> bool:
                shown = await run(town, "stats", "servers")
                return "s1 drains, asked by ada, OPS-17" in shown.out

            await eventually(is_shown)
            inspected = (await run(town, "inspect", "server", "s1", "--json")).lines[0]
            assert (inspected["state"], inspected["drain"]["by"]) == ("draining", "ada, OPS-17")
            assert any("asked" in why and "OPS-17" in why for why in inspected["why"])
            (s1, _) = (await run(town, "stats", "servers", "--json")).lines[0]["servers"]
            assert (s1["drain"]["over_seconds"], s1["drain"]["began_with"]) == (4, 3)
    assert ran[0].code == 0, ran[0].err
    last = ran[0].lines[-1]
    assert (last["state"], last["connections"], last["began_with"]) == ("drained", 0, 3)
    assert all(line["server"] == "s1" for line in ran[0].lines)


@pytest.mark.slow
async def test_undrain_before_it_is_over_lets_the_others_stay_and_takes_new_ones(town: Town) -> None:
    people = [await town.login(name) for name in ("ada", "bob", "eve", "joe")]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(person.connected("s1")) for person in people]
        for socket in sockets:
            await socket.synced()
        assert (await run(town, "drain", "s1", "--over", "1h", "--no-wait")).code == 0
        asked = trio.Event()

        async def hears(socket: Socket) -> None:
            await socket.until("reconnect")
            asked.set()

        async with trio.open_nursery() as nursery:
            for socket in sockets:
                nursery.start_soon(hears, socket)
            await asked.wait()
            nursery.cancel_scope.cancel()
        undrained = await run(town, "undrain", "s1")
        assert (undrained.code, undrained.out) == (0, "s1 takes clients again\n"), undrained.err
        assert sum(frame["type"] == "reconnect" for socket in sockets for frame in socket.frames) == 1
        newcomer = await town.login("new")
        async with newcomer.connected("s1") as socket:
            await socket.synced()

        async def named_again() -> bool:
            return await named(town, newcomer.token) == ["s1", "s2"]

        await eventually(named_again)
        for socket in sockets:
            assert await socket.silent(0.1), "nobody is closed, and nobody else is asked"


async def test_a_drain_that_is_taken_back_ends_the_waiting_with_1(town: Town) -> None:
    phone = await town.login("ada")
    async with phone.connected("s1") as socket, trio.open_nursery() as nursery:
        await socket.synced()
        ran: list[Ran] = []

        async def command() -> None:
            ran.append(await run_beside_others(town, "drain", "s1", "--over", "1h"))

        nursery.start_soon(command)
        await eventually(lambda: draining(town))
        assert (await run(town, "undrain", "s1")).code == 0
    assert (ran[0].code, ran[0].err) == (1, "pushctl: the drain of s1 was taken back\n")


@pytest.mark.slow
async def test_a_drain_that_is_not_over_in_time_is_4_and_goes_on(town: Town) -> None:
    phone = await town.login("ada")
    async with phone.connected("s1") as socket:
        await socket.synced()
        ran = await run(town, "drain", "s1", "--over", "1h", "--timeout", "1s")
        assert (ran.code, ran.out) == (4, "")
        assert "s1 is not empty after 1 s: " in ran.err
        await socket.until("reconnect")


@pytest.mark.parametrize("command", ["drain", "undrain"])
async def test_an_unknown_server_is_2_and_the_known_ones_are_named(office: Town, command: str) -> None:
    ran = await run(office, command, "s9")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "pushctl: no socket server s9 runs here; known: none\n"


async def test_a_wish_is_heard_after_the_link_was_lost(config: Config, own_redis: RedisProcess) -> None:
    own = replace(config, redis=replace(config.redis, url=own_redis.url, connect_seconds=5))
    async with running(own, sockets=1) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        assert (await run(town, "drain", "s1", "--over", "1s", "--no-wait")).code == 0
        own_redis.kill()  # before the server's next heartbeat, as a rule
        own_redis.start()

        async def drained_at_last() -> bool:
            with suppress(StoreUnavailable):
                return await drained(town)
            return False

        await eventually(drained_at_last)
