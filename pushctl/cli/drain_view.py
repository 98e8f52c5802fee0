"""How `pushctl drain` shows its way: a bar for a terminal, a line now and then for a log, JSON lines for a program.

Owns: the look. Must not know: how it is found out.
"""

import sys
import time
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from pushctl import emptying
from pushctl.cli import fitted
from pushctl.client.events import json_line

LINE_SECONDS: Final = 10.0
"""Between two lines on a stderr that is no terminal."""


class DrainView:
    """A context manager: whatever ends the block, the terminal is left as it was."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._began = self._said_at = time.monotonic()
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, left="")
        self._is_terminal = console.is_terminal

    def __enter__(self) -> "DrainView":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, progress: emptying.Progress) -> None:
        if self._as_json:
            print(json_line(progress), flush=True)
        self._show_way(progress)
        if progress.is_over:
            self._bar.stop()
            if not self._as_json:
                print(fitted(in_words(progress, time.monotonic() - self._began), sys.stdout), flush=True)

    def _show_way(self, progress: emptying.Progress) -> None:
        left = f"{progress.connections:,} of {progress.began_with:,} connections left"
        if self._is_terminal:
            total = progress.began_with or 1
            self._bar.update(
                self._task,
                description=f"{progress.server} {progress.state}",
                total=total,
                completed=max(0, total - progress.connections),
                left=left,
            )
            self._bar.refresh()
        elif not progress.is_over and time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            print(f"pushctl: {progress.server} {progress.state}: {left}", file=sys.stderr)


def in_words(progress: emptying.Progress, seconds: float) -> str:
    """The result, for a person."""
    if progress.state == "left":
        return f"{progress.server} has left: its process ended"
    took = f"after {seconds:.0f} s" if progress.began_with else "it had no connections"
    return f"{progress.server} is empty, {took}; it takes nobody until `pushctl undrain {progress.server}` or a restart"
