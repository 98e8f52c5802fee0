"""Log lines that are written together: when, in which order, and that none is left behind."""

import json
import sys
from collections.abc import Iterator
from math import inf

import pytest
import trio
import trio.testing

from pushctl import log
from pushctl.log_gathering import GATHER_BYTES, GATHER_SECONDS, gathered

LOG = log.get_logger()


@pytest.fixture(autouse=True)
def _json() -> Iterator[None]:
    log.configure("debug", "json")
    yield
    log.configure()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]


async def test_lines_are_written_together_a_moment_later(
    capsys: pytest.CaptureFixture[str], autojump_clock: trio.testing.MockClock
) -> None:
    async with gathered():
        for _ in range(2):  # also after they were written once
            LOG.info("first")
            LOG.debug("second")
            await trio.sleep(GATHER_SECONDS / 2)
            LOG.info("third")
            assert said(capsys) == []
            await trio.sleep(GATHER_SECONDS / 2 + 0.001)
            assert said(capsys) == ["first", "second", "third"]
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline == inf, "nothing to say wakes nobody"


async def test_a_warning_is_written_at_once_with_what_came_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    async with gathered():
        LOG.info("before")
        LOG.warning("look")
        assert said(capsys) == ["before", "look"]
        LOG.info("behind")
        assert said(capsys) == []
    assert said(capsys) == ["behind"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
async def test_nothing_is_left_however_it_ends(capsys: pytest.CaptureFixture[str], error: type[BaseException]) -> None:
    with pytest.RaisesGroup(error):
        async with gathered():
            LOG.info("last")
            raise error
    assert said(capsys) == ["last"]
    LOG.info("afterwards")
    assert said(capsys) == ["afterwards"]


async def test_what_waits_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    async with gathered():
        LOG.info("long", text="x" * GATHER_BYTES)
        assert said(capsys) == ["long"]


async def test_a_line_of_another_thread_is_written_at_once(
    capsys: pytest.CaptureFixture[str], mock_clock: trio.testing.MockClock
) -> None:
    async with gathered():
        LOG.info("ours")
        await trio.to_thread.run_sync(lambda: LOG.info("theirs"))
        assert said(capsys) == ["theirs"]


async def test_on_a_terminal_somebody_watches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    async with gathered():
        LOG.info("seen")
        assert said(capsys) == ["seen"]
