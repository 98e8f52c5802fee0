"""`pushctl serve all`: what it decides, what the operator may say, and one real run with its end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from pushctl.cli import main
from pushctl.cli.everything import Options, Plan, make_plan
from pushctl.config.check import dev_idp_on
from pushctl.config.load import load
from pushctl.errors import ConfigError
from pushctl.identity.keys import Keys
from tests.conftest import redis_binary

PUSHCTL = [sys.executable, "-m", "pushctl"]


def plan(data_dir: Path, *sets: str, host: str = "127.0.0.1", auto: bool = False, sockets: int = 2) -> Plan:
    loaded = load(None, sets, {}, default_directory=Path("/nonexistent"))
    return make_plan(loaded, Options(data_dir, host, auto, sockets))


def by_label(made: Plan) -> dict[str, tuple[str, str]]:
    """Public and admin address of each part."""
    found = {}
    for part in made.parts:
        table = getattr(part.config, part.name)
        label = table.id if part.name == "socket" else part.name
        found[label] = (getattr(table, "listen", "-"), table.admin_listen)
    return found


def test_every_role_is_there_once_and_socket_servers_as_many_as_asked_on_known_ports(tmp_path: Path) -> None:
    assert by_label(plan(tmp_path, sockets=3)) == {
        "api": ("127.0.0.1:8080", "127.0.0.1:9080"),
        "boxoffice": ("127.0.0.1:8081", "127.0.0.1:9081"),
        "router": ("-", "127.0.0.1:9083"),
        "gc": ("-", "127.0.0.1:9084"),
        "s1": ("127.0.0.1:8082", "127.0.0.1:9090"),
        "s2": ("127.0.0.1:8083", "127.0.0.1:9091"),
        "s3": ("127.0.0.1:8084", "127.0.0.1:9092"),
    }


def test_auto_ports_are_any_free_ones(tmp_path: Path) -> None:
    assert set(by_label(plan(tmp_path, host="::1", auto=True)).values()) == {("[::1]:0", "[::1]:0"), ("-", "[::1]:0")}


def test_on_loopback_anybody_may_log_in_and_limits_by_address_are_off(tmp_path: Path) -> None:
    made = plan(tmp_path)
    for part in made.parts:
        assert dev_idp_on(part.config)
        assert part.config.limits.exempt_networks == ("127.0.0.0/8", "::1/128")
        assert part.config.socket.rpc_listen == "127.0.0.1:0"  # so that every strategy may be tried
        assert getattr(part.config, part.name).drain_seconds == 5
    assert any("provider is on" in note for note in made.notes)


def test_elsewhere_nobody_may_and_it_says_so_and_the_admin_listeners_stay_here(tmp_path: Path) -> None:
    made = plan(tmp_path, host="10.0.0.1")
    assert not any(dev_idp_on(part.config) for part in made.parts)
    assert "the development identity provider is off: 10.0.0.1 is not a loopback address" in made.notes
    assert by_label(made)["api"] == ("10.0.0.1:8080", "127.0.0.1:9080")


def test_what_the_operator_says_goes_before_the_defaults_of_all(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        "identity.environment=production",
        "api.drain_seconds=1",
        "limits.exempt_networks=",
        "limits.unread_per_user=7",
        "api.public_url=https://push.example",
        "api.inbox=false",
    )
    config = made.parts[0].config
    assert not config.api.inbox
    assert not dev_idp_on(config)
    assert (config.api.drain_seconds, config.gc.drain_seconds) == (1, 5)
    assert config.limits.exempt_networks == ()
    assert config.limits.unread_per_user == 7
    assert config.api.public_url == "https://push.example"


def test_what_all_decides_itself_is_named_and_not_passed_over(tmp_path: Path) -> None:
    notes = plan(tmp_path, "redis.url=redis://elsewhere", "api.listen=127.0.0.1:1").notes
    assert "redis.url from --set is not used: `serve all` decides it itself" in notes
    assert "api.listen from --set is not used: `serve all` decides it itself" in notes
    assert not [note for note in plan(tmp_path).notes if "not used" in note]


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["identity.environment=development"], "both or neither"),
        (["identity.dev_idp.enabled=true"], "both or neither"),
        (["socket.public_url=ws://push.example/"], "one URL for 2 socket servers"),
    ],
)
def test_a_mistake_is_said_once_however_many_roles_it_stops(tmp_path: Path, sets: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, *sets)
    assert len(caught.value.mistakes) == 1
    assert says in caught.value.mistakes[0]


def test_a_listen_host_that_is_none_is_a_mistake_of_that_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--listen-host: expected host:port"):
        plan(tmp_path, host="")


@contextmanager
def serving(data_dir: Path, *flags: str) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """A `serve all` process and the two lines that it printed when ready."""
    command = [*PUSHCTL, "serve", "all", "--ports", "auto", "--data-dir", str(data_dir), *flags]
    environ = os.environ | {"PUSHCTL_REDIS_SERVER": redis_binary()}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines[1], process.communicate()[1]
        yield process, lines
    finally:
        process.kill()
        process.communicate()


def finished(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    return process.returncode, out, err


def user_keys(url: str) -> Sequence[object]:
    with redis.Redis.from_url(url) as client:
        return list(client.scan_iter(count=1000))


def test_everything_starts_says_where_it_is_stops_and_comes_back_with_its_data(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, (line, addresses)):
        assert line.startswith("ready role=all listen=127.0.0.1:")
        assert int(line.split("startup_ms=")[1]) > 0
        where = json.loads(addresses)
        assert list(where) == ["api", "boxoffice", "socket", "admin", "redis"]
        assert len(set(where["socket"])) == 2
        assert all(url.startswith("ws://127.0.0.1:") for url in where["socket"])
        assert set(where["admin"]) == {"api", "boxoffice", "router", "gc", "s1", "s2"}
        with httpx.Client() as http:
            for url in where["admin"].values():
                assert http.get(f"{url}/readyz").json()["reasons"] == []
            assert http.get(f"{where['admin']['api']}/healthz").json()["dev_idp"] is True
            assert http.get(f"{where['boxoffice']}/v1/servers").status_code == 401
            told = http.get(f"{where['api']}/inbox/config.json").json()
            assert (told["api"], told["boxoffice"], told["dev_idp"]) == (where["api"], where["boxoffice"], True)
        assert (tmp_path / "keys.toml").stat().st_mode & 0o777 == 0o600
        keys = Keys.load(tmp_path / "keys.toml")
        with redis.Redis.from_url(where["redis"]) as client:
            client.set("pushctl:kept", "1")
        code, out, err = finished(process, signal.SIGTERM)
        assert (code, out) == (0, "")
        assert "Traceback" not in err
        assert f"the inbox in a browser: {where['api']}/inbox/\n" in err
    with serving(tmp_path, "--sockets", "1") as (process, (_, addresses)):
        where = json.loads(addresses)
        assert len(where["socket"]) == 1
        assert Keys.load(tmp_path / "keys.toml") == keys
        assert b"pushctl:kept" in user_keys(where["redis"])
        code, out, err = finished(process, signal.SIGINT)
        assert (code, out) == (0, "")
        assert "Traceback" not in err


def test_told_to_stop_while_it_waits_for_the_data_directory_it_ends_with_0(tmp_path: Path) -> None:
    with serving(tmp_path) as _:
        command = [*PUSHCTL, "serve", "all", "--ports", "auto", "--data-dir", str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
            try:
                assert second.stderr is not None
                while "data_dir_in_use" not in (line := second.stderr.readline()):
                    assert line
                os.kill(second.pid, signal.SIGTERM)
                out, err = second.communicate(timeout=10)
            finally:
                second.kill()
        assert (second.returncode, out) == (0, "")
        assert "Traceback" not in err


def test_check_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "all", "--check", "--data-dir", str(tmp_path / "data")])
    assert (ended.value.code, capsys.readouterr().out) == (0, "")
    assert not (tmp_path / "data").exists()
