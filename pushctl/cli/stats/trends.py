"""What `pushctl stats --watch` has seen since it began, as small lines over time.

Owns: which figures have a line. Promises: remembers MAX_TICKS looks, no more. Must not know: how a figure is gathered.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pushctl.cli.stats.table import Look
from pushctl.cli.stats.words import figure, lag, octets, sparkline
from pushctl.overview import Overview

MAX_TICKS: Final = 240


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    sections: tuple[str, ...]
    number: Callable[[Overview], float]
    spell: Callable[[float], str] = figure


_LINES: Final = (
    _Line("connections", ("servers",), lambda look: look.connections),
    _Line(
        "new connections/s", ("servers",), lambda look: sum(s.load.arrivals_per_second for s in look.servers if s.load)
    ),
    _Line("messages stored/s", ("messages",), lambda look: look.messages.stored_per_second),
    _Line("messages written/s", ("servers", "messages"), lambda look: look.messages.written_per_second),
    _Line("jobs waiting", ("routing",), lambda look: look.routing.length),
    _Line("oldest job", ("routing",), lambda look: look.routing.lag_ms, lag),
    _Line("Redis commands/s", ("redis",), lambda look: look.redis.commands_per_second),
    _Line("Redis memory", ("redis",), lambda look: look.redis.used_memory_bytes, lambda number: octets(int(number))),
)


class Trends:
    def __init__(self) -> None:
        self._seen = {line.name: deque[float](maxlen=MAX_TICKS) for line in _LINES}

    def take(self, overview: Overview) -> None:
        for line in _LINES:
            self._seen[line.name].append(line.number(overview))

    def render(self, look: Look) -> RenderableType | None:
        """A line for each figure of the section; None if it has none."""
        shown = [line for line in _LINES if look.section is None or look.section in line.sections]
        if not shown:
            return None
        grid = Table.grid(padding=(0, 2, 0, 0))
        width = max(8, min(MAX_TICKS, look.width - 44))
        for line in shown:
            numbers = list(self._seen[line.name])[-width:]
            grid.add_row(
                Text(line.name, style="dim"),
                Text(line.spell(numbers[-1]).rjust(6)),
                Text(sparkline(numbers, width, plain=look.plain), style="cyan", no_wrap=True),
                Text(f"{line.spell(min(numbers))} to {line.spell(max(numbers))}", style="dim"),
            )
        grid.add_row()
        return grid
