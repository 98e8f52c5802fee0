"""A command for each message (`pushctl client listen --exec CMD`).

Owns: what the command is told, and its end.
Promises: CMD is run by `sh -c`; what a message says is only in its environment, never in text that a shell reads. One
at a time, in the order in which messages came. Its standard input is empty. It has a process group of its own, which
ends when we do (SIGTERM, and after GRACE_SECONDS SIGKILL), children of CMD included; only `kill -9` of us leaves it.
Must not know: phones and stores; what follows from its exit code (listening.py).
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec
import trio

from pushctl.client.events import MessageEvent, json_line
from pushctl.errors import NotGood

PREFIX: Final = "PUSHCTL_"
JSON, CUT = f"{PREFIX}JSON", f"{PREFIX}CUT"
VARIABLES: Final = {
    field: PREFIX + {"push_url": "PUSH_URL_ID"}.get(field, field.upper()) for field in MessageEvent.__struct_fields__
}
"""Of each member, empty where the message has none. (PUSHCTL_PUSH_URL is where `pushctl send` looks for a secret.)"""

VALUE_BYTES: Final = 64 * 1024
"""Of one variable. Linux refuses a program any of 128 KiB or more, and all of them together (with ours) over 2 MiB."""

GRACE_SECONDS: Final = 2.0


def environment(message: MessageEvent, around: Mapping[str, str]) -> dict[bytes, bytes]:
    """Those of `around`, and the message's: every field always, so that none is left over from elsewhere.

    A NUL, which no variable can hold, becomes U+FFFD; a value of more than VALUE_BYTES is cut, PUSHCTL_JSON, which a
    cut would break, is empty then; PUSHCTL_CUT names what was cut.
    """
    said = {variable: _text(getattr(message, field)) for field, variable in VARIABLES.items()}
    said[JSON] = json_line(message)
    values = {name: value.replace("\0", "\ufffd").encode(errors="replace") for name, value in said.items()}
    cut = [name for name, value in values.items() if len(value) > VALUE_BYTES]
    for name in cut:
        values[name] = b"" if name == JSON else values[name][:VALUE_BYTES].decode(errors="ignore").encode()
    values[CUT] = " ".join(cut).encode()
    ours = {name.encode(): value for name, value in values.items()}
    return {os.fsencode(name): os.fsencode(value) for name, value in around.items()} | ours


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class Execution:
    """`command`, as often as there are messages. `to_stderr`: its standard output goes to our standard error."""

    def __init__(self, command: str, *, to_stderr: bool) -> None:
        self._command = command
        self._to_stderr = to_stderr
        self.ran = 0
        self.failed = 0

    async def run(self, message: MessageEvent) -> bool:
        """Until CMD has ended; whether with 0. Anything else is said on stderr and counted, also if we are cancelled
        before it ended."""
        self.ran += 1
        self.failed += 1  # until it is known to be well
        variables = environment(message, os.environ)
        try:
            process = await trio.lowlevel.open_process(
                ["/bin/sh", "-c", self._command],
                env=variables,  # type: ignore[arg-type]  # bytes are what a system takes
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if self._to_stderr else None,
                process_group=0,
            )
        except OSError as error:
            _say(f"--exec could not be started for message {message.id}: {error.strerror}")
            return False
        try:
            code = await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)
                _say(f"--exec was ended for message {message.id}")
        if code:
            _say(f"--exec ended with {_words(code)} for message {message.id}")
            return False
        self.failed -= 1
        return True


@contextmanager
def judged(execution: Execution | None) -> Iterator[None]:
    """However the block ends, it is said if a command failed; if it ends well otherwise, that is NotGood."""
    well = False
    try:
        yield
        well = True
    finally:
        if execution is not None and execution.failed:
            verdict = f"--exec failed for {execution.failed} of {execution.ran} messages"
            if well:
                raise NotGood(verdict)
            _say(verdict)


async def _end(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        _signal(process, signal.SIGTERM)
        try:
            with trio.move_on_after(GRACE_SECONDS):
                await process.wait()
        finally:  # a second Ctrl-C gets through any shield
            # Whoever of its group is left, too.
            _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: trio.Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _words(code: int) -> str:
    return str(code) if code > 0 else signal.Signals(-code).name


def _say(line: str) -> None:
    print(f"pushctl: {line}", file=sys.stderr, flush=True)
