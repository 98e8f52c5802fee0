"""The router: from job streams to socket servers."""

from pushctl.config.model import Config
from pushctl.runtime import Role
from roles.router.serve import RouterRole


def build(config: Config) -> Role:
    return RouterRole(config)
