"""How `pushctl keys` shows where keys stand, and a walk over all of Redis.

Owns: the look. Must not know: how it is found out.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pushctl.cli import fitted
from pushctl.client.events import json_line
from pushctl.client.foreign import printable
from pushctl.rotation import KeyStatus


def show(rows: Sequence[KeyStatus], as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json_line(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("key", "id", "state", "seals in", "has it", "lacks it", "used until"):
        table.add_column(head, no_wrap=head in ("key", "id", "used until"))
    counted = any(row.push_urls is not None for row in rows)
    if counted:
        table.add_column("push URLs", justify="right")
    for row in rows:
        cells = [
            row.kind,
            row.id,
            row.state,
            str(len(row.sealing_roles)) if row.kind == "sealing" else "",
            str(len(row.roles_with)),
            str(len(row.roles_without)),
            _to_the_minute(row.used_until),
        ]
        table.add_row(*cells, *([f"{row.push_urls:,}" if row.push_urls is not None else ""] if counted else []))
    console = Console()
    # Printed by Python, not by rich, which ends the process on a broken pipe (`| head`) in its own way.
    with console.capture() as screen:
        console.print(table)
    print("\n".join(line.rstrip() for line in screen.get().splitlines()))
    for row in rows:
        if row.roles_without:
            print(fitted(f"! {row.id} is lacking in {printable(', '.join(row.roles_without))}", sys.stdout))


def _to_the_minute(at: str | None) -> str:
    """UTC. A moment in full takes the room of a key's name."""
    return f"{at[:10]} {at[11:16]}Z" if at else "-"


@contextmanager
def walking(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on a stderr that is a terminal; what it gives is told how much is done, 0 to 1."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
