"""The live screen of `pushctl client run`: connection, push URLs, messages as they come, and what keys do.

Owns: what is shown and what is selected.
Promises: never wider or higher than the terminal, whatever senders wrote; drawn at most 20 times a second, however much
comes; the terminal is given back as it was (terminal.py).
Must not know: sockets and SQLite; it asks its phone.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing
from typing import Final

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pushctl.cli.lines import host_of, initial, message_line
from pushctl.cli.listening import EVENTS_WAITING
from pushctl.cli.terminal import Key, handle_signals, keyboard_mode, keys
from pushctl.cli.values import age
from pushctl.client import events
from pushctl.client.foreign import printable
from pushctl.client.phone import Phone
from pushctl.clock import Clock, parse_rfc3339, system_clock
from pushctl.protocol.frames import Urgency

DRAW_SECONDS: Final = 0.05
TICK_SECONDS: Final = 1.0
"""Ages on the screen grow even when nothing comes."""

MIN_WIDTH, MIN_HEIGHT = 20, 6
PUSH_URL_ROWS: Final = 5


class Screen:
    """What is on the screen. Changed by events and keys; `lines` says how it looks now."""

    def __init__(self, phone: Phone, clock: Clock = system_clock) -> None:
        self._phone = phone
        self._clock = clock
        self._state = Text("○ connecting", style="yellow")
        self._note = ""
        self._retry_at_ms: int | None = None
        self._selected: str | None = None
        self._row = 0
        self.refresh()

    def refresh(self) -> None:
        """Look into the store again."""
        self._push_urls = self._phone.store.push_urls()
        self._messages = self._phone.store.messages(read_too=True)[::-1]
        ids = [stored.message.id for stored in self._messages]
        if self._selected is not None and self._selected not in ids:
            # The selected one went away: its neighbour takes its place.
            self._selected = ids[min(self._row, len(ids) - 1)] if ids else None
        self._row = ids.index(self._selected) if self._selected is not None else 0

    def take(self, event: events.Event) -> None:
        match event:
            case events.Connected(server, name):
                self._state = Text(f"● {printable(name)}  {printable(server)}", style="green")
                self._note, self._retry_at_ms = "catching up", None
            case events.SyncEvent(mode):
                self._note = f"up to date ({mode})"
            case events.Disconnected(_, code, reason, _, after_ms):
                self._state = Text("○ not connected", style="red")
                self._note = printable(f"{code}: {reason}" if code else reason)
                self._retry_at_ms = self._clock() + (after_ms or 0)
            case events.Retrying(reason, after_ms):
                self._state = Text("○ not connected", style="red")
                self._note = printable(reason)
                self._retry_at_ms = self._clock() + after_ms
            case _:
                self.refresh()

    def press(self, key: Key) -> None:
        """Everything but quit."""
        ids = [stored.message.id for stored in self._messages]
        match key:
            case "up" | "down" | "top" | "bottom" if ids:
                last = len(ids) - 1
                rows = {"up": max(self._row - 1, 0), "down": min(self._row + 1, last), "top": 0, "bottom": last}
                # The first key only shows the selection, on the newest.
                self._row = self._row if self._selected is None and key in ("up", "down") else rows[key]
                self._selected = ids[self._row]
            case "read":
                unread = [stored.message.id for stored in self._messages if not stored.read]
                self._phone.mark_read([self._selected] if self._selected is not None else unread[:1])
                self.refresh()
            case "read_all":
                self._phone.mark_read([stored.message.id for stored in self._messages if not stored.read])
                self.refresh()

    # --- how it looks ------------------------------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Text]:
        """Exactly `height` lines, none wider than `width` cells."""
        if width < MIN_WIDTH or height < MIN_HEIGHT:
            return _fitted([Text("too small")], width, height)
        top = self._header(width) + self._push_url_lines(width, height)
        unread = sum(1 for stored in self._messages if not stored.read)
        top.append(_rule(f"Messages: {unread} unread", width))
        room = max(height - len(top) - 1, 1)
        body = self._message_lines(room) if self._messages else [Text("  none yet", style="dim")]
        body += [Text()] * (room - len(body))
        foot = Text("r read   A read all   ↑↓ jk select   q quit", style="reverse")
        foot.pad_right(max(width - foot.cell_len, 0))
        return _fitted([*top, *body[:room], foot], width, height)

    def _header(self, width: int) -> list[Text]:
        session = self._phone.store.session()
        who = f"{printable(session.account)} · {printable(session.device_name)}" if session else "not logged in"
        note = Text(self._note)
        if self._retry_at_ms is not None:
            wait_seconds = max(self._retry_at_ms - self._clock(), 0) / 1000
            note.append(f"; next try in {wait_seconds:.0f} s" if wait_seconds else "; trying", style="dim")
        name = Text.assemble((" pushctl ", "bold reverse"), " ", who)
        if name.cell_len + self._state.cell_len + 3 <= width:
            name.pad_right(width - name.cell_len - self._state.cell_len - 1)
            return [name.append_text(self._state), note]
        return [name, self._state, note]

    def _push_url_lines(self, width: int, height: int) -> list[Text]:
        rows = min(PUSH_URL_ROWS, max(height // 5, 1))
        lines = [_rule(f"Push URLs: {len(self._push_urls)}", width)]
        if not self._push_urls:
            return [*lines, Text("  none yet: pushctl client allow SITE", style="dim")]
        newest = self._push_urls[::-1]
        for push_url in newest[:rows]:
            line = Text.assemble("  ", initial(push_url.site), " ", host_of(push_url.site))
            since = age((self._clock() - parse_rfc3339(push_url.created_at)) / 1000)
            lines.append(line.append(f"  {'icon, ' if push_url.icon else ''}{since}", style="dim"))
        if len(newest) > rows:
            lines[-1].append(f"   and {len(newest) - rows} more", style="dim")
        return lines

    def _message_lines(self, room: int) -> list[Text]:
        """A window of the messages, newest first, that holds the selected one."""
        first = min(max(self._row - room // 2, 0), max(len(self._messages) - room, 0))
        lines = []
        for stored in self._messages[first : first + room]:
            selected = stored.message.id == self._selected
            line = Text("▸ " if selected else "  ").append_text(message_line(stored, self._clock(), id_too=False))
            if selected:
                line.stylize("reverse", 0, 2)
            lines.append(line)
        return lines


async def watch(phone: Phone, min_urgency: Urgency) -> None:
    """The screen until `q`, SIGTERM or SIGHUP; raises what ends the phone."""
    screen = Screen(phone)
    console = Console(markup=False, highlight=False, emoji=False)
    to_us, from_phone = trio.open_memory_channel[events.Event](EVENTS_WAITING)
    dirty = _Dirty()
    terminal = _Terminal(console)
    with to_us, from_phone:
        try:
            terminal.enter()
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    await phone.run(to_us, min_urgency=min_urgency)

                async def take_events() -> None:
                    async for event in from_phone:
                        screen.take(event)
                        dirty.mark()

                async def take_keys() -> None:
                    async with aclosing(keys()) as pressed:
                        await _press(pressed, screen, dirty)
                    nursery.cancel_scope.cancel()

                async def take_signals(*, task_status: trio.TaskStatus[None]) -> None:
                    await handle_signals(
                        changed=dirty.mark, leave=terminal.leave, enter=terminal.enter, task_status=task_status
                    )
                    nursery.cancel_scope.cancel()

                async def tick() -> None:
                    while True:
                        await trio.sleep(TICK_SECONDS)
                        dirty.mark()

                await nursery.start(take_signals)
                for task in (run, take_events, take_keys, tick):
                    nursery.start_soon(task)
                while True:
                    terminal.draw(screen)
                    await trio.sleep(DRAW_SECONDS)
                    await dirty.wait()
        finally:
            terminal.leave()


async def _press(pressed: AsyncIterator[Key], screen: Screen, dirty: "_Dirty") -> None:
    async for key in pressed:
        if key == "quit":
            return
        screen.press(key)
        dirty.mark()


class _Dirty:
    """Whether the screen shows something that is not so any more."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def mark(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = trio.Event()


class _Terminal:
    """The alternate screen and the keyboard, taken and given back together; both may be done twice."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._held = ExitStack()
        self._live: Live | None = None

    def enter(self) -> None:
        if self._live is None:
            self._held.enter_context(keyboard_mode(sys.stdin.fileno()))
            # Without rich's refresh thread: we know when something changed.
            self._live = self._held.enter_context(
                Live(
                    console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
                )
            )

    def leave(self) -> None:
        self._live = None
        self._held.close()

    def draw(self, screen: Screen) -> None:
        if self._live is not None:
            width, height = self._console.size
            self._live.update(Group(*screen.lines(width, height)), refresh=True)


def _rule(title: str, width: int) -> Text:
    line = Text.assemble(("── ", "dim"), (title, "bold"), " ")
    return line.append("─" * max(width - line.cell_len, 0), style="dim")


def _fitted(lines: list[Text], width: int, height: int) -> list[Text]:
    fitted = lines[:height] + [Text()] * (height - len(lines))
    for line in fitted:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
        line.end = "\n"
    return fitted
