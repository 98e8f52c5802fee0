"""`pushctl inspect`: what it takes, and with which code it ends when there is nothing to look at."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pushctl.cli.inspect_view import message_view, push_url_view, server_view, user_view
from pushctl.cli.layout import print_report
from pushctl.identity.keys import Keys
from pushctl.identity.sealing import PushAddress, Sealer
from pushctl.ids import PushUrlId, UserId, new_id
from pushctl.inspection import MessageReport, PushUrlReport, ServerReport, UserReport
from tests.terminal import hold_screen
from tests.unit.cli.commands import run

VIEWS: dict[str, tuple[type[msgspec.Struct], Any]] = {
    "user": (UserReport, user_view),
    "push-url": (PushUrlReport, push_url_view),
    "message": (MessageReport, message_view),
    "server": (ServerReport, server_view),
}
USER = "t0pW3d85nG9aze33TZtO5w"
NOWHERE = ("--set", "redis.url=unix:///nowhere.sock", "--set", "redis.connect_seconds=0.01")


@pytest.mark.parametrize(
    ("kind", "typed", "expected"),
    [
        ("user", "not an id", "expected a user's id"),
        ("push-url", "nonsense", "expected a push URL"),
        ("message", f"{USER}/x", "expected a message's id"),
        ("server", "s/1", "expected a socket server's id"),
    ],
)
def test_a_bad_id_is_wrong_usage_and_says_what_was_expected(kind: str, typed: str, expected: str) -> None:
    ran = run("inspect", kind, typed, *NOWHERE)
    assert (ran.code, ran.out) == (2, "")
    assert expected in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("kind", "typed"), [("user", USER), ("push-url", f"{USER}/abc"), ("message", f"{USER}/1"), ("server", "s1")]
)
def test_without_redis_it_cannot_connect(kind: str, typed: str) -> None:
    ran = run("inspect", kind, typed, *NOWHERE)
    assert (ran.code, ran.out) == (5, "")
    assert "Start it, or set [redis] url" in ran.err


@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize(("kind", "rest"), [("user", ""), ("push-url", "/abc"), ("message", "/17"), ("server", "")])
def test_an_id_may_begin_with_a_dash(dashes: str, kind: str, rest: str) -> None:
    user = f"{dashes}h{USER[3:]}{rest}"  # 'h' would be a short option
    assert run("inspect", kind, user, *NOWHERE).code == 5
    assert run("inspect", kind, *NOWHERE, "--json", user).code == 5
    assert run("inspect", kind, *NOWHERE, "--", user).code == 5
    assert run("inspect", kind, "--jsn", user, *NOWHERE).code == 2


def sealed(tmp_path: Path) -> tuple[str, Path]:
    keys = Keys.generate()
    keys.write(tmp_path / "keys.toml")
    sealer = Sealer(keys)
    token = sealer.seal_push_url(PushAddress(UserId(USER), PushUrlId(new_id()), 1), sealer.key_id)
    return f"https://push.example/push/{token}", tmp_path / "keys.toml"


def test_a_sealed_text_needs_the_keys_file_and_says_so(tmp_path: Path) -> None:
    url, keys_file = sealed(tmp_path)
    ran = run("inspect", "push-url", url, *NOWHERE)
    assert (ran.code, ran.out) == (2, "")
    assert "identity.keys_file: required to open push URLs and message ids; or give USER/ID" in ran.err
    assert run("inspect", "push-url", url, *NOWHERE, "--set", f"identity.keys_file={keys_file}").code == 5


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_push_url_need_not_stand_in_the_process_list(way: str, tmp_path: Path) -> None:
    url, keys_file = sealed(tmp_path)
    (tmp_path / "url").write_text(f"{url}\n")
    typed = "@-" if way == "standard input" else f"@{tmp_path / 'url'}"
    arguments = ("inspect", "push-url", typed, *NOWHERE, "--set", f"identity.keys_file={keys_file}")
    assert run(*arguments, stdin=url.encode()).code == 5  # it opened: Redis is what is missing
    ran = run("inspect", "push-url", f"@{tmp_path / 'none'}", *NOWHERE)
    assert ran.code == 2


def test_a_wrong_push_url_is_not_repeated(tmp_path: Path) -> None:
    url, keys_file = sealed(tmp_path)
    ran = run("inspect", "push-url", url[:-1], *NOWHERE, "--set", f"identity.keys_file={keys_file}")
    assert ran.code == 2
    assert url.rpartition("/")[2][:20] not in ran.out + ran.err


@pytest.mark.parametrize("kind", ["user", "push-url", "message", "server"])
def test_help_ends_with_examples(kind: str) -> None:
    ran = run("inspect", kind, "--help")
    assert ran.code == 0
    assert f"pushctl inspect {kind}" in ran.out.split("Examples:")[1]


@pytest.mark.parametrize("columns", [80, 120])
def test_reports_have_the_layout_that_is_kept(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of what a running service once said of a user, a push URL, a message and a server (inspections.jsonl)."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for line in (Path(__file__).parent / "inspections.jsonl").read_bytes().splitlines():
        said = msgspec.json.decode(line)
        shape, view = VIEWS[said["kind"]]
        print_report(msgspec.convert(said["report"], shape), view)
        hold_screen(f"inspect-{said['kind']}", columns, capsys.readouterr().out.splitlines())
