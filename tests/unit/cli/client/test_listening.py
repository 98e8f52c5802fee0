"""What `--read` and a command do together, message by message."""

from pathlib import Path

import pytest

from pushctl.cli.client.execution import Execution
from pushctl.cli.client.listening import Listening
from pushctl.client import events
from pushctl.protocol import frames
from tests.unit.cli.screens import open_offline_phone
from tests.unit.client.builders import SetClock, cursor, message


async def test_what_is_done_or_was_read_elsewhere_is_not_done_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_offline_phone(tmp_path, SetClock()) as phone:
        told = [
            news
            for number, name in enumerate(("a", "b", "c"))
            for news in phone.store.apply_event(frames.MessageEvent(cursor(number), message(name)), "very-low")
        ]
        phone.store.apply_event(frames.ReadEvent(cursor(3), ["b"]), "very-low")
        shown: list[events.Event] = []
        listening = Listening(phone, shown.append, Execution('echo "$PUSHCTL_ID"', to_stderr=False), read=True)
        await listening.catch_up()
        for event in [*told, *told]:
            await listening.take(event)
        assert capfd.readouterr().out.split() == ["a", "c"]
        assert (len(shown), listening.received) == (6, 6)
        assert phone.store.messages() == []


async def test_read_without_a_command_marks_what_was_shown(tmp_path: Path) -> None:
    async with open_offline_phone(tmp_path, SetClock()) as phone:
        (told,) = phone.store.apply_event(frames.MessageEvent(cursor(1), message("a")), "very-low")
        listening = Listening(phone, lambda event: None, None, read=True)
        await listening.catch_up()
        assert phone.store.is_unread("a")
        await listening.take(told)
        assert phone.store.pending_reads() == ["a"]


async def test_what_an_earlier_run_left_and_is_not_urgent_enough_is_left_for_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_offline_phone(tmp_path, SetClock()) as phone:
        for number, urgency in enumerate(frames.URGENCIES):
            missed = frames.MessageEvent(cursor(number), message(urgency, urgency=urgency))
            phone.store.apply_event(missed, "very-low")
        execution = Execution('echo "$PUSHCTL_ID"', to_stderr=False)
        await Listening(phone, lambda event: None, execution, read=True, min_urgency="normal").catch_up()
        assert capfd.readouterr().out.split() == ["normal", "high"]
        assert sorted(stored.message.id for stored in phone.store.messages()) == ["low", "very-low"]
