"""The state of the live screen of `pushctl client run`: what is on it, what is selected, and what each key does.

Owns: the mode (lists, one thing in full, help, a line being typed, a question), the selections, and the words of what
was just done. Looking at the store happens once before it is drawn, not once for each event.
Promises: nothing here waits: what takes time is given back as a `Deed`.
Must not know: how it looks (screen_view.py), terminals, sockets; it asks its phone.
"""

from dataclasses import dataclass
from typing import Final

import typer

from pushctl.cli.client.lines import host_of
from pushctl.cli.client.live.keyboard import Input, Named, Paste, Press
from pushctl.cli.client.live.selection import Selection
from pushctl.cli.values import site
from pushctl.client import events
from pushctl.client.foreign import printable
from pushctl.client.phone import Phone
from pushctl.client.store import StoredMessage
from pushctl.clock import Clock, system_clock
from pushctl.protocol.frames import PushUrl

SAID_SECONDS: Final = 8.0
PAGE_ROWS: Final = 10
MOST_TYPED: Final = 300
MOVES: Final = {
    **{key: key for key in ("up", "down", "home", "end", "page-up", "page-down")},
    "k": "up",
    "j": "down",
    "g": "home",
    "G": "end",
}


@dataclass(frozen=True, slots=True)
class Allow:
    site: str


@dataclass(frozen=True, slots=True)
class Revoke:
    push_url: PushUrl


@dataclass(frozen=True, slots=True)
class Copy:
    text: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    pass


@dataclass(frozen=True, slots=True)
class Redraw:
    pass


@dataclass(frozen=True, slots=True)
class Quit:
    pass


Deed = Allow | Revoke | Copy | Reconnect | Redraw | Quit
"""What a key asks for that is not done by changing the screen."""


@dataclass(slots=True)
class Lists:
    """Push URLs and messages."""


@dataclass(slots=True)
class Help:
    top: int = 0


@dataclass(slots=True)
class InFull:
    """One push URL or message; `top`: the first of its lines that is shown."""

    id: str
    top: int = 0


@dataclass(slots=True)
class Typing:
    """The site to allow."""

    text: str = ""
    wrong: str = ""


@dataclass(slots=True)
class Sure:
    """Whether to revoke."""

    push_url: PushUrl


Mode = Lists | Help | InFull | Typing | Sure


@dataclass(frozen=True, slots=True)
class Link:
    """How the connection is doing. `retry_at_ms`: the moment of the next try, None if there is none to wait for."""

    up: bool
    words: str
    note: str = ""
    retry_at_ms: int | None = None


