"""The running services of tests/scenario, for these tests, too."""

from tests.scenario.conftest import office, town

__all__ = ["office", "town"]
