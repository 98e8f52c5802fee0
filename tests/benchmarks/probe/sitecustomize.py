"""Python runs this at the start of every process that has this folder on its path: how long its garbage collector stops
it, into the file that GC_PAUSES names.

A line for each full collection: its milliseconds of CPU, so that others who use the machine make none longer.
Promises: the process is otherwise as it would be.
"""

import gc
import os
import time

_began = 0


def _note(phase: str, info: dict[str, int]) -> None:
    global _began
    if phase == "start":
        _began = time.thread_time_ns()
    elif info["generation"] == 2:
        _file.write(f"{(time.thread_time_ns() - _began) / 1e6:.3f}\n")


if "GC_PAUSES" in os.environ:
    # Not inherited by what this process may start.
    _file = open(os.environ.pop("GC_PAUSES"), "w", buffering=1)  # noqa: SIM115 - as long as the process lives
    gc.callbacks.append(_note)
