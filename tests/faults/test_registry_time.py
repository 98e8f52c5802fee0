"""What a socket server takes for the registry's time is never behind it: TTL 0 would come too late."""

from dataclasses import replace
from typing import cast

from pushctl.config.model import Config
from pushctl.testing.service import running
from roles.socket.serve import SocketRole
from tests.conftest import RedisProcess
from tests.faults.proxy import Mode, proxy


def milliseconds(redis: RedisProcess) -> float:
    seconds, microseconds = redis.ask("TIME")
    return int(seconds) * 1000 + int(microseconds) / 1000


async def test_an_answer_that_was_long_on_its_way_does_not_put_the_registrys_clock_back(
    config: Config, redis_process: RedisProcess
) -> None:
    async with proxy(str(redis_process.path), b"") as between:
        config = replace(config, redis=replace(config.redis, url=between.url))
        async with running(config, sockets=1, without=("router", "gc")) as service:
            server = cast(SocketRole, service.roles["s1"])
            between.delay_seconds = 0.4
            await between.strike(Mode.DELAY)
            await server.heart.beat_once()
            between.heal()
            before = milliseconds(redis_process)
            assert server.heart.registry_now_ms() >= before
