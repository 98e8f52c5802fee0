"""Waiting for what only Redis knows and tells nobody: asked again and again, with a ceiling."""

import time
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import RedisError

T = TypeVar("T")


def until(truth: Callable[[], T], what: str, *, seconds: float = 30) -> T:
    """The first true answer. A Redis that does not answer, or refuses, is a no. Fails after `seconds`, saying `what`
    did not come about and what the last answer was."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            if answer := truth():
                return answer
            last = answer
        except (OSError, RedisError) as error:
            last = error
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds:g} s: {what} (last: {last!r})")
