"""Python's garbage collector, kept from stopping a process that holds much.

Owns: when what lives is put aside (gc.freeze), so that the collector does not walk through it again and again.
Promises: a full collection takes not much longer than LONG_SECONDS, however much lives; but for one in ALL_SECONDS,
which looks at everything, so that nothing is kept for good that was put aside and became garbage.
Must not know: what lives.

Almost everything here is freed without the collector, when nobody refers to it any more; being put aside changes
nothing about that. With ten thousand connections a full collection took more than a second, ten times while they came.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self

LONG_SECONDS: Final = 0.02
"""A full collection that took more CPU than this leaves aside what it found alive."""

ALL_SECONDS: Final = 3600.0


class Collector:
    """`begin` once a process is ready. Leaving the block gives Python's collector back as it was."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.thread_time
    ) -> None:
        """`cpu`: seconds that the calling thread ran."""
        self._clock = clock
        self._cpu = cpu
        self._began = 0.0
        self._looked_at_all = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)
        gc.unfreeze()

    @contextmanager
    def importing(self) -> Iterator[None]:
        """What modules make while they are imported stays, so it is not walked through again and again meanwhile: a
        fifth of the time that it takes."""
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            gc.enable()

    def begin(self) -> None:
        """What was made for the start, modules above all, stays as long as the process."""
        gc.collect()
        gc.freeze()
        self._looked_at_all = self._clock()
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: Mapping[str, int]) -> None:
        """Python calls this before and after each collection."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._look_at_all_if_due()
            self._began = self._cpu()
        elif self._cpu() - self._began > LONG_SECONDS:
            gc.freeze()

    def _look_at_all_if_due(self) -> None:
        now = self._clock()
        if now - self._looked_at_all >= ALL_SECONDS:
            self._looked_at_all = now
            gc.unfreeze()
