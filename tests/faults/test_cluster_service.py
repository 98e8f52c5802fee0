"""A whole service on a Cluster that loses or freezes a master: others go on, and nobody is silently behind."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import trio

from pushctl.registry.keys import slot_of
from pushctl.testing.service import running
from tests.redises.cluster import RedisCluster
from tests.registry.people import impatient, in_thread
from tests.scenario.people import Closed, Frame, Person, Socket, Town, eventually

pytestmark = pytest.mark.alone

SERVERS_ON = slot_of("{servers}") * 3 // 16_384
"""Which of three masters holds the rows of the socket servers."""


def part_of(person: Person) -> int:
    """Which of three masters holds this user."""
    return slot_of(f"u:{person.user}") * 3 // 16_384


@dataclass
class Reader:
    """A connected device that follows the log as a client has to, and notes when each message came."""

    unread: dict[str, str] = field(default_factory=dict)
    """id -> body"""
    came: dict[str, float] = field(default_factory=dict)
    cursor: str | None = None
    closed: list[int] = field(default_factory=list)

    async def follow(self, socket: Socket) -> None:
        try:
            while True:
                try:
                    self._apply(await socket.receive())
                except trio.TooSlowError:
                    continue  # silence is no fault
        except Closed as closed:
            self.closed.append(closed.code)

    def _apply(self, frame: Frame) -> None:
        if frame["type"] == "sync":
            if frame["mode"] == "snapshot":
                self._snapshot = getattr(self, "_snapshot", {}) | self._add(frame["messages"])
                if frame["done"]:
                    self.unread = self._snapshot
                    del self._snapshot
            for event in frame.get("events", []):
                self._apply(event)
        elif frame["type"] == "message":
            self.unread |= self._add([frame["message"]])
        elif frame["type"] in ("read", "dropped"):
            for gone in frame["ids"]:
                self.unread.pop(gone, None)
        self.cursor = frame.get("cursor") or self.cursor

    def _add(self, messages: list[dict[str, Any]]) -> dict[str, str]:
        for message in messages:
            self.came.setdefault(message["notification"]["body"], time.monotonic())
        return {message["id"]: message["notification"]["body"] for message in messages}


@pytest.fixture
async def people(town: Town) -> list[tuple[Person, str]]:
    return await settle(town)


async def settle(town: Town) -> list[tuple[Person, str]]:
    """Six users with a push URL each, two on each master."""
    found: dict[int, list[tuple[Person, str]]] = {0: [], 1: [], 2: []}
    number = 0
    while min(map(len, found.values())) < 2:
        number += 1
        person = await town.login(f"user{number}")
        if len(found[part_of(person)]) < 2:
            found[part_of(person)].append((person, (await person.allow())["url"]))
    return [each for some in found.values() for each in some]


@pytest.fixture
async def town(own_cluster: RedisCluster) -> AsyncIterator[Town]:
    config = impatient(own_cluster.url, timeout_seconds=2)
    async with running(config) as service, httpx.AsyncClient(timeout=30) as http:
        yield Town(service, http)


@dataclass
class Load:
    """What came of posts: seconds until the answer, and until the device had it."""

    answers: list[float] = field(default_factory=list)
    deliveries: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        both = [
            f"{quantile(values, part) * 1000:.0f}" for values in (self.answers, self.deliveries) for part in (0.5, 0.99)
        ]
        return "POST p50 {} ms, p99 {} ms; delivery p50 {} ms, p99 {} ms".format(*both)


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(len(values) * part)]


async def load(town: Town, people: list[tuple[Person, str, Reader]], seconds: float, name: str) -> Load:
    """Each of these people is sent a message every 30 ms, by a site that waits for the answer."""
    result = Load()
    sent: dict[str, tuple[float, Reader]] = {}

    async def site(number: int, url: str, reader: Reader) -> None:
        for n in range(int(seconds / 0.03)):
            body, began = f"{name}-{number}-{n}", time.monotonic()
            answer = await town.push(url, {"body": body})
            if answer.status_code == 201:
                result.answers.append(time.monotonic() - began)
                sent[body] = began, reader
            else:
                result.refused.append(answer.status_code)
            await trio.sleep(max(0, 0.03 - (time.monotonic() - began)))

    async with trio.open_nursery() as nursery:
        for number, (_, url, reader) in enumerate(people):
            nursery.start_soon(site, number, url, reader)

    async def all_there() -> bool:
        return all(body in reader.came for body, (_, reader) in sent.items())

    with trio.fail_after(60):
        while not await all_there():  # noqa: ASYNC110
            await trio.sleep(0.05)
    result.deliveries = [reader.came[body] - began for body, (began, reader) in sent.items()]
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    "frozen",
    [
        pytest.param(SERVERS_ON, id="with-servers"),
        pytest.param((SERVERS_ON + 1) % 3, id="without", marks=pytest.mark.long),
    ],
)
async def test_one_frozen_master_of_three_leaves_the_others_users_alone(
    town: Town, people: list[tuple[Person, str]], own_cluster: RedisCluster, frozen: int
) -> None:
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        followed: list[tuple[Person, str, Reader]] = []
        for n, (person, url) in enumerate(people):
            socket = await stack.enter_async_context(person.connected(f"s{n % 2 + 1}"))
            reader = Reader()
            nursery.start_soon(reader.follow, socket)
            followed.append((person, url, reader))
        others = [each for each in followed if part_of(each[0]) != frozen]
        (_, url, _), *_ = [each for each in followed if part_of(each[0]) == frozen]
        before = await load(town, others, 3, "before")
        with own_cluster.masters[frozen].frozen():
            posts: list[httpx.Response] = []

            async def refused() -> None:
                posts.extend([await town.push(url, {"body": "to the frozen master"}) for _ in range(3)])

            nursery.start_soon(refused)
            during = await load(town, others, 8, "during")
            assert [post.status_code for post in posts] == [503] * 3
        print(f"before: {before}\nwhile frozen: {during}")
        assert during.refused == before.refused == []
        assert quantile(during.answers, 0.99) < 5 * quantile(before.answers, 0.99) + 0.05
        assert quantile(during.deliveries, 0.99) < 5 * quantile(before.deliveries, 0.99) + 0.05

        async def back() -> bool:
            return (await town.push(url, {"body": "thawed"})).status_code == 201

        await eventually(back)
        assert all(reader.closed == [] for _, _, reader in followed)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_socket_server_does_not_spin_while_a_master_is_dead(own_cluster: RedisCluster) -> None:
    config = impatient(own_cluster.url)
    config = replace(config, socket=replace(config.socket, reconcile_seconds=1))
    async with (
        running(config, sockets=1) as service,
        httpx.AsyncClient(timeout=30) as http,
        trio.open_nursery() as nursery,
        AsyncExitStack() as stack,
    ):
        for person, _ in await settle(Town(service, http)):
            socket = await stack.enter_async_context(person.connected("s1"))
            nursery.start_soon(Reader().follow, socket)
            await until(lambda socket=socket: any(frame["type"] == "sync" for frame in socket.frames))  # type: ignore[misc]
        own_cluster.masters[1].kill()
        await trio.sleep(1)  # everybody knows by now
        began = time.process_time()
        await trio.sleep(2)
        assert time.process_time() - began < 1
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_after_a_failover_that_lost_events_every_device_ends_with_what_the_log_holds(
    own_cluster_with_replicas: RedisCluster,
) -> None:
    cluster = own_cluster_with_replicas
    config = impatient(cluster.url)
    config = replace(config, socket=replace(config.socket, reconcile_seconds=5))
    async with running(config) as service, httpx.AsyncClient(timeout=30) as http, trio.open_nursery() as nursery:
        town = Town(service, http)
        laptop, phone = await town.login("ada"), await town.login("ada")
        url = (await laptop.allow())["url"]
        connected, offline = Reader(), Reader()
        async with laptop.connected("s1") as socket:
            nursery.start_soon(connected.follow, socket)
            await post(town, url, "kept")
            victim = part_of(laptop)
            await in_thread(cluster.cut_off, cluster.replicas[victim])
            lost = [await post(town, url, f"lost-{n}") for n in range(5)]
            late_url = (await laptop.allow("https://late.example"))["url"]
            await until(lambda: len(connected.unread) == 6)
            async with phone.connected("s2") as before:
                nursery.start_soon(offline.follow, before)
                await until(lambda: len(offline.unread) == 6)

            cluster.masters[victim].kill()
            killed_at = trio.current_time()
            await in_thread(cluster.until_promoted, cluster.replicas[victim])

            async def accepted() -> str | None:
                answer = await town.push(url, {"body": "new-0"}, Idempotency_Key="k")
                return answer.headers["Location"] if answer.status_code == 201 else None

            await eventually(accepted)
            print(f"accepted {trio.current_time() - killed_at:.1f} s after the kill")
            new = [await post(town, url, f"new-{n}") for n in range(1, 6)]
            assert len(new) == 5

            # What the old log knew says nothing of the new one.
            for location in lost:
                assert (await http.delete(service.api + location)).status_code == 404
            ids = [location.rsplit("/", 1)[1] for location in lost]
            assert (await laptop.ask("POST", "/v1/messages/read", {"ids": ids})).json() == {"read": 0}
            assert (await town.push(late_url, {"body": "to what the failover took back"})).status_code == 503

            truth = {message["id"]: message["notification"]["body"] for message in await laptop.unread()}
            assert sorted(truth.values()) == ["kept", *(f"new-{n}" for n in range(6))]
            await until(lambda: connected.unread == truth)
            with trio.fail_after(20):
                # This server may not know of the promoted master yet, and send it away with "come back".
                while offline.unread != truth:
                    async with phone.connected("s2", cursor=offline.cursor) as after:
                        with trio.move_on_after(1):
                            await offline.follow(after)
            await post(town, url, "last")
            await until(lambda: "last" in connected.unread.values())
            nursery.cancel_scope.cancel()


async def post(town: Town, url: str, body: str) -> str:
    """Its Location."""
    answer = await town.push(url, {"body": body})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


async def until(truth: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not truth():  # noqa: ASYNC110 - nobody here can be told
            await trio.sleep(0.02)
