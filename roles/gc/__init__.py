"""Garbage collection: what has expired goes."""

from pushctl.config.model import Config
from pushctl.runtime import Role
from roles.gc.once import run_once
from roles.gc.serve import GcRole

__all__ = ["build", "run_once"]


def build(config: Config) -> Role:
    return GcRole(config)
