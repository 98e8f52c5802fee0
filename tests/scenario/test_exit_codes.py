"""Each command ends with the codes that the catalog says; each code is tried: here, as an example, or elsewhere."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pushctl.cli.catalog import EXITS
from tests.house.markdown import calls_in
from tests.processes import dying_with_us
from tests.scenario.stories import begin, serving
from tests.scenario.test_examples import INSTEAD, all_examples
from tests.unit.cli.commands import run

ROOT = Path(__file__).parents[2]
PUSHCTL = [sys.executable, "-m", "pushctl"]
FORMS = ("connect", "send", "fanout", "storm", "idle")
CLIENTS = ("client ", "bench ")
"""Commands that ask the api and the Box Office, not Redis."""
NOWHERE = ("--set", "redis.url=redis://127.0.0.1:1/0", "--set", "redis.connect_seconds=0.1")
USER = "6fGZ0uMe7nqv1rkDyq0hvA"

USUAL = {
    "client login": "alice",
    "client logout": "",
    "client allow": "x.example",
    "client revoke": "first.example",
    "client urls": "",
    "client sync": "",
    "client messages": "",
    "client read": "--all",
    "client listen": "--for 20s",
    "client identities": "",
    "client link": "other",
    "client unlink": "nosuch",
    "client devices": "",
    "client remove": "nosuch",
    "client swarm": "--users 1 --duration 1s",
    "send": "http://127.0.0.1:1/push/x Hello",
    **{f"bench {form}": "--users 1" for form in FORMS},
    "stats": "",
    "inspect user": USER,
    "inspect push-url": f"{USER}/1hG8kkB0yXzQ",
    "inspect message": f"{USER}/17",
    "inspect server": "s9",
    "drain": "s9",
    "undrain": "s9",
    "broadcast": "--list",
    "doctor": "",
    "keys status": "",
    "keys rotate": "sealing --continue",
    "keys retire": "x7Qa --force",
    "serve": "router --set router.admin_listen=127.0.0.1:0",
}
"""What a command may be given. When there is nobody, it ends with 5; for a profile that has not logged in, with 1."""

OTHERWISE = {
    ("client login", 1): "--token-file token.txt",
    ("client login", 4): "--provider p --issuer http://127.0.0.1:SILENT --client-id c --device --within 300ms",
    ("client listen", 4): "--count 9 --for 300ms",
    ("client run", 2): "",  # no terminal
    ("client swarm", 1): "--users 1 --duration 1s --targets /nowhere/targets.txt",
    **{(f"bench {form}", 1): "--users 1 --csv /nowhere/runs.csv" for form in FORMS},
    ("send", 1): "@nonsense.txt Hello",
    ("send", 4): "http://127.0.0.1:SILENT/push/x Hello --timeout 300ms",
    ("stats", 3): "--expect 9",
    ("inspect user", 1): USER,
    ("inspect push-url", 1): f"{USER}/1hG8kkB0yXzQ",
    ("inspect message", 1): f"{USER}/17",
    ("inspect server", 1): "s9",
    ("broadcast", 1): "nosuch --remove",
    ("keys retire", 3): "KEY",
}

BENCH_TESTS = "tests/scenario/test_bench.py::"
BENCH = {
    0: "test_the_command_needs_no_other_flags_than_where_the_service_is",
    3: "test_a_message_that_never_arrives_is_missing",
    130: "test_ctrl_c_stops_the_sender_and_still_tells_everything_and_clears_up",
}
"""All forms end in the same way."""

ELSEWHERE = {
    ("serve", 3): "tests/registry/test_gc.py::test_once_is_not_good_if_others_hold_a_shard_all_the_time",
    ("serve", 1): "tests/unit/test_runtime.py::test_a_second_signal_ends_the_process_at_once_with_1",
    ("client swarm", 0): "tests/unit/cli/client/test_swarm.py::test_a_good_run_ends_with_0_and_one_json_object",
    ("client swarm", 3): "tests/unit/cli/client/test_swarm.py::test_a_loss_ends_with_3_and_says_what_was_lost",
    ("client swarm", 130): "tests/unit/cli/client/test_swarm.py::test_an_interrupt_gives_the_report_and_130",
    ("send", 3): "tests/unit/client/test_sender.py::test_a_message_that_died_is_not_waited_for",
    **{
        (f"bench {form}", code): f"tests/scenario/test_bench.py::{test}"
        for form in FORMS
        for code, test in BENCH.items()
    },
    ("client run", 0): "tests/unit/cli/client/live/test_terminal.py::test_the_terminal_is_given_back",
    ("client run", 1): "tests/unit/cli/client/live/test_terminal.py::test_an_error_is_said_on_the_normal_screen",
    ("client run", 130): "tests/unit/cli/client/live/test_terminal.py::test_the_terminal_is_given_back",
    ("client listen", 3): "tests/unit/cli/client/test_execution.py::test_a_failure_is_said_counted_and_a_3_at_the_end",
    ("drain", 1): "tests/scenario/test_drain.py::test_a_drain_that_is_taken_back_ends_the_waiting_with_1",
    (
        "undrain",
        1,
    ): "tests/registry/test_wishes.py::test_an_undrain_gives_up_a_server_that_does_not_hear_it_or_is_dead",
    (
        "undrain",
        4,
    ): "tests/registry/test_wishes.py::test_an_undrain_gives_up_a_server_that_does_not_hear_it_or_is_dead",
    ("doctor", 3): "tests/unit/cli/test_doctor.py::test_something_bad_ends_with_3_and_says_what_to_run",
}
"""Where it is tried instead, as it takes more than a command."""

INTERRUPTED = {("client listen", 130), ("stats", 130), ("send", 130), ("drain", 130), ("drain", 4)}
"""Tried with processes, below."""


def tried() -> dict[tuple[str, int], str]:
    """Command and code to the words behind it."""
    found = {(words, 2): "--nonsense" for words in EXITS}
    for words, codes in EXITS.items():
        if 5 in codes:
            found[words, 5] = USUAL[words]
        if words.startswith("client ") and 1 in codes and words in USUAL:
            found[words, 1] = f"{USUAL[words]} --profile nobody"
    return found | OTHERWISE


def by_examples() -> set[tuple[str, int]]:
    """Those that an example is known to end with."""
    found = set()
    for line in all_examples():
        code = INSTEAD.get(line, 0)
        for call in calls_in(line, "pushctl"):
            words = " ".join(call[:2]) if " ".join(call[:2]) in EXITS else call[0]
            if isinstance(code, int):
                found.add((words, code))
    return found


def test_every_code_that_a_command_may_end_with_is_tried() -> None:
    wanted = {(words, code) for words, codes in EXITS.items() for code in codes}
    assert wanted - (tried().keys() | by_examples() | ELSEWHERE.keys() | INTERRUPTED) == set()
    for test in ELSEWHERE.values():
        file, name = test.split("::")
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), test


@contextmanager
def silent() -> Iterator[int]:
    """The port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
