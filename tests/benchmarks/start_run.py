"""Starts, one after the other, of this checkout and perhaps of another.

Owns: how a start is timed, and what a process holds and does while nobody comes. Promises: everything that was started
is over when `measure_all` returns. Must not know: how it is told.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

from pushctl.identity.keys import Keys
from tests.benchmarks.rig import folder, machine, one_redis, version
from tests.benchmarks.routing_site import cpu_seconds
from tests.benchmarks.unsound import Unsound

HERE = Path(__file__).parents[2]
ROLES = ("api", "boxoffice", "socket", "router", "gc")
FRESH, AGAIN = "serve all, empty directory", "serve all, as it was left"
READY_SECONDS, STOP_SECONDS, SETTLE_SECONDS = 30, 20, 3

CONFIGURATION = """
    redis.url = "{redis}"
    api.public_url = "https://push.example"
    api.admin_listen = "127.0.0.1:0"
    api.listen = "127.0.0.1:0"
    boxoffice.admin_listen = "127.0.0.1:0"
    boxoffice.listen = "127.0.0.1:0"
    boxoffice.public_url = "https://boxoffice.push.example"
    gc.admin_listen = "127.0.0.1:0"
    identity.keys_file = "{keys}"
    identity.browserid = {{ enabled = true, mode = "discover", discover.allow_domains = ["idp.example"] }}
    router.admin_listen = "127.0.0.1:0"
    socket.admin_listen = "127.0.0.1:0"
    socket.id = "s1"
    socket.listen = "127.0.0.1:0"
    socket.public_url = "wss://s1.push.example/"
    socket.rpc_listen = "127.0.0.1:0"
    """


@dataclass(frozen=True, slots=True)
class Size:
    rounds: int
    idle_seconds: float
    before: str = ""
    """Another checkout, to compare with."""


@dataclass(frozen=True, slots=True)
class Start:
    checkout: str
    """now or before"""
    case: str
    seconds: float
    cpu: float
    """Seconds, of all of its processes."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Of a process that is ready and idle."""

    checkout: str
    process: str
    rss: int
    pss: int
    uss: int
    """Bytes."""
    cpu: float
    """Seconds a second."""
    wakes: float
    """A second: how often one of its threads went on after it had waited."""


@dataclass(slots=True)
class Measured:
    machine: str
    redis: str
    size: Size
    nothing: list[float] = field(default_factory=list)
    """CPU of `python -c pass`, seconds."""
    starts: list[Start] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)


def measure_all(size: Size) -> Measured:
    with folder() as here, one_redis() as redis:
        Keys.generate().write(here / "keys.toml")
        config = here / "roles.toml"
        config.write_text(CONFIGURATION.format(redis=redis.url, keys=here / "keys.toml"))
        measured = Measured(machine(), version(redis), size)
        checkouts = {"now": HERE} | ({"before": Path(size.before)} if size.before else {})
        for number in range(size.rounds + 1):  # the first compiles, and does not count
            nothing = _cpu_of_nothing()
            starts = [
                start
                for name, path in checkouts.items()
                for start in _round(name, path, here, here / f"{number}", config)
            ]
            if number:
                measured.nothing.append(nothing)
                measured.starts += starts
        for name, path in checkouts.items():
            measured.rests += _rests(name, path, here / "0" / name, config, size.idle_seconds)
        return measured


def _round(name: str, checkout: Path, here: Path, data: Path, config: Path) -> Iterator[Start]:
    data.mkdir(exist_ok=True)
    for case in (FRESH, AGAIN):
        with _Process(checkout, _serve_all(data / name)) as process:
            yield process.start(name, case)
    for role in ROLES:
        with _Process(checkout, _serve(role, config)) as process:
            yield process.start(name, role)


def _serve_all(data: Path) -> Sequence[str]:
    return ("all", "--ports", "auto", "--data-dir", os.fspath(data))


def _serve(role: str, config: Path) -> Sequence[str]:
    return (role, "--config", os.fspath(config))


def _rests(name: str, checkout: Path, data: Path, config: Path, seconds: float) -> Iterator[Rest]:
    """Of `serve all`, then of all roles beside each other: what they share is shared with each other."""
    with _Process(checkout, _serve_all(data)) as everything:
        [redis] = everything.children()
        yield from _idle(name, {"serve all": everything.pid, "its redis-server": redis}, seconds)
    with ExitStack() as stack:
        processes = {role: stack.enter_context(_Process(checkout, _serve(role, config))) for role in ROLES}
        yield from _idle(name, {role: process.pid for role, process in processes.items()}, seconds)


def _idle(name: str, pids: Mapping[str, int], seconds: float) -> Iterator[Rest]:
    time.sleep(min(SETTLE_SECONDS, seconds))
    before = {process: (cpu_seconds(pid), _wakes(pid)) for process, pid in pids.items()}
    time.sleep(seconds)
    for process, pid in pids.items():
        cpu, wakes = before[process]
        memory = Path(f"/proc/{pid}/smaps_rollup").read_text()
        rss, pss, clean, dirty = (_kb(memory, key) for key in ("Rss", "Pss", "Private_Clean", "Private_Dirty"))
        cpu, wakes = cpu_seconds(pid) - cpu, _wakes(pid) - wakes
        yield Rest(name, process, rss, pss, clean + dirty, cpu / seconds, wakes / seconds)


def _kb(text: str, name: str) -> int:
    return int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) * 1024


def _wakes(pid: int) -> int:
    statuses = (thread / "status" for thread in Path(f"/proc/{pid}/task").iterdir())
    return sum(int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text.read_text(), re.M)[0]) for text in statuses)


def _cpu_of_nothing() -> float:
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], _environment(HERE))
    _, status, used = os.wait4(child, 0)
    if status:
        raise Unsound("`python -c pass` failed")
    return used.ru_utime + used.ru_stime


def _environment(checkout: Path) -> dict[str, str]:
    """Without what would configure it behind our back, or keep Python from compiling once and for all."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PUSHCTL_", "PYTHON"))}
    return kept | {"PYTHONPATH": os.fspath(checkout)}


class _Process:
    """`pushctl serve` until it is ready; leaving the block stops it."""

    def __init__(self, checkout: Path, words: Sequence[str]) -> None:
        """Raises Unsound if it does not become ready."""
        command = [sys.executable, "-m", "pushctl", "serve", *words]
        began = time.monotonic()
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=checkout, env=_environment(checkout)
        )
        self.pid = self._process.pid
        assert self._process.stdout
        with _bounded(READY_SECONDS, self._process.kill):
            line = self._process.stdout.readline()
        self._seconds = time.monotonic() - began
        if not line.startswith(b"ready "):
            self._process.kill()
            said = self._process.communicate()[1].decode("utf-8", "replace")
            raise Unsound(f"{' '.join(words)} did not become ready: {said[-500:]}")
        self._cpu = cpu_seconds(self.pid) + sum(map(cpu_seconds, self.children())) + self._cpu_of_the_gone()

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        with _bounded(STOP_SECONDS, self._process.kill):
            self._process.communicate()

    def start(self, checkout: str, case: str) -> Start:
        return Start(checkout, case, self._seconds, self._cpu)

    def children(self) -> list[int]:
        found = (Path(f"/proc/{self.pid}/task") / f"{self.pid}" / "children").read_text()
        return [int(pid) for pid in found.split()]

    def _cpu_of_the_gone(self) -> float:
        """Of children that it has waited for: redis-server, asked for its version."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _bounded(seconds: float, give_up: Callable[[], None]) -> Iterator[None]:
    timer = Timer(seconds, give_up)
    timer.start()
    yield
    timer.cancel()
