"""The life of a role: ready, serving, draining, over."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial

import httpx
import pytest
import trio
import trio.testing
from trio import TaskStatus
from trio.testing import MockClock

from pushctl.config.model import Config
from pushctl.errors import Failed, Unreachable
from pushctl.health import Health
from pushctl.http.server import address_of, open_listeners
from pushctl.metrics import Metrics
from pushctl.reasons import Code, Reason
from pushctl.runtime import Ready, run_role, stop_signal
from tests.processes import free_port


class Toy:
    """The smallest role: it notes what happens to it."""

    name = "router"
    label = "router"

    def __init__(self, admin_listen: str = "", drain_seconds: float = 5) -> None:
        self.admin_listen = admin_listen
        self.drain_seconds = drain_seconds
        self.metrics = Metrics("router")
        self.health = Health(Config())
        self.happened: list[str] = []
        self.asked_to_serve = trio.Event()
        self.may_start = trio.Event()
        self.may_start.set()
        self.may_finish = trio.Event()
        self.may_finish.set()
        self.over = trio.Event()
        self.fails_with: Exception | None = None

    async def serve(self, *, task_status: TaskStatus[Ready]) -> None:
        self.asked_to_serve.set()
        await self.may_start.wait()
        if self.fails_with is not None:
            raise self.fails_with
        task_status.started(Ready("router", "router", None, None))
        self.happened.append("serving")
        try:
            await self.over.wait()
        finally:
            self.happened.append("over")

    async def drain(self) -> None:
        self.happened.append("draining")
        await self.may_finish.wait()
        self.happened.append("drained")

    async def not_ready(self) -> list[Reason]:
        return [] if self.may_start.is_set() else [Reason(Code.CHECK_FAILED, "asked too early")]


def codes(answer: httpx.Response) -> list[str]:
    """Of the reasons it gives."""
    return [reason["code"] for reason in answer.json()["reasons"]]


class Status:
    """Hears that a role is ready."""

    def __init__(self) -> None:
        self.reported = trio.Event()

    def started(self, ready: Ready, /) -> None:
        self.reported.set()


async def test_a_role_reports_ready_drains_when_told_and_is_over() -> None:
    role, stop = Toy(), trio.Event()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            ready = await nursery.start(partial(run_role, role, until=stop.wait))
            assert ready == Ready("router", "router", None, None, None)
            assert role.happened == ["serving"]
            stop.set()
    assert role.happened == ["serving", "draining", "drained", "over"]


async def test_a_drain_that_does_not_end_is_cut_short_at_its_bound(autojump_clock: MockClock) -> None:
    role, stop = Toy(drain_seconds=7), trio.Event()
    role.may_finish = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(run_role, role, until=stop.wait))
        before = trio.current_time()
        stop.set()
    assert trio.current_time() - before == pytest.approx(7, abs=0.1)
    assert role.happened == ["serving", "draining", "over"]
    del autojump_clock


async def test_told_to_stop_before_it_was_ready_it_ends_without_drain_and_without_ready() -> None:
    role, stop = Toy(), trio.Event()
    role.may_start = trio.Event()
    status = Status()
    stop.set()
    with trio.fail_after(5):
        await run_role(role, until=stop.wait, task_status=status)
    assert role.happened == []
    assert not status.reported.is_set()


async def test_a_role_that_ends_unasked_is_an_error() -> None:
    role = Toy()
    role.over.set()
    with trio.fail_after(5), pytest.RaisesGroup(Failed, flatten_subgroups=True):
        await run_role(role, until=trio.sleep_forever)


async def test_a_role_that_ends_by_itself_while_it_drains_is_none() -> None:
    role, stop = Toy(), trio.Event()
    role.may_finish = trio.Event()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(run_role, role, until=stop.wait))
            stop.set()
            await trio.testing.wait_all_tasks_blocked()
            role.over.set()
            await trio.testing.wait_all_tasks_blocked()
            role.may_finish.set()
    assert role.happened == ["serving", "draining", "over", "drained"]


async def test_an_error_at_start_comes_through() -> None:
    role = Toy()
    role.fails_with = Unreachable("no Redis")
    with trio.fail_after(5), pytest.RaisesGroup(Unreachable, flatten_subgroups=True):
        await run_role(role, until=trio.sleep_forever)


async def test_probers_see_a_slow_start_and_then_the_role_itself() -> None:
    address = f"127.0.0.1:{free_port()}"
    role, stop, status = Toy(admin_listen=address), trio.Event(), Status()
    role.may_start = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, httpx.AsyncClient(base_url=f"http://{address}") as http:
            nursery.start_soon(partial(run_role, role, until=stop.wait, dev_idp=True, task_status=status))
            await role.asked_to_serve.wait()
            assert (await http.get("/healthz")).json() == {"live": True, "reasons": [], "dev_idp": True}
            starting = await http.get("/readyz")
            assert (starting.status_code, codes(starting)) == (503, ["starting"])
            role.may_start.set()
            await status.reported.wait()
            assert (await http.get("/readyz")).status_code == 200
            assert "pushctl_dev_idp 1.0" in (await http.get("/metrics")).text
            stop.set()


async def test_probers_see_a_drain() -> None:
    role, stop = Toy(admin_listen="127.0.0.1:0"), trio.Event()
    role.may_finish = trio.Event()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            ready = await nursery.start(partial(run_role, role, until=stop.wait))
            assert ready.admin.startswith("http://127.0.0.1:")
            async with httpx.AsyncClient(base_url=ready.admin) as http:
                assert (await http.get("/readyz")).json() == {"ready": True, "reasons": [], "warnings": []}
                stop.set()
                await trio.testing.wait_all_tasks_blocked()
                assert codes(await http.get("/readyz")) == ["stopping"]
                role.may_finish.set()


async def test_an_admin_address_that_is_taken_is_one_clear_line() -> None:
    listeners = await open_listeners("127.0.0.1:0")
    address = address_of(listeners)
    with trio.fail_after(5), pytest.RaisesGroup(Failed, flatten_subgroups=True) as caught:
        await run_role(Toy(admin_listen=address), until=trio.sleep_forever)
    assert address in str(caught.value.exceptions[0])
    await listeners[0].aclose()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_ends_the_wait_of_everybody(number: signal.Signals) -> None:
    with trio.fail_after(5):
        async with stop_signal() as stop, trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            nursery.start_soon(stop)
            os.kill(os.getpid(), number)


SECOND_SIGNAL = """
    import os, signal, trio
    from pushctl.log_gathering import gathered
    from pushctl.runtime import stop_signal

    async def main():
        async with gathered(), stop_signal() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            await stop()
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()

    trio.run(main)
"""


def test_a_second_signal_ends_the_process_at_once_with_1() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SECOND_SIGNAL)], timeout=20, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    *lines, last = ended.stderr.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["stopping", "not_drained"]
    assert last == "pushctl: stopped at once"


LIMITED = """
import resource, sys
from pushctl import log
from pushctl.open_files import raise_open_file_limit
log.configure("info", "json")
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))
print(raise_open_file_limit(int(sys.argv[1])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("needed", "warned"), [(4096, False), (4097, True)])
def test_the_limit_of_open_files_is_raised_to_the_hard_one_and_a_word_said_if_that_is_too_low(
    needed: int, warned: bool
) -> None:
    command = [sys.executable, "-c", LIMITED, str(needed)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert ran.stdout == "4096 4096\n"
    said = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [(line["event"], line["limit"], line["needed"]) for line in said] == (
        [("open_files_low", 4096, needed)] if warned else []
    )
