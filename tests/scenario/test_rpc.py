"""Routing by rpc: who may bring hints, what an answer says, and what happens to a server that gives none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.identity.keys import Keys
from pushctl.identity.peers import PeerKeys
from pushctl.identity.sealing import hash_session_token
from pushctl.ids import ConnectionId, DeviceId, ServerId, UserId
from pushctl.protocol import jobs
from pushctl.protocol.jobs import Batch, Ephemeral, Heard, Probe, SessionEnds, decode_heard, encode
from pushctl.registry import Registry
from pushctl.routing import caller as caller_module
from pushctl.routing.caller import MOMENT_HEADER, Caller, Replaced, Unanswered, purpose_of
from pushctl.testing.service import running
from roles.socket.rpc import MAX_BODY_BYTES
from tests.metrics import values
from tests.scenario.people import Person, Socket, Town, eventually
from tests.scenario.test_processes import free_ports
from tests.scenario.test_strategies import bodies, by, jobs_that

S1 = ServerId("s1")


@pytest.fixture
async def town(config: Config, slow_to_suspect: None) -> AsyncIterator[Town]:
    async with running(by(config, "rpc")) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


def registry_of(town: Town, server: str = "s1") -> Registry:
    registry: Registry = town.service.roles[server].registry  # type: ignore[attr-defined]  # the socket role's
    return registry


class Door:
    """The internal listener of a server, and what it takes to be let in."""

    def __init__(self, town: Town, server: str = "s1") -> None:
        self._http = town.http
        role = town.service.roles[server]
        self.keys = PeerKeys(Keys.load(Path(town.service.config.identity.keys_file)))
        self.url: str = role.row().rpc_url  # type: ignore[attr-defined]
        self.generation: int = role.generation  # type: ignore[attr-defined]
        self.path = purpose_of(ServerId(server), self.generation)

    async def moment(self) -> int:
        return int((await self._http.get(self.url)).headers[MOMENT_HEADER])

    async def post(self, body: bytes, *, signature: str = "", path: str = "", method: str = "POST") -> httpx.Response:
        headers = {"Authorization": signature} if signature else {}
        return await self._http.request(method, self.url + (path or self.path), content=body, headers=headers)

    async def sign(self, body: bytes, purpose: str = "") -> str:
        return self.keys.sign(purpose or self.path, await self.moment(), body)


@asynccontextmanager
async def connected(town: Town, server: str = "s1") -> AsyncIterator[tuple[Person, Socket]]:
    person = await town.login("ada")
    async with person.connected(server) as socket:
        await socket.synced()
        yield person, socket


# --- who may bring hints ---------------------------------------------------------------------------------------------


async def test_what_is_not_signed_for_this_very_process_is_refused_and_heard_by_nobody(town: Town) -> None:
    door = Door(town)
    async with connected(town) as (ada, socket):
        body = encode(Batch([SessionEnds(ada.user, [hash_session_token(ada.token)], 0)]))
        strangers = PeerKeys(Keys.generate())
        for signature in (
            "",
            "nonsense",
            strangers.sign(door.path, await door.moment(), body),
            await door.sign(body, purpose_of(S1, door.generation + 1)),
            await door.sign(body, purpose_of(ServerId("s2"), door.generation)),
            await door.sign(b"another body"),
            door.keys.sign(door.path, 0, body),
        ):
            answer = await door.post(body, signature=signature)
            assert (answer.status_code, answer.json()["field"]) == (401, "Authorization")
        assert await socket.silent()
        assert (await door.post(body, signature=await door.sign(body))).status_code == 200
        assert await socket.close_code() == 4504


async def test_what_was_overheard_cannot_be_said_again(town: Town) -> None:
    door = Door(town)
    async with connected(town) as (ada, socket):
        now_ms = await registry_of(town).now_ms()
        body = encode(Batch([Ephemeral(ada.user, now_ms + 2000, 2, b'{"type":"message","cursor":null}')]))
        signature = await door.sign(body)
        assert (await door.post(body, signature=signature)).status_code == 200
        assert (await door.post(body, signature=signature)).status_code == 401
        assert (await socket.receive())["type"] == "message"
        assert await socket.silent()


async def test_what_was_overheard_is_no_good_at_another_server_nor_after_a_restart(
    config: Config, tmp_path: Path
) -> None:
    config = replace(by(config, "rpc"), identity=replace(config.identity, keys_file=str(tmp_path / "keys.toml")))
    body = encode(Batch([SessionEnds(UserId("ada"), ["s"], 0)]))
    async with running(config) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        door, other = Door(town), Door(town, "s2")
        signature = await door.sign(body)
        for path in (door.path, other.path):
            refused = await other.post(body, signature=signature, path=path)
            assert refused.status_code == (401 if path == other.path else 404)
        assert (await door.post(body, signature=signature)).status_code == 200
    async with running(config) as service, httpx.AsyncClient() as http:
        again = Door(Town(service, http))  # the same id and the same keys, within the window
        assert again.generation > door.generation
        assert (await again.post(body, signature=signature, path=door.path)).status_code == 404
        assert (await again.post(body, signature=signature)).status_code == 401
        forged = door.keys.sign(again.path, int(signature.split(".")[1]), body)
        assert (await again.post(body, signature=forged)).status_code == 401  # another clock: the moment is none of it
        assert (await again.post(body, signature=await again.sign(body))).status_code == 200


@pytest.mark.parametrize("off_ms", [-10_000_000, -11_000, 20_000, 10_000_000])
async def test_a_caller_whose_clock_is_off_asks_once_and_is_let_in(town: Town, off_ms: int) -> None:
    door = Door(town)
    batch = encode(Batch([Ephemeral("bob", 0, 2, b"")]))
    refused = await door.post(batch, signature=door.keys.sign(door.path, await door.moment() + off_ms, batch))
    assert refused.status_code == 401
    with closing(Caller(door.keys, S1, door.generation, door.url)) as caller:
        caller._ahead_ms = await door.moment() - trio.current_time() * 1000 + off_ms
        assert await caller.tell(batch) == ["bob"]


async def test_what_is_no_batch_is_refused_with_the_reason(town: Town) -> None:
    door = Door(town)
    for garbage in (b"", b"\xff", b"{}", encode(Probe("n")), encode(Heard([]))):
        assert (await door.post(garbage, signature=await door.sign(garbage))).status_code == 400
    assert (await door.post(b"", path="/hints/s1/0")).status_code == 404
    assert (await door.post(b"", method="PUT")).status_code == 405


async def test_a_body_without_end_is_refused_at_the_bound(town: Town) -> None:
    door = Door(town)
    address = urlsplit(door.url)
    async with await trio.open_tcp_stream(str(address.hostname), address.port or 0) as stream:
        await stream.send_all(f"POST {door.path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with suppress(trio.BrokenResourceError):  # it may hang up before it has seen all
            for _ in range(MAX_BODY_BYTES // 65_536 + 1):
                await stream.send_all(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")


async def test_the_answer_names_the_users_who_are_not_held_here(town: Town) -> None:
    door = Door(town)
    async with connected(town) as (ada, _):
        body = encode(Batch([Ephemeral(user, 0, 2, b"") for user in (ada.user, "bob", "bob")]))
        answer = await door.post(body, signature=await door.sign(body))
        assert decode_heard(answer.content).missing == ["bob"]


async def test_a_caller_learns_the_servers_clock_and_knows_another_generation(town: Town) -> None:
    door = Door(town)
    batch = encode(Batch([Ephemeral("bob", 0, 2, b"")]))
    with closing(Caller(door.keys, S1, door.generation, door.url)) as caller:
        assert await caller.tell(batch) == ["bob"]
        assert await caller.tell(batch) == ["bob"]
    with closing(Caller(door.keys, S1, door.generation + 1, door.url)) as caller, pytest.raises(Replaced):
        await caller.tell(batch)
    with (
        closing(Caller(PeerKeys(Keys.generate()), S1, door.generation, door.url)) as caller,
        pytest.raises(Unanswered, match="401"),
    ):
        await caller.tell(batch)
    with pytest.raises(Unanswered):
        await Caller(door.keys, S1, door.generation, "http://127.0.0.1:9").tell(batch)


# --- what an answer does ---------------------------------------------------------------------------------------------


async def test_a_lease_whose_connection_is_gone_is_pruned_by_the_answer(town: Town) -> None:
    async with connected(town) as (ada, socket):
        role = town.service.roles["s1"]
        presence = registry_of(town).presence
        laptop = await town.login("ada")
        left_behind = ConnectionId("left-behind")  # its goodbye was lost
        generation: int = role.generation  # type: ignore[attr-defined]
        await presence.claim(
            ada.user,
            DeviceId(laptop.device),
            left_behind,
            session=hash_session_token(laptop.token),
            server=ServerId("s2"),
            generation=generation,
            rank=0,
        )
        push_url = await ada.allow()
        await socket.until("push_url")

        async def held() -> set[ServerId]:
            (holders,) = await presence.holders_of([ada.user])
            return {holder.server for holder in holders}

        async def only_here() -> bool:
            return await held() == {S1}

        await town.push(push_url["url"], {"body": "stored"})
        assert await bodies(socket, 1) == ["stored"]
        await eventually(only_here)


# --- a server that gives no answer -----------------------------------------------------------------------------------


class Wall:
    """Between router and server: takes calls and, while it stands, lets nothing through, or no answer."""

    def __init__(self, port: int, *, swallows: Literal["calls", "answers"]) -> None:
        """`port`: of the server's internal listener."""
        self._port = port
        self._swallows = swallows
        self.stands = True
        self.calls = 0

    async def serve(self, client: trio.SocketStream) -> None:
        async with client:
            try:
                server = await trio.open_tcp_stream("127.0.0.1", self._port)
            except OSError:
                return  # it has ended, and a router that suspected it asks it once more
            async with server:
                await self._pass_on(client, server)

    async def _pass_on(self, client: trio.SocketStream, server: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:

            async def back() -> None:
                with suppress(trio.BrokenResourceError):  # whoever called has given up
                    async for chunk in server:
                        if not (self.stands and self._swallows == "answers"):
                            await client.send_all(chunk)

            nursery.start_soon(back)
            with suppress(trio.BrokenResourceError):
                async for chunk in client:
                    self.calls += chunk.startswith(b"POST")
                    if not (self.stands and self._swallows == "calls"):
                        await server.send_all(chunk)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def behind_a_wall(config: Config, swallows: Literal["calls", "answers"]) -> AsyncIterator[tuple[Wall, Town]]:
    (port,) = free_ports(1)
    wall = Wall(port, swallows=swallows)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    config = by(config, "rpc")
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    config = replace(config, socket=replace(config.socket, rpc_listen=f"127.0.0.1:{port}", rpc_url=url))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, wall.serve, [listener], handler_nursery=nursery))
        async with running(config, sockets=1) as service, httpx.AsyncClient() as http:
            yield wall, Town(service, http)
        nursery.cancel_scope.cancel()


