"""What a service manager hears of real processes, on a real socket: ready, reloading, alive, stopping."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.to_thread import run_sync as to_thread

from pushctl.identity.keys import Keys
from pushctl.ids import new_id
from pushctl.liveness import Loop
from pushctl.supervision import Supervision, Supervisor
from tests.conftest import RedisProcess
from tests.processes import dying_with_us
from tests.unit.test_runtime import Toy

CEILING_SECONDS = 20

# The real command line. SIGUSR1 keeps its main thread busy, and so its event loop, for two seconds.
SERVE = """
import signal, sys, time
from pushctl.cli import main
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(2))
sys.argv = ["pushctl", "serve", *sys.argv[1:]]
sys.exit(main())
"""


class Manager:
    """A service manager that hears."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(CEILING_SECONDS)

    def hear(self) -> dict[str, str]:
        """The next message, by its words."""
        lines = self.socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def until_silent(self, *, seconds: float) -> None:
        """Hear what was said before, until nothing is said for so long."""
        self.socket.settimeout(seconds)
        with suppress(TimeoutError):
            while self.hear():
                pass
        self.socket.settimeout(CEILING_SECONDS)

    def until(self, word: str) -> dict[str, str]:
        while word not in (said := self.hear()):
            pass
        return said


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest) -> Iterator[Manager]:
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        name = f"{folder}/notify" if request.param == "path" else f"@{Path(folder).name}"
        manager = Manager(name)
        yield manager
        manager.socket.close()


@contextmanager
def serving(manager: Manager, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    Keys.generate().write(folder / "keys.toml")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PUSHCTL_")}
    environment |= {
        "NOTIFY_SOCKET": manager.name,
        "WATCHDOG_USEC": "400000",
        "PUSHCTL_IDENTITY__KEYS_FILE": str(folder / "keys.toml"),
    }
    command = dying_with_us([sys.executable, "-c", SERVE, *arguments])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_service_manager_hears_of_a_whole_life_and_nothing_while_the_event_loop_stands(
    manager: Manager, redis_process: RedisProcess, tmp_path: Path
) -> None:
    arguments = ("gc", "--set", "gc.admin_listen=127.0.0.1:0", "--set", f"redis.prefix={new_id()}")
    settings = ("--set", f"redis.url={redis_process.url}", "--set", "gc.drain_seconds=33")
    with serving(manager, tmp_path, *arguments, *settings) as process:
        ready = manager.hear()
        assert ready == {"READY": "1", "STATUS": "ready, gc works"}
        for _ in range(2):
            assert manager.hear() == {"WATCHDOG": "1"}
        process.send_signal(signal.SIGHUP)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        reloading = manager.until("RELOADING")
        assert before - 5_000_000 < int(reloading["MONOTONIC_USEC"]) < before + 20_000_000
        assert manager.until("READY")["STATUS"] == "ready, gc works"
        process.send_signal(signal.SIGUSR1)
        manager.until_silent(seconds=1)
        assert manager.until("WATCHDOG")
        process.terminate()
        stopping = manager.until("STOPPING")
        assert stopping["EXTEND_TIMEOUT_USEC"] == "43000000"
        assert "draining" in stopping["STATUS"]
        assert process.wait(CEILING_SECONDS) == 0


@pytest.mark.slow
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_serve_all_is_ready_once_everybody_is(manager: Manager, tmp_path: Path) -> None:
    arguments = ("all", "--ports", "auto", "--data-dir", str(tmp_path / "data"), "--sockets", "1")
    with serving(manager, tmp_path, *arguments) as process:
        ready = manager.hear()
        assert process.stdout is not None
        assert "ready role=all" in process.stdout.readline()
        assert (ready["READY"], "all roles serve" in ready["STATUS"]) == ("1", True)
        assert manager.hear() == {"WATCHDOG": "1"}
        process.terminate()
        assert manager.until("STOPPING")
        assert process.wait(CEILING_SECONDS) == 0


async def test_a_role_with_a_stuck_loop_is_not_said_to_live(manager: Manager) -> None:
    role, loop = Toy(), Loop("the heartbeat")
    environment = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    supervisor = Supervisor.of(environment)
    assert (environment, supervisor.watchdog_seconds) == ({}, 0.1)
    supervision = Supervision(supervisor, [role])
    with trio.fail_after(CEILING_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervision.run, trio.sleep_forever)
            supervision.is_ready("it works")
            assert (await to_thread(manager.hear))["READY"] == "1"
            assert await to_thread(manager.hear) == {"WATCHDOG": "1"}
            role.health.liveness.watch(loop)
            role.health.liveness.patience_seconds = -1  # whatever is not idle is stuck
            await to_thread(partial(manager.until_silent, seconds=0.5))
            role.health.liveness.forget(loop)
            assert await to_thread(manager.hear) == {"WATCHDOG": "1"}
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("manager", ["path"], indirect=True)
async def test_a_drain_longer_than_any_patience_is_not_cut_short_because_loops_have_ended(manager: Manager) -> None:
    role, ended, stop = Toy(), Loop("the heartbeat"), trio.Event()
    supervision = Supervision(Supervisor.of({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "100000"}), [role])
    with trio.fail_after(CEILING_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervision.run, stop.wait)
            supervision.is_ready("it works")
            stop.set()
            assert await to_thread(manager.until, "STOPPING")
            role.health.liveness.watch(ended)
            role.health.liveness.patience_seconds = -1
            for _ in range(3):
                assert await to_thread(manager.hear) == {"WATCHDOG": "1"}
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "/nowhere/at/all"])
async def test_without_a_service_manager_that_hears_nothing_happens(address: str) -> None:
    with trio.fail_after(CEILING_SECONDS):
        await Supervisor.of({"NOTIFY_SOCKET": address}).tell("READY=1")


async def test_a_service_manager_that_takes_no_messages_holds_up_nobody(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "full"))
    supervisor = Supervisor.of({"NOTIFY_SOCKET": manager.name})
    with trio.fail_after(CEILING_SECONDS):
        for _ in range(3):
            with trio.move_on_after(0.2):
                while True:
                    await supervisor.tell("WATCHDOG=1")
        await supervisor.tell("WATCHDOG=1")
    manager.socket.close()


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Supervisor.of(environment).watchdog_seconds is None
