"""The heartbeat of a socket server whose Redis is slow."""

from types import SimpleNamespace
from typing import cast

import trio
from trio.testing import MockClock

from pushctl.errors import StoreUnavailable
from pushctl.liveness import PATIENCE_SECONDS, Liveness
from pushctl.log import get_logger
from roles.socket.heart import QUIET_SECONDS, Heart
from roles.socket.serve import SocketRole


async def test_a_redis_slower_than_silence_makes_no_heart_stand(autojump_clock: MockClock) -> None:
    async def heartbeat(*_: object) -> None:
        await trio.sleep(QUIET_SECONDS + 1)
        raise StoreUnavailable("no answer in time")

    servers = SimpleNamespace(heartbeat=heartbeat)
    role = SimpleNamespace(id="s1", row=lambda: None, registry=SimpleNamespace(servers=servers), log=get_logger())
    heart, liveness = Heart(cast(SocketRole, role), after_silence=lambda: None), Liveness()
    async with trio.open_nursery() as nursery:
        liveness.watch(heart.loop)
        nursery.start_soon(liveness.run)
        nursery.start_soon(heart.beat)
        await trio.sleep(3 * PATIENCE_SECONDS)
        assert liveness.stuck() == []
        nursery.cancel_scope.cancel()
    del autojump_clock
