"""Redis is full, as docs/runbook.md tells it: everybody is refused with a word, nobody loses anything, it passes."""

from dataclasses import replace

import httpx
import pytest

from pushctl.checkup import examine_redis
from pushctl.config.model import Config, Redis
from pushctl.overview import gather
from pushctl.registry import open_registry
from pushctl.testing.service import running
from tests.redises.process import RedisProcess
from tests.scenario.people import Town, eventually

pytestmark = pytest.mark.slow


async def test_a_full_redis_refuses_everybody_and_keeps_what_it_has_and_connections(own_redis: RedisProcess) -> None:
    quick = replace(
        Config(),
        redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=2),
        socket=replace(Config().socket, reconcile_seconds=1),
    )
    async with (
        running(quick) as service,
        httpx.AsyncClient(timeout=30) as http,
        open_registry(service.config, name="operator") as registry,
    ):
        town = Town(service, http)
        phone = await town.login("ada")
        url = (await phone.allow())["url"]
        other = await phone.allow("https://other.example")
        async with phone.connected() as socket:
            await socket.synced()
            await town.push(url, {"body": "before"})
            await socket.until("message")

            own_redis.ask("CONFIG", "SET", "maxmemory", "500kb")
            refused = await town.push(url, {"body": "no room"})
            assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
            assert int(refused.headers["retry-after"]) >= 1
            # What frees memory is done.
            assert (await phone.ask("DELETE", f"/v1/push-urls/{other['id']}")).status_code == 204

            [memory] = [each for each in await examine_redis(registry, service.config) if each.check == "memory"]
            assert memory.verdict == "bad"

            async def all_dead() -> bool:
                return {server.state for server in (await gather(registry, service.config)).servers} == {"dead"}

            await eventually(all_dead)
            # The connection is still there: it answers.
            await socket.send({"type": "ping"})
            await socket.until("pong")

            own_redis.ask("CONFIG", "SET", "maxmemory", "0")

            async def taken() -> bool:
                return (await town.push(url, {"body": "after"})).status_code == 201

            await eventually(taken)
            assert (await socket.until("message"))["message"]["notification"]["body"] == "after"
        assert [message["notification"]["body"] for message in await phone.unread()] == ["before", "after"]
