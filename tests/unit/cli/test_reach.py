"""An operator's way to the registry: what is said while Redis does not answer, and where it may be instead."""

from pathlib import Path

import pytest

from tests.unit.cli.commands import run


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a `serve all` of this user has its Redis, or would have it."""
    monkeypatch.setattr("pushctl.cli.everything.default_data_dir", lambda: tmp_path)
    return tmp_path / "redis.sock"


# Port 1 is nobody's. It takes the default's place, which may be somebody's here.
def test_who_runs_serve_all_and_names_no_redis_is_told_of_that_one(
    socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = "redis://127.0.0.1:1/0"
    monkeypatch.setenv("PUSHCTL_REDIS__URL", nobody)
    monkeypatch.setenv("PUSHCTL_REDIS__CONNECT_SECONDS", "0.01")
    socket.touch()
    assert "serve all` here" not in run("stats").err
    monkeypatch.setattr("pushctl.cli.reach._DEFAULT_URL", nobody)
    ran = run("stats")
    assert (ran.code, ran.out) == (5, "")
    assert f"--set redis.url=unix://{socket}" in ran.err
    socket.unlink()
    assert "serve all` here" not in run("stats").err


def test_nobody_sits_before_a_silent_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushctl.cli.reach._SILENT_SECONDS", 0.01)
    ran = run("stats", "--set", "redis.url=unix:///nowhere.sock", "--set", "redis.connect_seconds=0.1")
    assert ran.err.splitlines()[0] == "pushctl: no answer from Redis yet; trying for 0.1 s"
