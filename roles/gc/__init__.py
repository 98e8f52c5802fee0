"""Garbage collection: what has expired goes."""

from pushctl.config.model import Config
from pushctl.runtime import Role
from roles.gc.serve import GcRole, run_once

__all__ = ["build", "run_once"]


def build(config: Config) -> Role:
    return GcRole(config)
