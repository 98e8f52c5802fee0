"""`pushctl send --targets`: which options fit together, what it leaves behind, and with which code it ends."""

import csv
import json
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import trio

from pushctl.webpush.encryption import DeviceKeys, open_message
from pushctl.webpush.signing import VapidKey
from tests.fake_service import FakeService, open_fake_service
from tests.unit.cli.commands import pushctl, run

PATIENCE_SECONDS = 20
ROUTE = "POST /push/s3cret"
SECRET = "s3cret"


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with open_fake_service() as running:
        running.answers[ROUTE] = (201, None, {"Location": "/message/m", "TTL": "60"})
        yield running


def targets(folder: Path, *lines: str) -> str:
    path = folder / "targets.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return str(path)


async def test_a_good_load_ends_with_0_and_tells_everything_but_the_push_url(
    service: FakeService, tmp_path: Path
) -> None:
    file = targets(tmp_path, f"{service.api_url}/push/{SECRET}")
    ran = await pushctl(
        *("send", "--targets", file, "--rate", "100/s", "--count", "10", "--ttl", "1m", "--urgency", "low"),
        *("--topic", "t", "--size", "100B-200B", "--warmup", "100ms", "--max-p99", "10s"),
    )
    assert ran.code == 0, ran.err
    assert {"rate=100/s", "seed=1", "size=100B-200B", "ttl=60", "warmup=100ms", "max-p99=10s"} <= set(ran.out.split())
    assert "10 of 10 accepted" in ran.out
    assert "10 of 10 accepted, not counted" in ran.out
    assert "sending: 10\n" in ran.err
    assert SECRET not in ran.out + ran.err
    assert {(each["ttl"], each["urgency"], each["topic"]) for _, each, _ in service.requests} == {("60", "low", "t")}


async def test_json_is_one_object_with_all_parameters_the_counts_and_the_histogram(
    service: FakeService, tmp_path: Path
) -> None:
    file = targets(tmp_path, f"{service.api_url}/push/{SECRET}")
    ran = await pushctl("send", "--targets", file, "--count", "5", "--json")
    assert ran.code == 0, ran.err
    [found] = ran.lines
    assert found["wrong"] == []
    parameters = found["run"]["parameters"]
    assert {"concurrency": "32", "count": "5", "rate": "-", "size": "200B", "seed": "1"}.items() <= parameters.items()
    assert list(parameters) == sorted(parameters)
    assert {"loop": "closed", "sent": 5, "accepted": 5, "gone": 0}.items() <= found["load"].items()
    assert sum(count for _, count in found["load"]["histogram"]) == 5
    assert SECRET not in ran.out + ran.err


async def test_runs_are_added_to_a_table_and_the_raw_histogram_is_written(service: FakeService, tmp_path: Path) -> None:
    file = targets(tmp_path, f"{service.api_url}/push/{SECRET}")
    table, raw = tmp_path / "runs.csv", tmp_path / "histogram.csv"
    for seed in ("1", "2"):
        ran = await pushctl(
            *("send", "--targets", file, "--count", "5", "--seed", seed, "--csv", str(table), "--histogram", str(raw))
        )
        assert ran.code == 0, ran.err
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["--seed"], row["accepted"], row["refused"]) for row in rows] == [("1", "5", "0"), ("2", "5", "0")]
    assert float(rows[0]["latency_us.p99"]) > 0
    buckets = list(csv.DictReader(raw.read_text().splitlines()))
    assert sum(int(bucket["count"]) for bucket in buckets) == 5
    assert buckets[-1]["share_up_to"] == "1.0"
    raw.write_text("a,b\n")
    ran = await pushctl("send", "--targets", file, "--count", "1", "--csv", str(raw))
    assert (ran.code, ran.err.splitlines()[-1]) == (
        1,
        f"pushctl: {raw}: has other columns than this run; name another file",
    )
    assert "accepted" in ran.out, "what was measured is not lost with it"


@pytest.mark.parametrize("option", ["--csv", "--histogram"])
async def test_a_file_that_cannot_be_written_is_told_before_anything_is_sent(
    service: FakeService, tmp_path: Path, option: str
) -> None:
    file = targets(tmp_path, f"{service.api_url}/push/{SECRET}")
    ran = await pushctl("send", "--targets", file, "--count", "1", option, str(tmp_path / "no/such"))
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "no/such: No such file or directory" in ran.err