def test_commands_end_with_the_codes_that_are_said_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as service, silent() as port:
        story = begin(service, tmp_path, monkeypatch)
        Path("token.txt").write_text("nonsense\n")
        Path("nonsense.txt").write_text(f"{service.api}/push/nonsense\n")
        key = next(row["id"] for row in story.ran("keys", "status", "--json").lines if row["state"] == "seals")
        wrong = []
        for (words, code), more in tried().items():
            with monkeypatch.context() as patch:
                if code == 5 and words.startswith(CLIENTS):
                    patch.setenv("PUSHCTL_CLIENT_API", "http://127.0.0.1:1")
                    patch.setenv("PUSHCTL_CLIENT_BOXOFFICE", "http://127.0.0.1:1")
                away = NOWHERE if code == 5 and words != "send" and not words.startswith(CLIENTS) else ()
                typed = more.replace("KEY", key).replace("SILENT", str(port)).split()
                done = run(*words.split(), *typed, *away)
            if done.code != code:
                wrong.append(f"{words} {more}: {done.code}, not {code}: {done.err}")
            elif code and "Traceback" in done.err:
                wrong.append(f"{words} {more}: {done.err}")
        assert not wrong, "\n".join(wrong)
        interrupt_all(port)


def interrupt_all(port: int) -> None:
    """Those that go on until somebody has enough, as processes: all end with 130."""
    with process("client", "listen", "--json") as listening, process("stats", "--watch", "1h", "--json") as stats:
        assert listening.stdout is not None
        server = json.loads(listening.stdout.readline())["id"]
        # Within an hour it could be the device's turn, which is chosen at random, while we are still here.
        assert run("drain", server, "--over", "1000h", "--timeout", "300ms").code == 4
        with process("drain", server, "--over", "1000h", "--json") as draining:
            assert draining.stdout is not None
            assert draining.stdout.readline()
            assert interrupted(draining) == 130
        assert run("undrain", server).code == 0
        assert interrupted(listening) == 130
        assert stats.stdout is not None
        assert stats.stdout.readline()
        assert interrupted(stats) == 130
    with process("send", f"http://127.0.0.1:{port}/push/x", "Hello") as sending:
        time.sleep(2)  # nothing says that it has begun to wait
        assert interrupted(sending) == 130


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = dying_with_us([*PUSHCTL, *words])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.kill()


def interrupted(running: subprocess.Popen[bytes]) -> int:
    running.send_signal(signal.SIGINT)
    return running.wait(timeout=20)
