"""`pushctl doctor`, as an operator runs it: the exit code says how bad it is, the report fits, no secret is shown."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import msgspec
import pytest
import redis
from rich.console import Console

from pushctl.checkup import CHECKS, Finding
from pushctl.checkup.finding import bad, ok
from pushctl.cli.doctor_view import Report
from pushctl.identity.keys import Keys
from tests.conftest import RedisProcess
from tests.unit.cli.commands import Ran, run

NOWHERE = "redis.url=redis://:hunter2@127.0.0.1:1/0"


@pytest.fixture
def own_redis(folder: Path) -> Iterator[RedisProcess]:
    """One that nothing is to be said of."""
    process = RedisProcess(folder, "appendfsync everysec")
    yield process
    process.kill()


@pytest.fixture
def good(tmp_path: Path, own_redis: RedisProcess) -> tuple[str, ...]:
    """Flags under which all is well."""
    Keys.generate().write(tmp_path / "keys.toml")
    sets = (
        f"identity.keys_file={tmp_path / 'keys.toml'}",
        f"redis.url={own_redis.url}",
        "api.public_url=https://push.example",
        "redis.connect_seconds=5",
        "socket.max_connections=100",
        "http.max_connections=100",
    )
    return tuple(word for each in sets for word in ("--set", each))


def findings(ran: Ran) -> dict[str, Finding]:
    return {finding.check: finding for finding in (msgspec.convert(line, Finding) for line in ran.lines)}


def test_when_all_is_well_it_says_so_and_ends_with_0(good: tuple[str, ...]) -> None:
    ran = run("doctor", "api", *good)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1].split(", ")[0].endswith(" good")
    assert "✗" not in ran.out
    assert [line for line in ran.out.splitlines() if not line.startswith(" ")][:2] == ["This machine", "Configuration"]


def test_something_bad_ends_with_3_and_says_what_to_run(good: tuple[str, ...], own_redis: RedisProcess) -> None:
    with redis.Redis(unix_socket_path=str(own_redis.path)) as client:
        client.config_set("maxmemory-policy", "volatile-ttl")
    ran = run("doctor", *good)
    assert ran.code == 3
    assert "✗ eviction" in ran.out
    assert f"→ redis-cli -s {own_redis.path} CONFIG SET maxmemory-policy noeviction\n" in ran.out
    assert ran.out.splitlines()[-1].endswith(", 1 bad")


def test_a_warning_alone_ends_with_0(good: tuple[str, ...], own_redis: RedisProcess) -> None:
    with redis.Redis(unix_socket_path=str(own_redis.path)) as client:
        client.config_set("appendfsync", "no")
    ran = run("doctor", *good, "--json")
    assert (ran.code, findings(ran)["persistence"].verdict) == (0, "warn")


def test_without_redis_it_ends_with_5_after_all_that_can_be_said_without(good: tuple[str, ...]) -> None:
    ran = run("doctor", *good, "--set", NOWHERE, "--set", "redis.connect_seconds=0.2", "--json")
    assert ran.code == 5
    assert {"open_files", "keys_file"} <= findings(ran).keys()
    (last,) = ran.lines[-1:]
    assert last["check"] == "reach"
    assert "Gave up after 0.2 s" in last["means"]
    assert "Start it" in last["means"]
    assert "hunter2" not in ran.out + ran.err


def test_a_configuration_that_is_wrong_ends_with_2_whatever_else_there_is(good: tuple[str, ...]) -> None:
    away = ("--set", NOWHERE, "--set", "redis.connect_seconds=0.2")
    ran = run("doctor", "boxoffice", *good, *away, "--json")
    assert (ran.code, findings(ran)["roles"].verdict, findings(ran)["reach"].verdict) == (2, "bad", "bad")


def test_mistakes_in_the_configuration_are_all_named_and_the_machine_is_looked_at_anyway() -> None:
    ran = run("doctor", "--set", "gc.bach=1", "--set", "api.listen=x", "--json")
    assert ran.code == 2
    found = [line["found"] for line in ran.lines if line["check"] == "files"]
    assert len(found) == 2
    assert "did you mean gc.batch" in found[0]
    assert findings(ran)["open_files"].verdict in ("ok", "bad")
    assert findings(ran)["reach"].verdict == "unknown"


def test_a_role_that_is_none_is_wrong_usage() -> None:
    ran = run("doctor", "nobody")
    assert (ran.code, ran.out) == (2, "")


def test_no_check_has_a_name_of_another_and_json_uses_these_names(good: tuple[str, ...]) -> None:
    assert len(set(CHECKS)) == len(CHECKS)
    assert findings(run("doctor", *good, "--json")).keys() <= set(CHECKS)


def report_of(*findings: Finding, width: int = 80) -> str:
    screen = io.StringIO()
    with redirect_stdout(screen):
        report = Report(as_json=False, console=Console(width=width))
        report.add(findings)
        report.finish()
    return screen.getvalue()


def test_the_report_fits_80_columns_and_what_is_to_be_copied_stays_in_one_piece() -> None:
    command = "redis-cli -h " + "a-very-long-host." * 6 + "example CONFIG SET maxmemory-policy noeviction"
    shown = report_of(
        bad("word " * 30, "other " * 60, command).about("Redis 10.0.0.1:6379", "idle_timeout"),
        ok("found " * 30).about("Redis 10.0.0.1:6379", "clock"),
    )
    long = [line for line in shown.splitlines() if len(line) > 80]
    assert [line.strip() for line in long] == [f"→ {command}"]
    assert shown.splitlines()[-1] == "1 good, 1 bad"


def test_what_redis_or_a_file_says_cannot_control_the_terminal() -> None:
    shown = report_of(bad("\x1b[2Jred", "\x1b[31m", "\x1b]0;title\x07").about("Redis \x1b[1m", "version"))
    assert "\x1b" not in shown


def test_no_colour_where_none_is_wanted(good: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32m" in run("doctor", *good).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in run("doctor", *good).out
