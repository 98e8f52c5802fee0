"""`pushctl stats` against a running service: numbers that agree, a layout that fits, exit codes that can be trusted."""

import io
from dataclasses import replace

import msgspec
import trio
from rich.console import Console

from pushctl.cli.stats.table import Look
from pushctl.cli.stats.view import render
from pushctl.config.model import Config
from pushctl.ids import UserId
from pushctl.overview import SECTIONS, Overview, gather, part_of
from pushctl.registry import open_registry
from pushctl.testing.service import running
from roles.gc import run_once
from tests.json_lines import valid_json_lines
from tests.scenario.people import Town
from tests.unit.cli.commands import Ran, pushctl


async def stats(config: Config, *arguments: str) -> Ran:
    redis = ("--set", f"redis.url={config.redis.url}", "--set", f"redis.prefix={config.redis.prefix}")
    return await pushctl("stats", *arguments, *redis)


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
        assert done.code == 0, done.err
        (line,) = valid_json_lines("stats", done.out)
        assert line["users"]["users"] == 2
        assert line["connections"] == 2
        done = await stats(town.service.config, "servers", "--json")
        (line,) = valid_json_lines("stats", done.out)
        assert set(line) == {"at", "connections", "servers", "roles", "warnings", "unknown"}
    assert set(part_of(overview, None)) == set().union(*(part_of(overview, section) for section in SECTIONS))


async def test_every_section_fits_its_columns_and_no_url_is_cut(town: Town) -> None:
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
        for width in (80, 100, 120):
            text = printed(shown, Look(width=width))
            for word in ("s1", "ready", "total", "Routing", "Routers", "Redis"):
                assert word in text
            text = "".join(printed(shown, Look("servers", width)).split())
            assert all(server.url in text for server in shown.servers)


def printed(overview: Overview, look: Look) -> str:
    screen = io.StringIO()
    Console(width=look.width, file=screen).print(render(overview, look))
    text = screen.getvalue()
    assert max(map(len, text.splitlines())) <= look.width
    return text


async def test_every_router_says_what_it_runs_and_what_it_holds(town: Town) -> None:
    async with open_registry(town.service.config, name="test") as registry:
        routing = (await gather(registry, town.service.config)).routing
        (router,) = routing.routers
        assert (router.strategy, router.partitions, router.pending) == ("channel", 1, 0)
        assert router.name.startswith("channel-")
        assert not [
            notice for notice in (await gather(registry, town.service.config)).warnings if "outing" in notice.section
        ]
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


def told(overview: Overview) -> bool:
    """What passes by is known."""
    return overview.messages.stored_per_second > 0 < overview.messages.written_per_second


def ready(overview: Overview) -> bool:
    return all(role.state == "ready" for role in overview.roles)


async def test_every_process_is_there_with_its_age_and_what_it_is_busy_with(town: Town) -> None:
    ada = await town.login("ada")
    push_url = await ada.allow()
    async with ada.connected("s1") as on_ada:
        await on_ada.synced()
        with trio.fail_after(15):
            overview = await overview_of(town)
            while not (told(overview) and ready(overview)):
                await town.push(push_url["url"], {"body": "one"})
                await trio.sleep(0.3)
                overview = await overview_of(town)
    assert [role.role for role in overview.roles] == ["api", "boxoffice", "gc", "router"]
    assert all(role.seen_ms_ago <= 12_000 for role in overview.roles)
    (api, *_) = overview.roles
    assert api.per_second["stored"] > 0
    assert api.rss_bytes > 10_000_000
    served, idle = (server.load for server in overview.servers)
    assert served is not None
    assert idle is not None
    assert served.written_per_second > idle.written_per_second == 0
    assert all(abs(server.clock_ahead_ms) < 3000 for server in overview.servers if server.clock_ahead_ms is not None)


async def test_a_role_that_stops_is_gone_at_once_and_a_drained_service_has_nobody(config: Config) -> None:
    async with running(config, sockets=1) as service:
        pass
    async with open_registry(service.config, name="test") as registry:
        overview = await gather(registry, service.config)
    assert (overview.servers, overview.roles) == ([], [])
    assert overview.warnings[0].text.startswith("no socket server has been seen")


async def test_expect_is_a_check_for_scripts(town: Town) -> None:
    assert (await stats(town.service.config, "servers", "--expect", "2")).code == 0
    missing = await stats(town.service.config, "servers", "--expect", "3")
    assert missing.code == 3
    assert "2 socket servers live, 3 were expected" in missing.err
    assert (await stats(town.service.config, "unheard-of")).code == 2
    assert (await stats(town.service.config, "--prom", "--json")).code == 2
    nowhere = replace(town.service.config, redis=replace(town.service.config.redis, url="unix:///nowhere.sock"))
    away = await stats(nowhere, "--set", "redis.connect_seconds=0.2")
    assert away.code == 5
    assert away.out == ""
    assert "Start it, or set [redis] url" in away.err
