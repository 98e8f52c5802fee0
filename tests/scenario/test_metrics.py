"""What Prometheus is told while a real service works: each number moves with the fact that it stands for."""

import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import httpx
import pytest

from pushctl.config.model import Config
from pushctl.testing.service import running
from tests.metrics import helps, values
from tests.scenario.mozilla_peer import Browser
from tests.scenario.people import Person, Town, eventually

ROLES = ("api", "router", "s1", "s2", "gc", "boxoffice")


class Meters:
    """How far the numbers of a running service have moved since the last look."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._before: dict[str, dict[tuple[str, tuple[str, ...]], float]] = {}

    async def text(self, role: str) -> str:
        return (await self._town.http.get(f"{self._town.service.admin[role]}/metrics")).text

    async def all(self, role: str) -> dict[tuple[str, tuple[str, ...]], float]:
        return values(await self.text(role))

    async def reset(self) -> None:
        self._before = {role: await self.all(role) for role in ROLES}

    async def moved(self, role: str, name: str, *labels: str) -> float:
        """By how much; of a histogram name it `_count`."""
        key = (f"pushctl_{name}", labels)
        return (await self.all(role)).get(key, 0) - self._before[role].get(key, 0)

    async def has_sampled_its_loop(self, role: str) -> bool:
        """It does so once a second."""
        return (await self.all(role))["pushctl_loop_lag_seconds_count", ()] > 0

    async def comes(self, wanted: float, role: str, name: str, *labels: str) -> None:
        """To have moved by so much, exactly."""

        async def there() -> bool:
            return await self.moved(role, name, *labels) >= wanted

        await eventually(there)
        assert await self.moved(role, name, *labels) == wanted, (role, name, labels)


@pytest.fixture
async def town(config: Config, slow_to_suspect: None) -> AsyncIterator[Town]:
    # Nothing but hints and syncs brings anything.
    config = replace(
        config,
        socket=replace(config.socket, reconcile_seconds=3600),
        routing=replace(config.routing, strategy="rpc"),
    )
    async with running(config) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


@pytest.fixture
def meters(town: Town) -> Meters:
    return Meters(town)


async def test_every_stage_and_both_latencies_count_each_delivery_once(town: Town, meters: Meters) -> None:
    laptop, phone, tablet = [await town.login("ada") for _ in range(3)]
    push_url = await laptop.allow()
    async with laptop.connected("s1") as one, phone.connected("s2") as other:
        for socket in (one, other):
            await socket.synced()
        await meters.reset()
        for n in range(3):
            assert (await town.push(push_url["url"], {"body": f"{n}"})).status_code == 201
        assert (await town.push(push_url["url"], {"body": "now"}, TTL="0")).status_code == 201
        for socket in (one, other):
            shown = [await socket.until("message") for _ in range(4)]
            # First part of them, then the rest: each is counted when it is acknowledged. TTL 0 needs no word.
            stored = [frame["cursor"] for frame in shown if frame["cursor"]]
            for cursor in (stored[0], stored[2]):
                await socket.send({"type": "ack", "cursor": cursor})
        await meters.comes(4, "api", "messages_total", "received")
        await meters.comes(3, "api", "messages_total", "stored")
        await meters.comes(4, "api", "accept_seconds_count")
        await meters.comes(4, "api", "http_seconds_count", "/push/{token}")
        await meters.comes(4, "router", "messages_total", "routed")
        await meters.comes(4, "router", "jobs_total", "handed_over", "rpc")
        await meters.comes(4, "router", "job_seconds_count", "rpc")
        for server in ("s1", "s2"):
            await meters.comes(4, server, "messages_total", "written")
            await meters.comes(4, server, "delivery_seconds_count", "hint")
            await meters.comes(0, server, "delivery_seconds_count", "log")
            await meters.comes(3, server, "messages_total", "acknowledged")
            await meters.comes(3, server, "acknowledge_seconds_count")
        # All of them were here within seconds: the clock that says so is the one that the messages bear.
        assert await meters.moved("s1", "delivery_seconds_bucket", "10.0", "hint") == 4
        for role in ROLES:
            await eventually(partial(meters.has_sampled_its_loop, role))
        calls = await meters.moved("router", "rpc_calls_total", "answered")
        assert calls == await meters.moved("router", "rpc_seconds_count") > 0
        assert calls == sum([await meters.moved(server, "hints_heard_total", "rpc") for server in ("s1", "s2")])
        ids = [frame["message"]["id"] for frame in shown if frame["cursor"]]
        await one.send({"type": "read", "ids": ids[:1]})
        await meters.comes(1, "s1", "messages_total", "read")
        await meters.reset()
        async with tablet.connected("s1") as late:
            await late.synced()
            await meters.comes(2, "s1", "delivery_seconds_count", "sync")
            await meters.comes(2, "s1", "messages_total", "written")


async def test_all_pages_of_a_snapshot_count(config: Config) -> None:
    config = replace(config, socket=replace(config.socket, page_bytes=4096))
    async with running(config) as service, httpx.AsyncClient() as http:
        town = Town(service, http)
        meters = Meters(town)
        phone = await town.login("ada")
        push_url = await phone.allow()
        for n in range(5):
            assert (await town.push(push_url["url"], {"body": f"{n}" * 2000})).status_code == 201
        await meters.reset()
        async with phone.connected("s1") as socket:
            pages = await socket.synced()
            assert len(pages) > 2
            await socket.send({"type": "ack", "cursor": pages[-1]["cursor"]})
            await meters.comes(5, "s1", "messages_total", "acknowledged")
        assert await meters.moved("s1", "messages_total", "written") == 5
        assert await meters.moved("s1", "delivery_seconds_count", "sync") == 5
        assert await meters.moved("s1", "acknowledge_seconds_count") == 5


async def test_a_browsers_messages_are_timed_too(town: Town, meters: Meters) -> None:
    browser = Browser(town.service.sockets["s1"])
    async with browser.connected() as talk:
        endpoint = await browser.subscribe(talk)
        await meters.reset()
        for ttl in ("60", "60", "0"):
            answer = await town.http.post(endpoint, headers={"TTL": ttl})
            assert answer.status_code == 201
            notification = await talk.notification()
            await talk.ack(notification)
        await meters.comes(3, "s1", "messages_total", "written")
        await meters.comes(2, "s1", "delivery_seconds_count", "log")
        await meters.comes(1, "s1", "delivery_seconds_count", "hint")
        await meters.comes(2, "s1", "messages_total", "acknowledged")
        await meters.comes(2, "s1", "acknowledge_seconds_count")


async def test_refusals_problems_and_closes_have_their_words(town: Town, meters: Meters) -> None:
    phone = await town.login("ada")
    await meters.reset()
    await town.http.post(f"{town.service.api}/push/nonsense", headers={"TTL": "5"})
    await phone.ask("GET", "/v1/messages?limit=0")
    await meters.comes(1, "api", "problems_total", "push_url_unknown")
    await meters.comes(1, "api", "problems_total", "query_invalid")
    async with phone.connected("s1", hello={"cursor": "nonsense", "token": "nobody"}) as socket:
        assert await socket.close_code() == 4501
    await meters.comes(1, "s1", "closes_total", "4501")


async def test_the_link_counts_what_it_asks_and_what_it_is_told(town: Town, meters: Meters) -> None:
    role = town.service.roles["s1"]
    link = role.registry.link  # type: ignore[attr-defined]  # the socket role's
    await meters.reset()
    await link.ask("PING")
    assert await meters.moved("s1", "redis_seconds_count", "quick") >= 1
    assert await meters.moved("s1", "redis_commands_total", "quick") >= 1
    with pytest.raises(Exception, match="refused"):
        await link.ask("GET")
    assert await meters.moved("s1", "redis_error_replies_total", "ERR") == 1
    assert await meters.moved("s1", "redis_failures_total", "refused") == 1
    found = await meters.all("s1")
    connected = {labels: value for (name, labels), value in found.items() if name == "pushctl_redis_connected"}
    assert {labels[0]: value for labels, value in connected.items()} == {"quick": 1, "bulk": 1}


async def brought_something(town: Town) -> Person:
    """Whose device had a message brought."""
    phone = await town.login("ada")
    push_url = await phone.allow()
    async with phone.connected("s1") as socket:
        await socket.synced()
        await town.push(push_url["url"], {"body": "hello"})
        await socket.until("message")
    return phone


async def test_a_role_shows_nothing_that_it_never_sets(town: Town, meters: Meters) -> None:
    phone = await brought_something(town)
    headers = {"Authorization": f"Bearer {phone.token}"}
    await town.http.get(f"{town.service.boxoffice}/v1/servers", headers=headers)
    await town.http.post(f"{town.service.api}/push/nonsense")
    silent = {"pushctl_redis_wait_seconds"}  # nobody waits for replicas here
    words_to_come = {"pushctl_closes_total", "pushctl_refusals_total", "pushctl_problems_total"}
    backlog = {"pushctl_job_backlog", "pushctl_job_backlog_bytes", "pushctl_job_lag_seconds"}  # every five seconds
    for role in ROLES:
        text = await meters.text(role)
        samples = {name for name, _ in values(text)}
        missing = (
            {name for name in helps(text) if not samples & {name, f"{name}_count"}} - silent - words_to_come - backlog
        )
        assert not missing, role
    assert "pushctl_connections" not in helps(await meters.text("api"))


async def test_a_role_is_ready_by_its_metrics_too(town: Town, meters: Meters) -> None:
    for role in ROLES:

        async def ready(role: str = role) -> bool:
            return (await meters.all(role))["pushctl_ready", ()] == 1

        await eventually(ready)


@pytest.mark.debian
async def test_promtool_finds_nothing_to_say(town: Town, meters: Meters) -> None:
    await brought_something(town)
    for role in ROLES:
        text = await meters.text(role)
        done = subprocess.run(  # noqa: ASYNC221 - a moment
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), role
