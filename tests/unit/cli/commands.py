"""Commands as a person runs them, in this process: arguments in, exit code and both outputs out."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import trio

from pushctl.cli import main
from tests.json_lines import command_of, valid_json_lines

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str
    args: tuple[str, ...] = ()

    @property
    def lines(self) -> list[Any]:
        """What stdout says, if it is JSON lines; AssertionError if they are not as they are documented."""
        return valid_json_lines(command_of(self.args), self.out)


def run(*args: str, stdin: bytes = b"") -> Ran:
    """`pushctl ARGS`. The commands bring their own event loop, so not from within one."""
    out, err = io.StringIO(), io.StringIO()
    typed = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    code: object = None
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "stdin", typed):
        try:
            main(args)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Ran(code, out.getvalue(), err.getvalue(), args)


async def pushctl(*args: str, stdin: bytes = b"") -> Ran:
    """The same beside a service that runs in the test's own event loop."""
    with trio.fail_after(PATIENCE_SECONDS):
        return await trio.to_thread.run_sync(lambda: run(*args, stdin=stdin))
