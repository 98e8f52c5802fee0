"""The embedded Redis, for real: it serves, keeps its data, and never outlives us."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis
import trio

from pushctl import embedded
from pushctl.embedded import EmbeddedRedis
from pushctl.embedded.program import SERVER_VARIABLE
from pushctl.errors import Failed
from tests.conftest import redis_binary

PARENT = """
    import sys, trio
    from functools import partial
    from pathlib import Path
    from pushctl import embedded

    async def main():
        async with trio.open_nursery() as nursery:
            start = partial(embedded.serve, options=sys.argv[2:])
            running = await nursery.start(start, Path(sys.argv[1]))
            print(running.pid, running.url, flush=True)

    trio.run(main)
"""


@pytest.fixture(autouse=True, params=["wheel", pytest.param("debian", marks=pytest.mark.debian)])
def _server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything on the wheel's server and on Debian's."""
    server = redis_binary() if request.param == "wheel" else "/usr/bin/redis-server"
    monkeypatch.setenv(SERVER_VARIABLE, server)


@contextmanager
def parent(data_dir: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A process of its own that runs an embedded Redis: the process, Redis' pid and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(data_dir), *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        pid, url = process.stdout.readline().split()
        yield process, int(pid), url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def is_alive(pid: int) -> bool:
    """Not gone, and not a zombie nobody has looked after yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while is_alive(pid):  # not our child, so nothing tells us
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def ask(running: EmbeddedRedis, *command: str) -> object:
    with redis.Redis.from_url(running.url, decode_responses=True) as client:
        return client.execute_command(*command)


async def test_it_serves_on_a_private_socket_and_no_port_and_refuses_to_forget(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(embedded.serve, tmp_path)
            settings = {
                "port": "0",
                "unixsocketperm": "700",
                "appendonly": "yes",
                "appendfsync": "everysec",
                "save": "",
                "maxmemory-policy": "noeviction",
            }
            with redis.Redis.from_url(running.url, decode_responses=True) as client:
                assert {name: client.config_get(name)[name] for name in settings} == settings
            assert (tmp_path / "VERSION").read_text() == f"{running.server}\n"
            assert not [file for file in tmp_path.rglob("*.aof*") if file.stat().st_mode & 0o077]  # noqa: ASYNC240
            nursery.cancel_scope.cancel()
    assert not is_alive(running.pid)
    assert not (tmp_path / "redis.sock").exists()


async def test_data_survives_a_clean_stop_and_a_stop_is_quick(tmp_path: Path) -> None:
    begun = trio.current_time()
    for expected in (None, "kept"):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                running = await nursery.start(embedded.serve, tmp_path)
                assert ask(running, "GET", "key") == expected
                ask(running, "SET", "key", "kept")
                nursery.cancel_scope.cancel()
    assert trio.current_time() - begun < 8, "it was killed, not stopped"


async def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(embedded.serve, tmp_path / ("long " * 30))
            assert ask(running, "PING") is True
            nursery.cancel_scope.cancel()


async def test_two_on_one_directory_the_second_says_who_has_it(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(embedded.serve, tmp_path)
            with pytest.raises(Failed, match=f"in use by process {os.getpid()}"):
                await embedded.serve(tmp_path, lock_seconds=0.2)
            assert ask(running, "PING") is True
            nursery.cancel_scope.cancel()


async def test_an_end_that_nobody_asked_for_is_an_error(tmp_path: Path) -> None:
    with trio.fail_after(20), pytest.RaisesGroup(pytest.RaisesExc(Failed, match="ended by itself")):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(embedded.serve, tmp_path)
            os.kill(running.pid, signal.SIGKILL)


async def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    why = pytest.RaisesExc(Failed, match="did not start: .*no-such-option")
    with trio.fail_after(20), pytest.RaisesGroup(why, flatten_subgroups=True):
        await embedded.serve(tmp_path, options=["--no-such-option", "1"])


async def test_an_older_server_leaves_a_newer_directory_alone(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("redis 99.0.0\n")
    with trio.fail_after(20), pytest.raises(Failed, match=r"was written by redis 99\.0\.0"):
        await embedded.serve(tmp_path)
    assert not (tmp_path / "redis.log").exists()


def test_killed_with_9_we_leave_no_redis_behind(tmp_path: Path) -> None:
    with parent(tmp_path) as (process, pid, _):
        assert is_alive(pid)
        process.kill()
        process.wait()
        wait_until_gone(pid, 5)


def test_a_start_right_after_kill_9_waits_for_the_old_redis_and_finds_its_data(tmp_path: Path) -> None:
    with parent(tmp_path, "--appendfsync", "always") as (process, pid, url):
        with redis.Redis.from_url(url) as client:
            client.set("key", "kept" * 1000)
            # As slow to go as one with much to write: it is stopped, and told to go on when the next one waits.
            os.kill(pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        assert is_alive(pid)

        async def next_one() -> None:
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, partial(go_on_later, pid))
                    running = await nursery.start(embedded.serve, tmp_path)
                    assert not is_alive(pid)
                    assert ask(running, "GET", "key") == "kept" * 1000
                    nursery.cancel_scope.cancel()

        trio.run(next_one)


def go_on_later(pid: int) -> None:
    time.sleep(0.3)
    os.kill(pid, signal.SIGCONT)


def test_ctrl_c_in_a_terminal_reaches_us_and_not_redis(tmp_path: Path) -> None:
    with parent(tmp_path) as (_, pid, _):
        assert os.getsid(pid) == pid
        assert os.getsid(pid) != os.getsid(0)


@pytest.mark.long
async def test_redis_outlives_15_idle_seconds(tmp_path: Path) -> None:
    """Trio's worker threads end after 10 idle seconds; a death signal would follow the one that forked."""
    with trio.fail_after(40):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(embedded.serve, tmp_path)
            await trio.sleep(15)
            assert is_alive(running.pid)
            assert ask(running, "PING") is True
            nursery.cancel_scope.cancel()
