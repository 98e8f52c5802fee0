"""A command per message: what it is told, what becomes of it, and that it ends when we do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

from pushctl.cli.client.execution import CUT, JSON, VALUE_BYTES, Execution, environment, judged
from pushctl.client.events import MessageEvent, message_event
from pushctl.errors import Failed, NotGood
from pushctl.protocol.frames import Notification
from tests.unit.client.builders import NOW_MS, message

PATIENCE_SECONDS = 20


def told(name: str = "m1", **changed: str | None) -> MessageEvent:
    said = Notification(**({"title": "News", "body": name} | changed))
    return message_event(
        message(name, notification=said), push_url_icon=None, received_at_ms=NOW_MS, live=True, cursor=None
    )


async def ran(command: str, *messages: MessageEvent, to_stderr: bool = False) -> Execution:
    execution = Execution(command, to_stderr=to_stderr)
    with trio.fail_after(PATIENCE_SECONDS):
        for each in messages:
            await execution.run(each)
    return execution


async def test_the_fields_are_in_the_environment_and_no_shell_reads_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    evil = told(title="$(touch evil) `touch evil`; touch evil", body='"; touch evil; "', url=None)
    command = f'cd {tmp_path}; printf "%s|%s|%s|%s" "$PUSHCTL_ID" "$PUSHCTL_TITLE" "$PUSHCTL_BODY" "$PUSHCTL_URL" > out'
    assert (await ran(command, evil)).failed == 0
    assert out.read_text() == 'm1|$(touch evil) `touch evil`; touch evil|"; touch evil; "|'
    assert not (tmp_path / "evil").exists()


def test_every_member_is_there_and_none_is_left_over_from_around() -> None:
    around = {"PATH": "/bin", "PUSHCTL_TOPIC": "an older one", "PUSHCTL_PUSH_URL": "https://push.example/push/secret"}
    said = environment(told(), around)
    assert said[b"PUSHCTL_TOPIC"] == b""
    assert said[b"PUSHCTL_LIVE"] == b"true"
    assert said[b"PUSHCTL_PUSH_URL_ID"] == b"p1"
    assert said[b"PUSHCTL_PUSH_URL"] == b"https://push.example/push/secret"
    assert msgspec.json.decode(said[JSON.encode()])["title"] == "News"


async def test_what_no_environment_can_hold_is_replaced_or_cut_and_said(capfd: pytest.CaptureFixture[str]) -> None:
    large = told(title="a\0b", body="ü" * VALUE_BYTES)
    assert environment(large, {})[CUT.encode()] == b"PUSHCTL_BODY PUSHCTL_JSON"
    done = await ran("""printf %s "$PUSHCTL_BODY" | wc -c; echo "$PUSHCTL_TITLE" "${#PUSHCTL_JSON}" """, large)
    assert done.failed == 0
    assert capfd.readouterr().out.split() == [str(VALUE_BYTES), "a\ufffdb", "0"]


async def test_one_at_a_time_in_order_with_nothing_to_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = f'echo "begin $PUSHCTL_ID" >> {log}; cat; sleep 0.05; echo "end $PUSHCTL_ID" >> {log}'
    await ran(command, told("a"), told("b"))
    assert log.read_text().split("\n") == ["begin a", "end a", "begin b", "end b", ""]


async def test_its_output_can_be_kept_out_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    await ran("echo hello", told(), to_stderr=True)
    assert capfd.readouterr() == ("", "hello\n")


async def test_a_failure_is_said_counted_and_a_3_at_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    done = await ran('test "$PUSHCTL_ID" = b || exit 7', told("a"), told("b"))
    await done.run(told("c"))
    assert (done.ran, done.failed) == (3, 2)
    assert capfd.readouterr().err.splitlines()[0] == "pushctl: --exec ended with 7 for message a"
    with pytest.raises(NotGood, match="failed for 2 of 3 messages"), judged(done):
        pass
    with pytest.raises(Failed), judged(done):
        raise Failed("something else")
    assert "--exec failed for 2 of 3 messages" in capfd.readouterr().err


async def test_a_command_that_is_cut_off_ends_with_all_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushctl.cli.client.execution.GRACE_SECONDS", 0.2)
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    # One that does not care about SIGTERM, and one that it did not wait for: both hold the pipe open.
    command = f"exec 3> {fifo}; trap '' TERM; sleep 30 & echo started >&3; sleep 30; sleep 30"
    execution = Execution(command, to_stderr=True)
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(execution.run, told())
            pipe = await trio.open_file(fifo)
            assert await pipe.readline() == "started\n"
            nursery.cancel_scope.cancel()
        async with pipe:
            assert await pipe.read() == "", "nobody has it open any more"
    assert execution.failed == 1


CUT_OFF_TWICE = """
import signal, sys, trio
from pushctl.cli.client.execution import Execution
from tests.unit.cli.client.test_execution import told
signal.signal(signal.SIGINT, signal.default_int_handler)
trio.run(Execution(sys.argv[1], to_stderr=True).run, told())
"""


async def test_a_second_ctrl_c_leaves_no_command_behind(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    command = f"exec 3> {fifo}; trap 'echo asked >&3' TERM; echo started >&3; while :; do sleep 30 & wait; done"
    process = subprocess.Popen([sys.executable, "-c", CUT_OFF_TWICE, command], stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    with trio.fail_after(PATIENCE_SECONDS):
        async with await trio.open_file(fifo) as pipe:
            for said in ("started\n", "asked\n"):
                assert await pipe.readline() == said
                process.send_signal(signal.SIGINT)
            assert await pipe.read() == "", "nobody has it open any more"
        assert await trio.to_thread.run_sync(process.wait) != 0
