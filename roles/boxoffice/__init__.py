"""The Box Office: tells clients which socket servers to try."""

from pushctl.config.model import Config
from roles.boxoffice.serve import BoxOfficeRole


def build(config: Config) -> BoxOfficeRole:
    """The role, not yet running. Raises ConfigError."""
    return BoxOfficeRole(config)
