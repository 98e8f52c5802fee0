"""The tasks of `pushctl client run`: the phone, the keys, the clock, and what keys ask the service for.

Owns: when the screen is drawn, and when it is over.
Promises: drawn at most 20 times a second, however much comes; a screen that waits for an answer still takes keys; one
request at a time; the terminal is given back as it was, however this ends (terminal.py, canvas.py).
Must not know: what keys mean (screen.py), how it looks (screen_view.py).
"""

import sys
from contextlib import ExitStack, aclosing
from typing import Final

import trio
from rich.console import Console

from pushctl.cli.client.listening import EVENTS_WAITING
from pushctl.cli.client.live.canvas import Canvas
from pushctl.cli.client.live.icons import Icons
from pushctl.cli.client.live.keyboard import Named
from pushctl.cli.client.live.screen import Allow, Copy, Quit, Reconnect, Redraw, Revoke, Screen
from pushctl.cli.client.live.screen_view import Look, frame
from pushctl.cli.client.live.terminal import handle_signals, keyboard_mode, typed
from pushctl.client import events
from pushctl.client.phone import Phone
from pushctl.errors import PushctlError
from pushctl.protocol.frames import Urgency

DRAW_SECONDS: Final = 0.05
TICK_SECONDS: Final = 1.0
"""Ages on the screen grow even when nothing comes."""


async def watch(phone: Phone, min_urgency: Urgency) -> None:
    """The screen until `q`, SIGTERM or SIGHUP; raises what ends the phone."""
    to_us, from_phone = trio.open_memory_channel[events.Event](EVENTS_WAITING)
    live = _Live(phone)
    with to_us, from_phone:
        try:
            live.enter()
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    await phone.run(to_us, min_urgency=min_urgency)

                async def take_events() -> None:
                    async for event in from_phone:
                        live.screen.take(event)
                        live.mark()

                async def take_keys() -> None:
                    await live.take_keys()
                    nursery.cancel_scope.cancel()

                async def take_signals(*, task_status: trio.TaskStatus[None]) -> None:
                    await handle_signals(
                        changed=live.resized, leave=live.leave, enter=live.enter, task_status=task_status
                    )
                    nursery.cancel_scope.cancel()

                await nursery.start(take_signals)
                for task in (run, take_events, take_keys, live.tick, live.icons.run, live.ask):
                    nursery.start_soon(task)
                await live.draw()
        finally:
            live.leave()


class _Live:
    """The screen in a terminal. `enter` and `leave` may be done twice."""

    def __init__(self, phone: Phone) -> None:
        self.screen = Screen(phone)
        self.icons = Icons(self.mark)
        self._phone = phone
        self._canvas = Canvas(Console(markup=False, highlight=False, emoji=False))
        self._held = ExitStack()
        self._is_held = False
        self._dirty = trio.Event()
        self._to_ask, self._asked = trio.open_memory_channel[Allow | Revoke](1)

    def mark(self) -> None:
        """The screen shows something that is not so any more."""
        self._dirty.set()

    def resized(self) -> None:
        self._canvas.forget()
        self.mark()

    def enter(self) -> None:
        if not self._is_held:
            self._is_held = True
            self._held.enter_context(keyboard_mode(sys.stdin.fileno()))
            self._held.callback(self._canvas.close)
            self._canvas.open()
            self.mark()

    def leave(self) -> None:
        self._is_held = False
        self._held.close()

    async def draw(self) -> None:
        while True:
            look = Look(self.icons, self._canvas.pictures, self._canvas.blocks)
            self._canvas.draw(frame(self.screen, look, *self._canvas.size))
            await trio.sleep(DRAW_SECONDS)
            await self._dirty.wait()
            self._dirty = trio.Event()

    async def tick(self) -> None:
        while True:
            await trio.sleep(TICK_SECONDS)
            self.mark()

    async def take_keys(self) -> None:
        """Until the one that quits, or the terminal is gone."""
        async with aclosing(typed()) as inputs:
            async for each in inputs:
                if isinstance(each, Named):
                    self._canvas.named(each.name)
                match self.screen.press(each):
                    case Quit():
                        return
                    case Copy(text):
                        self._canvas.copy(text)
                        self.screen.say("copied, if your terminal lets programs do that (OSC 52); else Enter shows it")
                    case Reconnect():
                        self._reconnect()
                    case Redraw():
                        self._canvas.forget()
                    case Allow() | Revoke() as deed:
                        self._put(deed)
                    case None:
                        pass
                self.mark()

    def _reconnect(self) -> None:
        seconds = self._phone.reconnect()
        said = f"not before {seconds:.0f} s from now: the service asked to wait" if seconds >= 1 else "reconnecting"
        self.screen.say(said, wrong=seconds >= 1)

    def _put(self, deed: Allow | Revoke) -> None:
        try:
            self._to_ask.send_nowait(deed)
        except trio.WouldBlock:
            self.screen.say("still waiting for the answer to the one before", wrong=True)

    async def ask(self) -> None:
        """What the service is asked for, one after the other."""
        async for deed in self._asked:
            try:
                if isinstance(deed, Allow):
                    push_url, created = await self._phone.allow(deed.site, None)
                    self.screen.allowed(push_url, created=created)
                else:
                    await self._phone.revoke(deed.push_url.id)
                    self.screen.revoked(deed.push_url)
            except PushctlError as error:
                self.screen.say(str(error), wrong=True)
            self.mark()