class Screen:
    """Changed by events and by what is typed."""

    def __init__(self, phone: Phone, clock: Clock = system_clock) -> None:
        self.phone = phone
        self.clock = clock
        self.link = Link(False, "connecting")
        self.mode: Mode = Lists()
        self.focus: str = "messages"
        self.chosen = {"messages": Selection(), "push_urls": Selection()}
        self.messages: list[StoredMessage] = []
        self.push_urls: list[PushUrl] = []
        self.terminal = ""
        self._said: tuple[str, bool, int] | None = None
        self._is_stale = True
        self.refresh()

    def refresh(self) -> None:
        """Looks into the store, if something happened since."""
        if self._is_stale:
            self._is_stale = False
            self.messages = self.phone.store.messages(read_too=True)[::-1]
            self.push_urls = self.phone.store.push_urls()[::-1]
            self.chosen["messages"].follow([stored.message.id for stored in self.messages])
            self.chosen["push_urls"].follow([push_url.id for push_url in self.push_urls])

    # --- what happens ------------------------------------------------------------------------------------------------

    def take(self, event: events.Event) -> None:
        match event:
            case events.Connected(server, name):
                self.link = Link(True, f"{printable(name)}  {printable(server)}", "catching up")
            case events.SyncEvent(mode):
                self.link = Link(True, self.link.words, f"up to date ({mode})")
            case events.Disconnected(_, code, reason, _, after_ms):
                self._lost(f"{code}: {reason}" if code else reason, after_ms or 0)
            case events.Retrying(reason, after_ms):
                self._lost(reason, after_ms)
        self._is_stale = True

    def _lost(self, reason: str, after_ms: int) -> None:
        self.link = Link(False, "not connected", printable(reason), self.clock() + after_ms)

    def say(self, words: str, *, wrong: bool = False) -> None:
        """At the bottom, for a while."""
        self._said = printable(words), wrong, self.clock() + round(SAID_SECONDS * 1000)

    @property
    def said(self) -> tuple[str, bool] | None:
        """What was said just now, and whether it went wrong."""
        return self._said[:2] if self._said is not None and self.clock() < self._said[2] else None

    def allowed(self, push_url: PushUrl, *, created: bool) -> None:
        """An answer to `Allow`: shown in full, to be copied."""
        self._is_stale = True
        self.refresh()
        self.focus = "push_urls"
        self.chosen["push_urls"].id = push_url.id
        self.chosen["push_urls"].follow([each.id for each in self.push_urls])
        self.mode = InFull(push_url.id)
        self.say(f"{'a new push URL' if created else 'the push URL'} for {host_of(push_url.site)}: c copies it")

    def revoked(self, push_url: PushUrl) -> None:
        self._is_stale = True
        self.mode = Lists()
        self.say(f"revoked {host_of(push_url.site)}: its push URL answers 410 from now on")

    # --- what is selected --------------------------------------------------------------------------------------------

    @property
    def message(self) -> StoredMessage | None:
        """The selected one."""
        chosen = self.chosen["messages"].id
        return next((stored for stored in self.messages if stored.message.id == chosen), None)

    @property
    def push_url(self) -> PushUrl | None:
        """The selected one; among messages that of the selected message, if it is still there."""
        message = self.message
        if self.focus == "push_urls":
            wanted = self.chosen["push_urls"].id
        else:
            wanted = message.message.push_url if message is not None else None
        return next((push_url for push_url in self.push_urls if push_url.id == wanted), None)

    # --- keys --------------------------------------------------------------------------------------------------------

    def press(self, typed: Input) -> Deed | None:
        self.refresh()
        if isinstance(typed, Named):
            self.terminal = typed.name
            return None
        if isinstance(self.mode, Typing):
            return self._type(self.mode, typed)
        if isinstance(typed, Paste):
            # Perhaps meant for another window: none of it is a key.
            self.say("pasted text does nothing here; press a to allow a site")
            return None
        self._said = None
        if typed.key == "ctrl-l":
            return Redraw()
        if isinstance(self.mode, Sure):
            push_url, self.mode = self.mode.push_url, Lists()
            return Revoke(push_url) if typed.key in ("y", "Y") else None
        return self._command(typed.key)

    def _command(self, key: str) -> Deed | None:
        match key:
            case "q":
                return Quit()
            case "R":
                return Reconnect()
            case "escape" | "backspace":
                self.mode = Lists()
            case "?":
                self.mode = Lists() if isinstance(self.mode, Help) else Help()
            case "a":
                self.mode = Typing()
            case "A":
                self._read([stored for stored in self.messages if not stored.read])
            case "r":
                self._read_one()
            case "x":
                self._ask_to_revoke()
            case "c":
                return self._copy()
            case "enter":
                self._open()
            case _:
                self._move(key)
        return None

    def _move(self, key: str) -> None:
        move = MOVES.get(key)
        if isinstance(self.mode, Help | InFull):
            # As far as there is something is for the view to know.
            steps = {"up": -1, "down": 1, "page-up": -PAGE_ROWS, "page-down": PAGE_ROWS, "home": -(10**6), "end": 10**6}
            self.mode.top = max(self.mode.top + steps.get(move or "", 0), 0)
        elif key in ("tab", "left", "right"):
            self.focus = "push_urls" if self.focus == "messages" else "messages"
            self._move("up")  # which shows what is selected there
        elif move is not None:
            ids = [s.message.id for s in self.messages]
            if self.focus == "push_urls":
                ids = [push_url.id for push_url in self.push_urls]
            self.chosen[self.focus].move(ids, move, PAGE_ROWS)

    def _read_one(self) -> None:
        if isinstance(self.mode, InFull) and self.focus == "push_urls":
            return
        message = self.message
        self._read([message] if message is not None else [stored for stored in self.messages if not stored.read][:1])

    def _read(self, messages: list[StoredMessage]) -> None:
        self.phone.mark_read([stored.message.id for stored in messages])
        self._is_stale = True
        self.refresh()

    def _open(self) -> None:
        chosen = self.chosen[self.focus].id
        if isinstance(self.mode, Lists) and chosen is not None:
            self.mode = InFull(chosen)
        elif isinstance(self.mode, Lists):
            self.say("select one first: arrows, or j and k")
        else:
            self.mode = Lists()

    def _ask_to_revoke(self) -> None:
        push_url = self.push_url
        if push_url is None:
            self.say("select a push URL first: Tab, then arrows")
        else:
            self.mode = Sure(push_url)

    def _copy(self) -> Deed | None:
        message = self.message
        if self.focus == "messages" and message is not None and message.message.notification is not None:
            shown = message.message.notification
            return Copy(printable(shown.url or shown.body or shown.title or ""))
        push_url = self.push_url
        if push_url is None:
            self.say("select what to copy first: Tab, then arrows")
            return None
        return Copy(printable(push_url.url))

    def _type(self, typing: Typing, typed: Press | Paste) -> Deed | None:
        key = typed.key if isinstance(typed, Press) else ""
        match key:
            case "escape":
                self.mode = Lists()
            case "enter":
                return self._typed(typing)
            case "backspace":
                typing.text, typing.wrong = typing.text[:-1], ""
            case "ctrl-u" | "ctrl-w":
                typing.text, typing.wrong = "", ""
            case _:
                new = typed.text if isinstance(typed, Paste) else key if len(key) == 1 else ""
                typing.text = (typing.text + printable(new))[:MOST_TYPED]
                typing.wrong = ""
        return None

    def _typed(self, typing: Typing) -> Deed | None:
        if not typing.text.strip():
            self.mode = Lists()
            return None
        try:
            found = site(typing.text)
        except typer.BadParameter as error:
            typing.wrong = printable(error.message)
            return None
        self.mode = Lists()
        self.say(f"asking for a push URL for {found}")
        return Allow(found)
