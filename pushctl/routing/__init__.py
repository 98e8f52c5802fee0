"""From a job to the socket servers that hold its user, and the socket server's end of it."""

from pushctl.config.model import Config
from pushctl.registry import Registry
from pushctl.routing.channel import ChannelStrategy
from pushctl.routing.strategy import Picture, Strategy


def choose(config: Config, registry: Registry, picture: Picture) -> Strategy:
    """The strategy that `routing.strategy` names."""
    strategies = {"channel": ChannelStrategy}
    return strategies[config.routing.strategy](registry, picture)
