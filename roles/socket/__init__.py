"""The socket server: holds connections, streams messages."""

from pushctl.config.model import Config
from pushctl.runtime import Role
from roles.socket.serve import SocketRole


def build(config: Config) -> Role:
    return SocketRole(config)
