"""How `pushctl keys` shows where keys stand, and a walk over all of Redis.

Owns: the look. Must not know: how it is found out.
"""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pushctl.client.events import json_line
from pushctl.client.foreign import printable
from pushctl.rotation import KeyStatus


def show(rows: Sequence[KeyStatus], as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json_line(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("KIND", "ID", "STATE", "SEALS IN", "ROLES WITH IT", "LACKING IN", "USED UNTIL"):
        table.add_column(head)
    counted = any(row.push_urls is not None for row in rows)
    if counted:
        table.add_column("PUSH URLS", justify="right")
    for row in rows:
        cells = [
            row.kind,
            row.id,
            row.state,
            str(len(row.sealing_roles)) if row.kind == "sealing" else "",
            str(len(row.roles_with)),
            printable(", ".join(row.roles_without)) or "-",
            row.used_until or "-",
        ]
        table.add_row(*cells, *([f"{row.push_urls:,}" if row.push_urls is not None else ""] if counted else []))
    Console(soft_wrap=True).print(table)


class Walking:
    """A bar on a stderr that is a terminal."""

    def __init__(self, what: str) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=1.0)

    def share(self, done: float) -> None:
        self._bar.update(self._task, completed=done)

    def __enter__(self) -> "Walking":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
