"""From a job to the socket servers that hold its user, and the socket server's end of it.

strategy.py is the interface; rpc.py, channel.py and broadcast.py are the strategies; receive.py is the other end.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from pushctl.config.model import Config
from pushctl.errors import ConfigError
from pushctl.identity.peers import PeerKeys
from pushctl.metrics import RpcMetrics
from pushctl.registry import Registry
from pushctl.routing.broadcast import BroadcastStrategy
from pushctl.routing.channel import ChannelStrategy
from pushctl.routing.lookup import Lookup
from pushctl.routing.picture import Picture
from pushctl.routing.rpc import open_rpc
from pushctl.routing.strategy import Strategy


@asynccontextmanager
async def open_strategy(
    config: Config, registry: Registry, judge: str, peers: PeerKeys | None, metrics: RpcMetrics | None = None
) -> AsyncIterator[Strategy]:
    """The strategy that `routing.strategy` names, with all it needs, for as long as the block lasts. `judge`: the name
    under which it judges who lives. `peers`: what rpc signs its calls with; without it there is no rpc (ConfigError).
    `metrics`: of the calls.
    """
    if config.routing.strategy == "broadcast":
        yield BroadcastStrategy(registry)
        return
    lookup = Lookup(registry, Picture(registry, judge))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lookup.picture.keep)
        if config.routing.strategy == "channel":
            yield ChannelStrategy(registry, lookup)
        elif peers is None:
            raise ConfigError(["identity.keys_file: required by routing.strategy = rpc"])
        else:
            async with open_rpc(registry, lookup, peers, metrics) as strategy:
                yield strategy
        nursery.cancel_scope.cancel()
