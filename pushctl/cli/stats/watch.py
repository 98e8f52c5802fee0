"""`pushctl stats` over time: one look or many, drawn in place on a terminal, printed elsewhere.

Owns: when to look, what becomes of a look that fails, the end by `q` or Ctrl-C. Promises: a registry that goes away
while somebody watches is said in place, and asked again at every tick; afterwards the last look stands on the normal
screen; the exit code is 0 after `q`, 130 after Ctrl-C. Must not know: what a look shows.
"""

import math
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.segment import Segment, Segments
from rich.text import Text

from pushctl.cli.client.device import say
from pushctl.cli.client.live.keyboard import Press
from pushctl.cli.client.live.terminal import keyboard_mode, typed
from pushctl.cli.interrupts import interruptible
from pushctl.cli.reach import reached
from pushctl.cli.stats.table import Look
from pushctl.cli.stats.trends import Trends
from pushctl.cli.stats.view import render
from pushctl.cli.stats.words import lag
from pushctl.config.model import Config
from pushctl.errors import NotGood, StoreUnavailable
from pushctl.overview import Lookout, Overview, part_of

AS_TABLES: Final = "tables"
AS_JSON: Final = "json"
AS_PROM: Final = "prom"


@dataclass(frozen=True, slots=True)
class Wish:
    """`every`: seconds between two looks; None: only one. `expect`: so many living servers, else exit 3."""

    look: Look
    style: str = AS_TABLES
    every: float | None = None
    expect: int | None = None


async def show(config: Config, wish: Wish) -> None:
    """Raises NotGood when fewer servers live than expected, KeyboardInterrupt after Ctrl-C, StoreUnavailable if the
    only look finds nothing."""
    console = Console(highlight=False, emoji=False)
    async with reached(config, name="stats") as registry:
        lookout = Lookout(registry, config)
        if wish.every is None:
            overview = await lookout.look()
            _print(console, wish, overview)
            if (too_few := _missing(overview, wish.expect)) is not None:
                raise NotGood(too_few)
        elif wish.style == AS_TABLES and console.is_terminal:
            await _until_interrupted(_Screen(console, wish, lookout).run)
        else:
            await _until_interrupted(lambda: _print_again_and_again(console, wish, lookout))


def _missing(overview: Overview, expect: int | None) -> str | None:
    """That fewer servers live than expected, in words."""
    if expect is None:
        return None
    if "servers" in overview.unknown:
        return f"nobody knows how many socket servers live, {expect} were expected"
    living = sum(server.state != "dead" for server in overview.servers)
    return f"{living} socket servers live, {expect} were expected" if living < expect else None


def _print(console: Console, wish: Wish, overview: Overview) -> None:
    if wish.style == AS_JSON:
        print(msgspec.json.encode(part_of(overview, wish.look.section)).decode(), flush=True)
    elif wish.style == AS_PROM:
        from pushctl.overview.prometheus import exposition

        print(exposition(overview, wish.look.section), end="", flush=True)
    else:
        _print_tables(console, render(overview, _fitting(wish.look, console)))


def _print_tables(console: Console, shown: RenderableType) -> None:
    # Printed by Python, not by rich, which ends the process on a broken pipe (`| head`) in its own way.
    with console.capture() as screen:
        console.print(shown)
    print("\n".join(line.rstrip() for line in screen.get().rstrip().splitlines()), flush=True)


def _fitting(look: Look, console: Console) -> Look:
    return replace(look, width=console.width, plain=console.options.ascii_only)


async def _until_interrupted(run: Callable[[], Awaitable[None]]) -> None:
    """Run it until it is over, or SIGINT or SIGTERM. Raises KeyboardInterrupt then."""
    with trio.CancelScope() as scope:
        await interruptible(run, scope.cancel)
    if scope.cancelled_caught:
        raise KeyboardInterrupt


async def _print_again_and_again(console: Console, wish: Wish, lookout: Lookout) -> None:
    """A line or a block for each look."""
    assert wish.every is not None
    away = False
    due = trio.current_time()
    while True:
        try:
            overview = await lookout.look()
        except StoreUnavailable as error:
            if not away:
                say(f"pushctl: no look: {error.detail}; trying again")
            away = True
        else:
            if away:
                say("pushctl: Redis answers again")
            away = False
            _print(console, wish, overview)
            if wish.style == AS_TABLES:
                print(flush=True)
        due = max(due + wish.every, trio.current_time())
        await trio.sleep_until(due)


async def _typed_q() -> None:
    """Returns when it is typed, or the terminal is gone; never, where nobody types."""
    if not sys.stdin.isatty():
        await trio.sleep_forever()
    async with aclosing(typed()) as keys:
        async for key in keys:
            if key == Press("q"):
                return


@dataclass
class _Screen:
    console: Console
    wish: Wish
    lookout: Lookout
    _trends: Trends = field(default_factory=Trends)
    _last: Overview | None = None
    _looked_at: float = -math.inf
    _problem: str = ""

    async def run(self) -> None:
        """Draw until `q` or cancelled; then leave the last look on the normal screen."""
        try:
            with (
                keyboard_mode(sys.stdin.fileno()) if sys.stdin.isatty() else nullcontext(),
                Live(console=self.console, screen=True, auto_refresh=False) as live,
            ):
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._redraw_when_resized, live)
                    nursery.start_soon(self._look_again_and_again, live)
                    await _typed_q()
                    nursery.cancel_scope.cancel()
        finally:
            if self._last is not None:
                _print_tables(self.console, self._shown())

    async def _look_again_and_again(self, live: Live) -> None:
        assert self.wish.every is not None
        due = trio.current_time()
        while True:
            try:
                self._last = await self.lookout.look()
            except StoreUnavailable as error:
                self._problem = error.detail
            else:
                self._problem, self._looked_at = "", trio.current_time()
                self._trends.take(self._last)
            self._draw(live)
            due = max(due + self.wish.every, trio.current_time())
            await trio.sleep_until(due)

    async def _redraw_when_resized(self, live: Live, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH) as resized:
            task_status.started()
            async for _ in resized:
                self._draw(live)

    def _draw(self, live: Live) -> None:
        live.update(self._fitted(self._shown()), refresh=True)

    def _shown(self) -> RenderableType:
        problem = []
        if self._problem:
            old = f"; this is {lag((trio.current_time() - self._looked_at) * 1000)} old" if self._last else ""
            problem = [Text(f"! the registry does not answer{old}; trying again: {self._problem}", style="bold red")]
        if self._last is None:
            return Group(*problem)
        if (too_few := _missing(self._last, self.wish.expect)) is not None:
            problem.append(Text(f"! {too_few}", style="bold red"))
        look = _fitting(self.wish.look, self.console)
        return Group(*problem, render(self._last, look, below_notices=self._trends.render(look)))

    def _fitted(self, shown: RenderableType) -> RenderableType:
        """What the terminal has room for, and how much it has not."""
        width, height = self.console.size
        lines = self.console.render_lines(shown, self.console.options.update(height=None), pad=False)
        if len(lines) > height:
            section = "one section" if self.wish.look.section is None else "--top N"
            left_out = f"… {len(lines) - height + 1} more lines: a higher terminal, or {section}, shows them"
            if self.console.options.ascii_only:
                left_out = left_out.replace("…", "...")
            lines = [*lines[: height - 1], [Segment(left_out[:width])]]
        segments: list[Segment] = []
        for number, line in enumerate(lines):
            segments += line if number == 0 else [Segment.line(), *line]
        return Segments(segments)
