"""`pushctl stats` against a running service: numbers that agree, a layout that fits, exit codes that can be trusted."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import trio
from rich.console import Console

from pushctl.cli.stats_view import render, routing_warnings, warnings
from pushctl.config.model import Config
from pushctl.ids import UserId
from pushctl.overview import SECTIONS, Overview, gather
from pushctl.registry import open_registry
from roles.gc import run_once
from tests.json_lines import valid_json_lines
from tests.scenario.people import Town

PUSHCTL = str(Path(sys.executable).with_name("pushctl"))


async def stats(config: Config, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PUSHCTL_REDIS__URL": config.redis.url, "PUSHCTL_REDIS__PREFIX": config.redis.prefix}
    with trio.fail_after(30):
        return await trio.run_process(
            [PUSHCTL, "stats", *arguments], capture_stdout=True, capture_stderr=True, check=False, env=environment
        )


async def overview_of(town: Town) -> Overview:
    async with open_registry(town.service.config, name="test") as registry:
        return await gather(registry, town.service.config)


async def test_the_numbers_are_the_services_own(town: Town) -> None:
    ada, bob = await town.login("ada"), await town.login("bob")
    push_url = await ada.allow()
    await town.push(push_url["url"], {"body": "one"})
    async with ada.connected("s1") as on_ada, bob.connected("s2") as on_bob:
        await on_ada.synced()
        await on_bob.synced()
        await run_once(town.service.config)
        with trio.fail_after(10):
            while (overview := await overview_of(town)).connections < 2:  # noqa: ASYNC110 - heartbeats come every 2 s
                await trio.sleep(0.1)
        assert [(server.id, server.state, server.connections) for server in overview.servers] == [
            ("s1", "ready", 1),
            ("s2", "ready", 1),
        ]
        assert overview.users is not None
        assert (overview.users.users, overview.users.devices, overview.users.push_urls) == (2, 2, 1)
        assert overview.users.connected == 2
        assert overview.messages is not None
        assert overview.messages.unread == 1
        assert overview.routing.partitions[0].routers == 1
        done = await stats(town.service.config, "--json")
        assert done.returncode == 0, done.stderr
        (line,) = valid_json_lines("stats", done.stdout.decode())
        assert line["users"]["users"] == 2
        assert line["connections"] == 2
        for section in SECTIONS:
            done = await stats(town.service.config, section, "--json")
            (line,) = valid_json_lines("stats", done.stdout.decode())
            assert set(line) == {"at", section}


async def test_every_section_fits_80_columns_and_no_url_is_cut(town: Town) -> None:
    overview = await overview_of(town)
    url = "wss://" + "very-long-name." * 10 + "example/"
    crowded = [msgspec.structs.replace(server, url=url, connections=9_500) for server in overview.servers]
    busy = [
        msgspec.structs.replace(part, length=100_000, bytes=67_108_864, pending=25_600, lag_ms=86_000_000, routers=100)
        for part in overview.routing.partitions
    ]
    held = [
        msgspec.structs.replace(router, partitions=1024, pending=25_600, idle_ms=86_000_000)
        for router in overview.routing.routers
    ]
    routing = msgspec.structs.replace(overview.routing, partitions=busy, routers=held)
    for shown in (overview, msgspec.structs.replace(overview, servers=crowded, routing=routing)):
        screen = io.StringIO()
        Console(width=80, file=screen).print(render(shown))
        text = screen.getvalue()
        assert max(len(line) for line in text.splitlines()) <= 80
        assert all(server.url in "".join(text.split()) for server in shown.servers)
        for word in ("s1", "ready", "total", "Routing", "Routers", "Redis"):
            assert word in text


async def test_every_router_says_what_it_runs_and_what_it_holds(town: Town) -> None:
    async with open_registry(town.service.config, name="test") as registry:
        routing = (await gather(registry, town.service.config)).routing
        (router,) = routing.routers
        assert (router.strategy, router.partitions, router.pending) == ("channel", 1, 0)
        assert router.name.startswith("channel-")
        assert routing_warnings(await gather(registry, town.service.config)) == []
        # Whoever else reads along is shown, too.
        ada = UserId("ada")
        for name in ("somebody", "rpc-like-a-router"):
            await registry.jobs.join(name, registry.jobs.partition_of(ada))
        routing = (await gather(registry, town.service.config)).routing
    assert {each.name: each.strategy for each in routing.routers} == {
        router.name: "channel",
        "somebody": "",
        "rpc-like-a-router": "rpc",
    }
    assert routing.partitions[0].routers == 3


async def test_what_is_wrong_with_routing_is_said_in_words(town: Town) -> None:
    overview = await overview_of(town)

    def said(**changes: object) -> list[str]:
        """Of the only partition, or the only router, with these changes."""
        part, router = overview.routing.partitions[0], overview.routing.routers[0]
        names = {each: changes[each] for each in changes if hasattr(part, each)}
        others = {each: changes[each] for each in changes if each not in names}
        routing = msgspec.structs.replace(
            overview.routing,
            partitions=[msgspec.structs.replace(part, **names)],
            routers=[msgspec.structs.replace(router, name="r", **others)],
        )
        return routing_warnings(msgspec.structs.replace(overview, routing=routing))

    assert said() == []
    assert said(routers=0) == ["no router reads partition 0; start one with `pushctl serve router`"]
    assert said(length=1, lag_ms=5000) == ["jobs of partition 0 wait for 5s"]
    assert said(idle_ms=20_000) == ["r was not seen at work for 20s"]
    assert said(strategy="broadcast") == ["r runs broadcast, the configuration here says otherwise"]


async def test_what_is_wrong_is_said_in_words(town: Town) -> None:
    overview = await overview_of(town)
    server = overview.servers[0]
    late = msgspec.structs.replace(server, seen_ms_ago=5000)
    full = msgspec.structs.replace(server, connections=server.capacity)
    assert warnings([late]) == ["s1 has not been seen for 5s"]
    assert warnings([full]) == ["s1 is almost full"]
    assert warnings([server]) == []
    assert "no socket server" in warnings([])[0]


async def test_expect_is_a_check_for_scripts(town: Town) -> None:
    assert (await stats(town.service.config, "servers", "--expect", "2")).returncode == 0
    missing = await stats(town.service.config, "servers", "--expect", "3")
    assert missing.returncode == 3
    assert b"2 socket servers live, 3 were expected" in missing.stderr
    assert (await stats(town.service.config, "unheard-of")).returncode == 2
    nowhere = replace(town.service.config, redis=replace(town.service.config.redis, url="unix:///nowhere.sock"))
    away = await stats(nowhere, "--set", "redis.connect_seconds=0.2")
    assert away.returncode == 5
    assert away.stdout == b""
    assert b"Start it, or set [redis] url" in away.stderr
