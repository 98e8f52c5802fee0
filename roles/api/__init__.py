"""The api role: the client API and the third-party API."""

from pushctl.config.model import Config
from roles.api.serve import ApiRole


def build(config: Config) -> ApiRole:
    """The role, not yet running. Raises ConfigError."""
    return ApiRole(config)
