"""A load that is sent by a process of its own, so that whoever receives meanwhile does not slow it down.

Owns: both ends of the two pipes between them. Promises: the plan, which has push URLs in it, travels over a pipe and
stands in no process list; the process ends with its parent, whatever becomes of that; told to stop, it still reports.
Must not know: what is sent (load.py), what is shown.

Lines of JSON. To the process: its plan, then `go`; the end of the pipe means stop. From it: `Ready` once it is
connected, `Progress` a few times a second, in the end its report, or what kept it from one.
"""

import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from subprocess import PIPE
from typing import Final

import msgspec
import trio
from msgspec import Struct

from pushctl.client.load import Load, LoadPlan
from pushctl.client.load_report import LoadReport
from pushctl.collector import Collector
from pushctl.errors import Failed, Unreachable

PROGRESS_SECONDS: Final = 0.25
GO: Final = b"go\n"


class Ready(Struct, frozen=True, tag="ready"):
    """Connected."""


class Progress(Struct, frozen=True, tag="progress"):
    done: int


class Told(Struct, frozen=True, tag="report"):
    report: LoadReport


class CouldNot(Struct, frozen=True, tag="could_not"):
    """Unreachable, in words."""

    why: str


Line = Ready | Progress | Told | CouldNot


# --- the parent's end ------------------------------------------------------------------------------------------------


class Apart:
    """Made by `load_apart`, connected."""

    def __init__(self, process: trio.Process, on_progress: Callable[[int], None]) -> None:
        assert isinstance(process.stdin, trio.lowlevel.FdStream)
        assert process.stdout is not None
        self._stdin = process.stdin
        self._lines = _Lines(process.stdout)
        self._on_progress = on_progress

    async def begin(self, plan: LoadPlan) -> None:
        """Give it the plan; returns when it is connected. Raises Unreachable."""
        await self._stdin.send_all(msgspec.json.encode(plan) + b"\n")
        await self._next()

    async def run(self) -> LoadReport:
        """Have it begin; returns when it is through."""
        with suppress(trio.ClosedResourceError):  # told to stop already: it reports nothing
            await self._stdin.send_all(GO)
        while True:
            line = await self._next()
            if isinstance(line, Told):
                return line.report

    def stop(self) -> None:
        """Have it end early. `run` returns soon."""
        self._stdin.close()

    async def _next(self) -> Line:
        raw = await self._lines.next()
        if raw is None:
            raise Failed("the sending process ended without a report")
        line: Line = _decoder.decode(raw)
        if isinstance(line, CouldNot):
            raise Unreachable(line.why)
        if isinstance(line, Progress):
            self._on_progress(line.done)
        return line


_decoder: "msgspec.json.Decoder[Line]" = msgspec.json.Decoder(Line)


@asynccontextmanager
async def load_apart(plan: LoadPlan, on_progress: Callable[[int], None]) -> AsyncIterator[Apart]:
    """The process, connected; it is gone when the block is left. Raises Unreachable. `on_progress`: messages so far."""
    command = [sys.executable, "-m", __name__]
    async with trio.open_nursery() as nursery:
        # A session of its own: a terminal's Ctrl-C is for us, who then tell it.
        start = partial(trio.run_process, stdin=PIPE, stdout=PIPE, check=False, start_new_session=True)
        process: trio.Process = await nursery.start(start, command)
        apart = Apart(process, on_progress)
        await apart.begin(plan)
        yield apart
        nursery.cancel_scope.cancel()


class _Lines:
    """What comes over a pipe, line by line."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._whole: deque[bytes] = deque()
        self._rest = b""

    async def next(self) -> bytes | None:
        """None: it has ended."""
        while not self._whole:
            part = await self._stream.receive_some()
            if not part:
                return None
            *whole, self._rest = (self._rest + part).split(b"\n")
            self._whole += whole
        return self._whole.popleft()


# --- the process' end ------------------------------------------------------------------------------------------------


async def main() -> None:
    stdin = _Lines(trio.lowlevel.FdStream(sys.stdin.fileno()))
    asked = await stdin.next()
    if asked is None:
        return  # whoever wanted it has gone
    plan = msgspec.json.decode(asked, type=LoadPlan)

    async def stop_at_the_end() -> None:
        while await stdin.next() is not None:
            pass
        load.interrupt()

    async def tell() -> None:
        while True:
            _say(Progress(load.tally.warm + load.tally.sent))
            await trio.sleep(PROGRESS_SECONDS)

    async def trigger() -> None:
        _say(Ready())
        if await stdin.next() is None:
            load.interrupt()
        nursery.start_soon(stop_at_the_end)
        nursery.start_soon(tell)

    load = Load(plan, trigger=trigger)
    with Collector() as collector:
        collector.begin()
        async with trio.open_nursery() as nursery:
            try:
                found = await load.run()
            except Unreachable as error:
                _say(CouldNot(str(error)))
            else:
                _say(Told(found))
            nursery.cancel_scope.cancel()


def _say(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    trio.run(main)
