"""A real Chromium (Debian's), headless, driven by Playwright from npm (tests/interop/inbox/drive.mjs).

Owns: its start and its end, and the way of JavaScript to it. Promises: each person has a browser to herself; it is gone
when the tests are. Must not know: what is tested.
"""

import json
import shutil
import subprocess
from pathlib import Path
from threading import Lock
from typing import Any, Final

import trio

from tests.interop.npm import installed
from tests.processes import dying_with_us

FOLDER: Final = Path(__file__).parent / "inbox"
PATIENCE_SECONDS: Final = 60


class Refused(Exception):
    """What the JavaScript raised."""


class Chromium:
    """Ours until `close`. Started by the constructor."""

    def __init__(self) -> None:
        program, node = shutil.which("chromium"), shutil.which("node")
        assert program, "no chromium: `make needs` installs it"
        installed(FOLDER)
        assert node is not None
        self._turn = Lock()
        self._process = subprocess.Popen(
            dying_with_us([node, str(FOLDER / "drive.mjs"), program]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._read()

    def close(self) -> None:
        """The driver closes its browser when nobody tells it anything any more."""
        try:
            self._process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            self._process.kill()

    async def ask(self, person: str, tab: str, code: str | None, values: dict[str, Any]) -> Any:
        """What this JavaScript comes to; see drive.mjs. Raises Refused."""
        with trio.fail_after(PATIENCE_SECONDS):
            line = json.dumps({"person": person, "tab": tab, "code": code, "values": values})
            return await trio.to_thread.run_sync(self._exchange, line, abandon_on_cancel=True)

    def _exchange(self, line: str) -> Any:
        with self._turn:
            assert self._process.stdin is not None
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, "the driver of Chromium ended"
        answer = json.loads(said)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]


class Tab:
    """A tab of a person's browser."""

    def __init__(self, chromium: Chromium, person: str, name: str = "one") -> None:
        self._chromium = chromium
        self._person = person
        self._name = name

    def beside(self, name: str) -> "Tab":
        """Another tab of the same person."""
        return Tab(self._chromium, self._person, name)

    def of(self, person: str) -> "Tab":
        """A tab of another person, or of the same person's other browser."""
        return Tab(self._chromium, f"{person} beside {self._person}")

    async def do(self, code: str, **values: Any) -> Any:
        """The body of an async function of `page`, `context`, `pages`, `said`, `values` and `axe`."""
        return await self._chromium.ask(self._person, self._name, code, values)

    async def leave(self) -> None:
        """The person closes her browser; what it kept is gone."""
        await self._chromium.ask(self._person, self._name, None, {})
