"""`pushctl client swarm`: what it prints, where push URLs go, and with which code it ends."""

import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import trio

from pushctl.cli.client.swarm import raise_unless_good, write_targets
from pushctl.client.report import Tally, report
from pushctl.errors import Failed, NotGood, Unreachable
from pushctl.protocol import frames
from tests.fake_service import FakeService, FakeSocket, open_fake_service, until_closed
from tests.json_lines import valid_json_lines
from tests.unit.cli.commands import run
from tests.unit.client.builders import cursor, message

PATIENCE_SECONDS = 20
LONG = "2099-01-01T00:00:00.000Z"


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    """Where two devices stay connected, with nothing unread."""
    async with open_fake_service() as running:
        running.scripts = [staying, staying]
        running.answers["GET /v1/messages"] = (200, {"messages": [], "next": None}, {})
        running.answers["DELETE /v1/account"] = (204, None, {})
        made = {"id": "p", "site": "https://s.example", "icon": None, "vapid_key": None, "created_at": LONG}
        running.answers["POST /v1/push-urls"] = (201, {**made, "url": "http://x/push/secret"}, {})
        yield running


async def staying(socket: FakeSocket) -> None:
    await socket.greet(frames.SnapshotFrame([], [], cursor(1), True))
    await until_closed(socket)


@asynccontextmanager
async def swarm(service: FakeService, *options: str) -> AsyncIterator[trio.Process]:
    """A process of its own, as signals reach only one that has the main thread."""
    where = ["--api", service.api_url, "--boxoffice", service.api_url]
    command = [sys.executable, "-m", "pushctl", "client", "swarm", "--users", "1", "--devices", "2", *where, *options]
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            run_it = partial(trio.run_process, command, stdout=PIPE, stderr=PIPE, check=False)
            process: trio.Process = await nursery.start(run_it)
            yield process
            await process.wait()


async def text_of(stream: Any) -> str:
    found = b""
    async for part in stream:
        found += part
    return found.decode()


async def ended(process: trio.Process) -> tuple[int, str, str]:
    out, err = "", ""

    async def read_err() -> None:
        nonlocal err
        err = await text_of(process.stderr)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_err)
        out = await text_of(process.stdout)
    return await process.wait(), out, err


async def test_a_good_run_ends_with_0_and_one_json_object(service: FakeService, tmp_path: Path) -> None:
    targets = tmp_path / "targets.txt"
    async with swarm(service, "--duration", "200ms", "--json", "--targets", str(targets)) as process:
        code, out, err = await ended(process)
    assert code == 0, err
    (line,) = valid_json_lines("client swarm", out)
    assert {"connected": 2, "devices": 2, "lost": 0}.items() <= line.items()
    assert targets.read_text() == "http://x/push/secret\n"
    assert "secret" not in out + err
    assert "logging in: 2\n" in err


async def test_a_loss_ends_with_3_and_says_what_was_lost(service: FakeService) -> None:
    lost = {"messages": [message("m", expires_at=LONG)], "next": None}
    service.answers["GET /v1/messages"] = (200, lost, {})
    page = {"mode": "delta", "events": [], "cursor": cursor(9), "done": True, "next": None}
    service.answers["GET /v1/sync"] = (200, page, {})
    async with swarm(service, "--duration", "100ms") as process:
        code, out, err = await ended(process)
    assert (code, err.splitlines()[-1]) == (3, "pushctl: not good: 2 lost")
    assert "2 lost, 0 skipped" in out


async def test_an_interrupt_gives_the_report_and_130(service: FakeService) -> None:
    connected = trio.Event()

    async def last(socket: FakeSocket) -> None:
        await socket.greet(frames.SnapshotFrame([], [], cursor(1), True))
        await socket.receive()
        connected.set()
        await until_closed(socket)

    service.scripts = [staying, last]
    async with swarm(service, "--duration", "1h", "--json") as process:
        await connected.wait()
        process.send_signal(signal.SIGINT)
        code, out, err = await ended(process)
    assert code == 130, err
    assert valid_json_lines("client swarm", out)[0]["ever_connected"] == 2


def test_without_a_service_it_ends_with_5_and_one_line() -> None:
    nowhere = ["--api", "http://127.0.0.1:1", "--boxoffice", "http://127.0.0.1:1"]
    ran = run("client", "swarm", *nowhere)
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.splitlines()[-1] == "pushctl: cannot connect to http://127.0.0.1:1: connection refused"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--users", "0"], "--users"),
        (["--arrivals", "fast"], "is not a rate"),
        (["--read", "200%"], "is not a share"),
        (["--allow", "news.example"], "--allow needs --targets"),
        (["--duration", "5"], "is not a duration"),
    ],
)
def test_wrong_usage_is_said_so(arguments: list[str], said: str) -> None:
    ran = run("client", "swarm", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_help_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("client", "swarm", "--help").out
    body = shown[: shown.index("Examples:")]
    assert max(map(len, body.splitlines())) <= 80
    assert all(name in body for name in report(Tally(), users=1, devices=1, seconds=0).__struct_fields__)


def test_push_urls_go_to_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "targets.txt"
    path.write_text("from before")
    path.chmod(0o644)
    write_targets(path, ["http://x/push/a", "http://x/push/b"])
    assert path.read_text() == "http://x/push/a\nhttp://x/push/b\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["targets.txt"]


def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"nowhere/targets\.txt: No such file or directory"):
        write_targets(tmp_path / "nowhere" / "targets.txt", ["http://x/push/a"])


@pytest.mark.parametrize(
    ("counts", "error", "said"),
    [
        ({"ever_connected": 0}, Unreachable, "no device could connect"),
        ({"lost": 1200, "duplicate": 1}, NotGood, "not good: 1,200 lost, 1 duplicate"),
        ({"connected": 3}, NotGood, "not good: 1 of 4 devices not connected at the end"),
        ({"unchecked": 2}, NotGood, "not good: 2 users could not be checked"),
    ],
)
def test_what_is_not_good_is_said_in_words(counts: dict[str, int], error: type[Exception], said: str) -> None:
    tally = Tally(**{"connected": 4, "ever_connected": 4, **counts})  # type: ignore[arg-type]  # numbers all
    with pytest.raises(error, match=f"^{said}$"):
        raise_unless_good(report(tally, users=4, devices=4, seconds=1))
