"""The benchmark of accepting messages still works, and says so when something was not stored."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from tests.benchmarks import accept
from tests.benchmarks.accept_run import QUICK, Kind, Measured, Sender, Stretch, measure_all, middle

PLAIN = Stretch(
    kind="plain",
    sender="wrk",
    connections=32,
    processes=1,
    messages=1000,
    per_second=10_000,
    p50_ms=2,
    p99_ms=5,
    api_us=40,
    redis_us=50,
    sender_us=5,
)
MEASURED = Measured(machine="here", redis="Redis 1", seconds=1, users=10, rounds=1, stretches=[PLAIN])


def test_what_was_measured_is_told_again_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others = [msgspec.structs.replace(PLAIN, kind="signed"), msgspec.structs.replace(PLAIN, processes=2, api_us=44)]
    file = tmp_path / "accept.json"
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(MEASURED, stretches=[PLAIN, *others])))
    monkeypatch.setattr(sys, "argv", ["accept", "--from", str(file)])
    accept.main()
    told = capsys.readouterr().out
    assert "| wrk    |          32 |     10,000 |" in told
    assert "signed: the same, signed: one token for all" in told
    assert "1.10 times that of one process" in told


def test_the_middle_is_that_of_each_figure() -> None:
    rounds = [msgspec.structs.replace(PLAIN, api_us=api, redis_us=redis) for api, redis in ((1, 9), (2, 7), (3, 8))]
    assert (middle(rounds).api_us, middle(rounds).redis_us) == (2, 8)


@pytest.mark.long
def test_it_measures() -> None:
    size = replace(QUICK, connections=(1, 2))
    kinds: list[Kind] = ["plain", "signed"]  # the latter by wrk alone
    senders: list[Sender] = ["pushctl send"]
    measured = trio.run(measure_all, size, kinds, senders, 2)
    assert [(each.kind, each.processes) for each in measured.stretches] == [("plain", 1)] * 2 + [("plain", 2)]
    assert json.loads(msgspec.json.encode(measured))["stretches"][0]["messages"] > 0