async def calls_that_were(town: Town, outcome: str) -> float:
    """The router's count of calls with this outcome."""
    text = (await town.http.get(f"{town.service.admin['router']}/metrics")).text
    return values(text).get(("pushctl_rpc_calls_total", (outcome,)), 0)


async def test_a_server_that_does_not_answer_is_suspected_reached_otherwise_and_asked_again(config: Config) -> None:
    async with behind_a_wall(config, "calls") as (wall, town), connected(town) as (ada, socket):
        push_url = await ada.allow()  # the first call: not answered, and what may come twice goes otherwise
        await socket.until("push_url")
        calls = wall.calls
        for n in range(50):
            await town.push(push_url["url"], {"body": f"{n}"})
        await town.push(push_url["url"], {"body": "now"}, TTL="0")
        assert set(await bodies(socket, 51)) == {*(str(n) for n in range(50)), "now"}
        assert wall.calls - calls < 10  # asked now and then, not hammered
        assert await jobs_that(town, "detoured") >= 52
        wall.stands = False

        async def answers_again() -> bool:
            before = await jobs_that(town, "detoured")
            await town.push(push_url["url"], {"body": "more"})
            await socket.until("message")
            return await jobs_that(town, "detoured") == before

        await eventually(answers_again)


async def test_what_a_server_may_have_taken_is_said_again_but_for_ttl_0(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This machine may stand still for a moment. The call is not given up then before the server has taken it; and the
    # message is not dropped as too late, not even by a router that counts that moment twice, since it had just asked
    # Redis for the time, and never takes it for earlier than it may be. Nor would it be, if it were said again.
    monkeypatch.setattr(caller_module, "ANSWER_SECONDS", 3.0)
    monkeypatch.setattr(jobs, "EPHEMERAL_MS", 10_000)
    async with behind_a_wall(config, "answers") as (wall, town), connected(town) as (ada, socket):

        async def answered() -> bool:
            return await calls_that_were(town, "answered") > 0

        async def given_up() -> bool:
            return await calls_that_were(town, "unanswered") > before

        wall.stands = False
        push_url = await ada.allow()  # the caller learns the server's clock: its next call is taken at once
        await socket.until("push_url")
        await eventually(answered)  # after the device was: else this call is given up, and the next waits until it is
        before = await calls_that_were(town, "unanswered")
        wall.stands = True
        assert (await town.push(push_url["url"], {"body": "now"}, TTL="0")).status_code == 201
        assert await bodies(socket, 1) == ["now"]
        await eventually(given_up)
        assert await socket.silent(1)
        await town.push(push_url["url"], {"body": "stored"})
        assert await bodies(socket, 1) == ["stored"]
