"""The terminal is given back as it was, however the live screen ends. On a real one (a pseudo-terminal)."""

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trio_websocket

from pushctl.client.store import Store
from pushctl.protocol import frames
from tests.fake_service import FakeSocket, open_fake_service
from tests.unit.client.builders import cursor, message, session

PATIENCE_SECONDS = 20

ALTERNATE, NORMAL = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_ON = b"\x1b[?25h"
SOON = "2099-01-01T00:00:00.000Z"


class Terminal:
    """A pseudo-terminal with the live screen in it."""

    def __init__(self, folder: Path) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        size = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pushctl", "client", "run"],
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            env={**os.environ, **size, "PUSHCTL_CLIENT_DIR": str(folder)},
            # Tests that run in the background ignore SIGINT, and children take that over.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    async def until(self, text: bytes) -> None:
        """Read what is drawn, until this was."""
        seen = 0
        while text not in self.output[seen:]:
            await trio.lowlevel.wait_readable(self.master)
            self.output += os.read(self.master, 65_536)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    async def end(self) -> int:
        code = await trio.to_thread.run_sync(self.process.wait)
        os.set_blocking(self.master, False)
        with suppress(BlockingIOError):
            while True:  # a terminal gives a page at a time
                self.output += os.read(self.master, 65_536)
        return code

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


@asynccontextmanager
async def live_screen(folder: Path) -> AsyncIterator[Terminal]:
    """Connected, with one message on the screen. The session ends when it is read."""

    async def script(socket: FakeSocket) -> None:
        missed = frames.MessageEvent(cursor(1), message("m1", expires_at=SOON))
        await socket.greet(frames.DeltaFrame([missed], cursor(1), True))
        with suppress(trio_websocket.ConnectionClosed):
            while not isinstance(frames.decode_client_frame(await socket.websocket.get_message()), frames.Read):
                pass
            await socket.close(4504)

    with trio.fail_after(PATIENCE_SECONDS):
        async with open_fake_service() as service:
            service.scripts = [script]
            with Store(folder / "default.sqlite3") as store:
                store.begin_session(session())
                for setting in ("api", "boxoffice"):
                    store.set_setting(setting, service.api_url)
            terminal = Terminal(folder)
            try:
                await terminal.until(ALTERNATE)
                await terminal.until(b"up to date")
                assert not terminal.is_as_before()
                yield terminal
            finally:
                terminal.close()


@pytest.mark.parametrize(
    ("ending", "code"), [("q", 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130)], ids=str
)
async def test_the_terminal_is_given_back(ending: str | signal.Signals, code: int, tmp_path: Path) -> None:
    async with live_screen(tmp_path) as terminal:
        if isinstance(ending, str):
            terminal.type(ending.encode())
        else:
            terminal.process.send_signal(ending)
        assert await terminal.end() == code
        assert terminal.is_as_before()
        assert terminal.output.rindex(NORMAL) > terminal.output.rindex(ALTERNATE)
        assert CURSOR_ON in terminal.output


async def test_suspending_gives_the_terminal_back_and_coming_back_takes_it_again(tmp_path: Path) -> None:
    async with live_screen(tmp_path) as terminal:
        terminal.process.send_signal(signal.SIGTSTP)
        await trio.to_thread.run_sync(os.waitpid, terminal.process.pid, os.WUNTRACED)
        assert terminal.is_as_before()
        terminal.process.send_signal(signal.SIGCONT)
        terminal.output = b""
        await terminal.until(ALTERNATE)
        assert not terminal.is_as_before()
        terminal.type(b"q")
        assert await terminal.end() == 0
        assert terminal.is_as_before()


async def test_an_error_is_said_on_the_normal_screen(tmp_path: Path) -> None:
    async with live_screen(tmp_path) as terminal:
        terminal.type(b"r")
        assert await terminal.end() == 1
        assert terminal.is_as_before()
        assert NORMAL in terminal.output
        assert terminal.process.stderr is not None
        assert terminal.process.stderr.read() == (
            b"pushctl: the session ended or is not known (4504): run `pushctl client login NAME`\n"
        )


@pytest.mark.parametrize("state", ["running", "suspended"])
async def test_a_terminal_that_has_gone_ends_it_without_a_word(state: str, tmp_path: Path) -> None:
    async with live_screen(tmp_path) as terminal:
        if state == "suspended":
            terminal.process.send_signal(signal.SIGTSTP)
            await trio.to_thread.run_sync(os.waitpid, terminal.process.pid, os.WUNTRACED)
        os.close(terminal.master)
        terminal.master = os.open(os.devnull, os.O_RDONLY)
        terminal.process.send_signal(signal.SIGCONT)
        assert await trio.to_thread.run_sync(partial(terminal.process.wait, PATIENCE_SECONDS)) == 0
        assert terminal.process.stderr is not None
        assert terminal.process.stderr.read() == b""
