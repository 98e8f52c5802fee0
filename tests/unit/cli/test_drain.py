"""`pushctl drain` and `undrain`: what they take, and how the way to the end is shown."""

import pytest

from pushctl.cli.drain_view import DrainView, in_words
from pushctl.emptying import Outcome, Progress
from tests.unit.cli.commands import run

NOWHERE = ("--set", "redis.url=unix:///nowhere.sock", "--set", "redis.connect_seconds=0.01")


def progress(state: Outcome, connections: int, began_with: int = 1000) -> Progress:
    return Progress("2026-01-01T00:00:00.000Z", "s1", state, connections, began_with, 300.0)


@pytest.mark.parametrize("command", ["drain", "undrain"])
def test_without_redis_it_cannot_connect(command: str) -> None:
    ran = run(command, "s1", *NOWHERE)
    assert (ran.code, ran.out) == (5, "")
    assert "Start it, or set [redis] url" in ran.err


def test_ctrl_c_before_the_server_was_asked_does_not_say_that_it_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pushctl.cli.drain._drain", interrupted)
    ran = run("drain", "s1")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_a_bad_duration_is_wrong_usage() -> None:
    ran = run("drain", "s1", "--over", "soon", *NOWHERE)
    assert ran.code == 2
    assert "is not a duration" in ran.err


@pytest.mark.parametrize("command", ["drain", "undrain"])
def test_the_help_ends_with_examples(command: str) -> None:
    ran = run(command, "--help")
    assert ran.code == 0
    assert f"pushctl {command} s1" in ran.out.partition("Examples:")[2]


def test_a_log_gets_the_result_alone_when_it_was_quick(capsys: pytest.CaptureFixture[str]) -> None:
    with DrainView(as_json=False) as view:
        for each in (progress("waiting", 1000), progress("draining", 400), progress("drained", 0)):
            view.show(each)
    said = capsys.readouterr()
    assert said.out.startswith("s1 is empty, after 0 s; ")
    assert said.err == ""


def test_a_program_gets_every_look_as_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with DrainView(as_json=True) as view:
        view.show(progress("draining", 412))
    assert capsys.readouterr().out == (
        '{"at":"2026-01-01T00:00:00.000Z","server":"s1","state":"draining","connections":412,"began_with":1000,'
        '"over_seconds":300.0}\n'
    )


def test_a_terminal_gets_a_bar_with_how_many_are_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with DrainView(as_json=False) as view:
        view.show(progress("draining", 400))
        view.show(progress("drained", 0))
    said = capsys.readouterr()
    assert "400 of 1,000 connections left" in said.err
    assert said.out.startswith("s1 is empty")


def test_the_result_in_words() -> None:
    assert in_words(progress("left", 0), 3) == "s1 has left: its process ended"
    assert in_words(progress("drained", 0, began_with=0), 3).startswith("s1 is empty, it had no connections; ")
