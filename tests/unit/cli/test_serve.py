"""`pushctl serve ROLE`: the check, the ready line, the stop."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pushctl.cli import main
from pushctl.config.model import Config
from pushctl.identity.keys import Keys

PUSHCTL = [sys.executable, "-m", "pushctl"]


def run(*args: str) -> tuple[int, str, str]:
    ended = subprocess.run([*PUSHCTL, "serve", *args], capture_output=True, text=True, timeout=20, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def run_here(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """What does not get as far as serving needs no process of its own."""
    with pytest.raises(SystemExit) as ended:
        main(["serve", *args])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@contextmanager
def serving(*args: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen([*PUSHCTL, "serve", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def file(tmp_path: Path, config: Config) -> Path:
    """A configuration that any role can start with."""
    Keys.generate().write(tmp_path / "keys.toml")
    here = "127.0.0.1:0"
    tables = [f'[redis]\nurl = "{config.redis.url}"\nprefix = "{config.redis.prefix}"\nconnect_seconds = 5']
    tables += [f'[{role}]\nadmin_listen = "{here}"' for role in ("router", "gc")]
    for role, url in (("api", "http://a.example"), ("boxoffice", "http://b.example"), ("socket", "ws://s.example/")):
        tables.append(f'[{role}]\nlisten = "{here}"\nadmin_listen = "{here}"\npublic_url = "{url}"')
    tables.append('id = "s1"')
    tables.append(f'[identity]\nkeys_file = "{tmp_path / "keys.toml"}"')
    path = tmp_path / "pushctl.toml"
    path.write_text("\n".join(tables))
    return path


@pytest.mark.parametrize("role", ["api", "boxoffice", "socket", "router", "gc"])
def test_a_role_says_that_it_is_ready_and_where_and_stops_when_told(role: str, file: Path) -> None:
    with serving(role, "--config", str(file)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        said = re.fullmatch(rf"ready role={role} listen=(\S+) startup_ms=\d+ admin=(127\.0\.0\.1:\d+)\n", line)
        assert said is not None, line
        assert re.fullmatch(r"-" if role in ("router", "gc") else r"127\.0\.0\.1:[1-9]\d*", said[1])
        version = httpx.get(f"http://{said[2]}/version").json()
        assert version["role"] == ("s1" if role == "socket" else role)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=15)
        assert (process.returncode, out) == (0, "")
        assert "Traceback" not in err


def test_a_role_loads_no_library_that_it_does_not_use() -> None:
    """Each takes longer to import than the role itself; redis-py brings OpenTelemetry along where that is installed."""
    heavy = {"httpx", "litestar", "opentelemetry", "pydantic", "redis", "rich", "sqlite3"}
    code = f"""
import sys
import pushctl.cli.serve, pushctl.cli.serve_one, roles.gc, roles.router, roles.socket
def loaded():
    print(sorted({heavy!r} & {{name.partition(".")[0] for name in sys.modules}}))
loaded()
import roles.api, roles.boxoffice
loaded()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stdout == "[]\n['litestar']\n"


def test_check_says_whether_a_role_would_start_and_starts_nothing(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    code, out, err = run_here(capsys, "api", "--config", str(file), "--check")
    assert (code, out) == (0, "")
    assert err == "pushctl: the configuration of api is good\n"
    file.with_name("keys.toml").chmod(0o644)
    code, out, err = run_here(capsys, "api", "--config", str(file), "--check")
    assert (code, out) == (2, "")
    assert "keys.toml" in err


def test_all_mistakes_come_at_once_and_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run_here(capsys, "socket")
    assert (code, out) == (2, "")
    assert [line.split(":")[1].strip() for line in err.splitlines()] == [
        "socket.public_url",
        "api.public_url",
        "socket.id",
        "identity.keys_file",
    ]


def test_without_redis_a_role_gives_up_with_one_clear_line_and_5(file: Path) -> None:
    begun = time.monotonic()
    elsewhere = ("--set", "redis.url=unix:///nonexistent/redis.sock", "--set", "redis.connect_seconds=0.3")
    code, out, err = run("router", "--config", str(file), *elsewhere)
    assert (code, out) == (5, "")
    assert time.monotonic() - begun < 10
    (line,) = [line for line in err.splitlines() if not line.startswith("{")]
    assert line.startswith("pushctl: ")
    assert "/nonexistent/redis.sock" in line


def test_a_taken_port_is_one_clear_line_and_1(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out, err = run("boxoffice", "--config", str(file), "--set", f"boxoffice.listen={listen}")
    assert (code, out) == (1, "")
    (line,) = [line for line in err.splitlines() if not line.startswith("{")]
    assert listen in line


def test_gc_once_does_one_round_and_ends_with_0(file: Path) -> None:
    code, out, err = run("gc", "--config", str(file), "--once")
    assert (code, out) == (0, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "args", [("api", "--sockets", "2"), ("gc", "--data-dir", "x"), ("api", "--once"), ("all", "--sockets", "0")]
)
def test_flags_that_do_not_belong_together_end_with_2(
    capsys: pytest.CaptureFixture[str], args: tuple[str, ...]
) -> None:
    code, out, err = run_here(capsys, *args)
    assert (code, out) == (2, "")
    assert "Usage: pushctl serve" in err