@pytest.mark.parametrize(
    ("answer", "options", "said"),
    [
        ((503, {"code": "overloaded", "detail": "no"}, {}), (), "5 refused with 503"),
        ((410, {"code": "gone", "detail": "no"}, {}), (), "every push URL is gone (410)"),
        ((201, None, {}), ("--max-p99", "0.001ms"), "p99 "),
    ],
)
async def test_what_is_not_good_ends_with_3_and_is_said_in_words(
    answer: Any, options: tuple[str, ...], said: str, service: FakeService, tmp_path: Path
) -> None:
    service.answers[ROUTE] = answer
    file = targets(tmp_path, f"{service.api_url}/push/{SECRET}")
    ran = await pushctl("send", "--targets", file, "--rate", "200/s", "--count", "5", *options)
    assert ran.code == 3
    assert ran.err.splitlines()[-1].startswith(f"pushctl: not good: {said}")
    assert SECRET not in ran.out + ran.err


async def test_encrypted_and_signed_as_each_line_says(service: FakeService, tmp_path: Path) -> None:
    device = DeviceKeys.generate()
    keys = device.public()
    endpoint = f"{service.api_url}/push/{SECRET}"
    line = json.dumps({"endpoint": endpoint, "keys": {"p256dh": keys.p256dh, "auth": keys.auth}})
    VapidKey.generate().write(tmp_path / "vapid.pem")
    ran = await pushctl(
        *("send", "--targets", targets(tmp_path, line, endpoint), "--count", "20", "--seed", "3", "--json"),
        *("--vapid", str(tmp_path / "vapid.pem"), "--contact", "mailto:ops@news.example"),
    )
    assert ran.code == 0, ran.err
    assert all(each["authorization"].startswith("vapid t=") for _, each, _ in service.requests)
    sealed = [body for _, each, body in service.requests if each.get("content-encoding") == "aes128gcm"]
    plain = [body for _, each, body in service.requests if each["content-type"] == "text/plain"]
    assert sealed
    assert plain
    assert {len(open_message(body, "aes128gcm", device)) for body in sealed} == {200} == {len(body) for body in plain}


@pytest.mark.slow
async def test_an_interrupt_gives_the_report_so_far_and_130(service: FakeService, tmp_path: Path) -> None:
    """A process of its own, as signals reach only one that has the main thread."""
    file = targets(tmp_path, f"{service.api_url}/push/{SECRET}")
    command = [
        sys.executable,
        "-m",
        "pushctl",
        "send",
        "--targets",
        file,
        "--rate",
        "50/s",
        "--duration",
        "1h",
        "--json",
    ]
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            run_it = partial(trio.run_process, command, stdout=PIPE, stderr=PIPE, check=False)
            process: trio.Process = await nursery.start(run_it)
            while len(service.requests) < 3:  # noqa: ASYNC110 - requests tell nobody
                await trio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            assert process.stdout
            out = b"".join([part async for part in process.stdout])
            code = await process.wait()
    [line] = out.splitlines()
    found = json.loads(line)["load"]
    assert code == 130
    assert found["interrupted"]
    assert found["accepted"] >= 2


def test_nobody_there_is_a_5(tmp_path: Path) -> None:
    ran = run("send", "--targets", targets(tmp_path, f"http://127.0.0.1:1/push/{SECRET}"), "--count", "1")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        5, "pushctl: http://127.0.0.1:1: cannot connect: connection refused",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--targets", "FILE", f"http://x/{SECRET}"], "PUSH_URL is of one message"),
        (["--targets", "FILE", "--title", "T"], "--title is of one message"),
        (["--targets", "FILE", "--wait", "read"], "--wait is of one message"),
        (["--targets", "FILE", "--size", "0B"], "is not a size"),
        (["--targets", "FILE", "--size", "2KiB-1KiB"], "is not a size"),
        (["--targets", "FILE", "--rate", "fast"], "is not a rate"),
        (["--targets", "FILE", "--count", "0"], "--count"),
        (["--targets", "FILE", "--contact", "mailto:x@y"], "give --vapid"),
        (["--targets", "/nowhere/at/all"], "No such file"),
        ([f"http://x/{SECRET}", "Hello", "--rate", "1/s"], "--rate is of a load"),
        ([f"http://x/{SECRET}", "Hello", "--csv", "x.csv"], "--csv is of a load"),
    ],
)
def test_wrong_usage_is_a_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    file = targets(tmp_path, f"http://127.0.0.1:1/push/{SECRET}")
    ran = run("send", *(file if each == "FILE" else each for each in arguments))
    assert (ran.code, ran.out) == (2, "")
    assert said in " ".join(ran.err.split())
    assert SECRET not in ran.err
