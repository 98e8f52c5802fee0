"""How a report is laid out: names and values, tables, sentences; at 80 columns, without boxes.

Owns: layout and colours. Promises: nothing that a client or a site wrote can move the cursor or change the colours.
Must not know: what is reported.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pushctl.client.foreign import printable
from pushctl.clock import parse_rfc3339
from pushctl.inspection.words import ago, when

_STYLES: Final = {
    **dict.fromkeys(("live", "ready", "acknowledged", "delivered", "read"), "green"),
    **dict.fromkeys(("dead", "revoked", "account_deleted"), "red"),
    **dict.fromkeys(("replaced", "evicted", "expired", "cancelled", "unknown", "draining", "not_ready"), "yellow"),
    **dict.fromkeys(("unheard", "waiting", "filtered", "snapshot"), "yellow"),
}
_NUMBERS: Final = ("seq", "acked", "behind", "unread", "bytes", "size", "gen", "no")
_LONG: Final = ("name", "site", "topic")
"""Columns that give way when there is no room for all."""


def print_report(report: Any, view: Callable[[Any], RenderableType] | None) -> None:
    """On stdout; without a view as JSON."""
    if view is None:
        print(msgspec.json.encode(report).decode(), flush=True)
        return
    console = Console(highlight=False, emoji=False)
    # Printed by Python, not by rich, which ends the process on a broken pipe (`| head`) in its own way.
    with console.capture() as screen:
        console.print(view(report))
    print("\n".join(line.rstrip() for line in screen.get().splitlines()).rstrip("\n"), flush=True)


class Now:
    """Moments as people say them, seen from one."""

    def __init__(self, at: str) -> None:
        self._ms = parse_rfc3339(at)

    def ago(self, at: str | None) -> str:
        return "-" if at is None else ago(self._ms - parse_rfc3339(at))

    def when(self, at: str | None) -> str:
        return "-" if at is None else when(parse_rfc3339(at) - self._ms)


def size(octets: int) -> str:
    if octets < 1024:
        return f"{octets} B"
    return f"{octets / 1024:,.1f} KiB" if octets < 2**20 else f"{octets / 2**20:,.1f} MiB"


def state(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def facts(title: str, *rows: tuple[str, str | Text | None]) -> RenderableType:
    """Names and values; what is None is left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            grid.add_row(name, value if isinstance(value, Text) else Text(printable(value)))
    return Group(Text(printable(title), style="bold"), grid, Text())


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> RenderableType:
    """A table under its title; one line when it has no rows."""
    rows = list(rows)
    if not rows:
        return Text(f"{title}: none\n", style="dim")
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        right = column in _NUMBERS
        drawn.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=column not in _LONG,
            overflow="fold",
            header_style="dim",
        )
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return Group(Text(title, style="bold"), drawn, Text())


def notes(sentences: Iterable[str]) -> RenderableType:
    """Sentences, wrapped behind their mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        grid.add_row(Text("·", style="yellow"), Text(printable(sentence)))
    return Group(grid, Text()) if grid.row_count else Text("", end="")
