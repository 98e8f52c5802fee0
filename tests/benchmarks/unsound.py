"""What was measured is not what was to be measured: how a benchmark says so, and ends.

Owns: the exit code. Must not know: what is measured.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

UNSOUND_EXIT = 3


class Unsound(Exception):
    """Something was lost, or happened that should not."""


def or_exit(measure: Callable[[], T]) -> T:
    """What was measured; without that the program ends, with the reasons and 3."""
    measured: T | None = None
    try:
        measured = measure()
    except* Unsound as group:
        print("".join(f"\nunsound: {problem}" for problem in _leaves(group)), file=sys.stderr)
    if measured is None:
        sys.exit(UNSOUND_EXIT)
    return measured


def _leaves(group: BaseExceptionGroup[Unsound]) -> Iterator[Unsound]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
