"""A real terminal (tmux) to type into and to look at, and the screens that are kept.

Owns: tests/screens/, one file per screen and width: what a person sees there, and what a test holds.
Promises: the terminal and all that runs in it end with the block. A kept screen differs only where its layout does:
`frozen` replaces what is different in each run by something as wide.
Must not know: which commands are shown.

To keep what is seen now: `PUSHCTL_KEEP_SCREENS=1 pytest ...`; then look at the files before they are committed.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from tests.processes import dying_with_us

SCREENS: Final = Path(__file__).parent / "screens"
LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 20.0
PUSHCTL: Final = (sys.executable, "-m", "pushctl")


class Terminal:
    """One window of a tmux server of its own."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def look(self, *, colours: bool = False) -> list[str]:
        """The lines on the screen, without what is empty at their ends. `colours`: with their escape sequences."""
        shown = await self._ask("capture-pane", "-p", *(["-e"] if colours else []))
        return [line.rstrip() for line in shown.rstrip("\n").split("\n")]

    async def until(self, wanted: str | Callable[[list[str]], bool]) -> list[str]:
        """The first screen with this text on it, or that this is true of. AssertionError with the last one if it does
        not come."""
        lines: list[str] = []
        with trio.move_on_after(PATIENCE_SECONDS):
            while True:
                lines = await self.look()
                if wanted in "\n".join(lines) if isinstance(wanted, str) else wanted(lines):
                    return lines
                await trio.sleep(LOOK_SECONDS)
        raise AssertionError(f"{wanted!r} did not come; the screen is\n" + "\n".join(lines))

    async def press(self, *keys: str) -> None:
        """Keys by tmux's names: `a`, `Down`, `C-c`, `Enter`."""
        await self._ask("send-keys", *keys)

    async def type(self, text: str) -> None:
        """Text, character by character."""
        await self._ask("send-keys", "-l", text)

    async def clipboard(self) -> str:
        """What a program in it put into the clipboard last (OSC 52)."""
        return await self._ask("show-buffer")

    async def resize(self, columns: int, rows: int) -> None:
        await self._ask("resize-window", "-x", str(columns), "-y", str(rows))

    async def _ask(self, *command: str) -> str:
        done = await trio.run_process(["tmux", "-S", self._socket, *command], capture_stdout=True, capture_stderr=True)
        return done.stdout.decode()


@asynccontextmanager
async def terminal(
    command: Sequence[str], *, columns: int = 80, rows: int = 24, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    """`command` in a terminal of that size; its screen stays to be looked at when it has ended."""
    said = [f"{name}={value}" for name, value in (environment or {}).items()]
    shell = f"exec env {shlex.join([*said, *command])}"
    # Not a daemon (-D): it dies with us, whatever becomes of us.
    with tempfile.TemporaryDirectory(prefix="pushctl-tmux-") as folder:
        socket = f"{folder}/tmux"
        server = dying_with_us(["/usr/bin/tmux", "-S", socket, "-f", "/dev/null", "-D"])
        # At once, not in a thread: tests/processes.py says why.
        process = subprocess.Popen(server, env=_environment())  # noqa: ASYNC220
        asked = Terminal(socket)
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                await _answering(asked)
                await asked._ask("set-option", "-g", "remain-on-exit", "on")
                await asked._ask("set-option", "-g", "remain-on-exit-format", "")
                await asked._ask("set-option", "-g", "default-terminal", "tmux-256color")
                await asked._ask("set-option", "-g", "status", "off")
                await asked._ask("set-option", "-s", "set-clipboard", "on")
                await asked._ask("new-session", "-d", "-x", str(columns), "-y", str(rows), shell)
            yield asked
        finally:
            process.kill()
            process.wait()


_OURS: Final = ("TMUX", "TMUX_PANE", "NO_COLOR", "LINES", "COLUMNS")
"""Of the terminal that the tests run in, if any; a size that somebody exported would count for more than the window."""


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, "LC_ALL": "C.UTF-8"}


async def _answering(asked: Terminal) -> None:
    while True:
        try:
            await asked._ask("show-options", "-s")
        except subprocess.CalledProcessError:
            await trio.sleep(LOOK_SECONDS)
        else:
            return


def frozen(lines: Sequence[str], *changing: str) -> list[str]:
    """Every match of these patterns as a row of `~`, as wide as it was."""
    found = list(lines)
    for pattern in changing:
        found = [re.sub(pattern, lambda match: "~" * len(match.group()), line) for line in found]
    return found


def hold_screen(name: str, columns: int, lines: Sequence[str]) -> None:
    """AssertionError unless these lines are the kept screen of that name and width, and none is wider than it."""
    assert max(map(len, lines)) <= columns, f"wider than {columns} columns"
    file = SCREENS / f"{name}-{columns}.txt"
    text = "\n".join(lines) + "\n"
    if os.environ.get("PUSHCTL_KEEP_SCREENS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.exists(), f"{file} is not there: see the top of {__name__}"
    assert text.splitlines() == file.read_text(encoding="utf-8").splitlines()
