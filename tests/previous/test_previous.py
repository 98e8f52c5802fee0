"""The next release goes on where the one before it stopped: its data directory, its keys, its devices, its push URLs.

The other way round, and both at once, takes a checkout of the one before: tests/previous/cross.py.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pushctl.clock import system_clock
from pushctl.config.load import load
from pushctl.protocol import jobs
from tests.previous.era import TOLD_APART, Era
from tests.previous.story import ago, copied, relive

RELEASES = sorted(folder for folder in Path(__file__).parent.iterdir() if (folder / "story.json").exists())
DECODERS = {"job": jobs.decode_job, "hint": jobs.decode_hint, "heard": jobs.decode_heard}
of_each = pytest.mark.parametrize("recorded", RELEASES, ids=lambda folder: folder.name)


@of_each
def test_the_configuration_of_an_earlier_release_is_one_still(recorded: Path) -> None:
    load([recorded / "conf.d"], [], {})


@of_each
def test_what_roles_of_an_earlier_release_say_is_understood(recorded: Path) -> None:
    """Fields may have been added behind theirs."""
    for line in (recorded / "wire.jsonl").read_text().splitlines():
        kind, said, raw = json.loads(line)
        heard = msgspec.to_builtins(DECODERS[kind](bytes.fromhex(raw)))
        assert begins_with(heard, said), (heard, said)


def begins_with(heard: Any, said: Any) -> bool:
    """Arrays may be longer, at any depth."""
    if isinstance(said, list):
        return len(heard) >= len(said) and all(map(begins_with, heard, said))
    return bool(heard == said)


@pytest.mark.slow
@pytest.mark.debian
@of_each
async def test_this_release_goes_on_with_what_an_earlier_one_left(recorded: Path, tmp_path: Path) -> None:
    folder = copied(recorded, tmp_path / "left")
    story = json.loads((folder / "story.json").read_text())
    await relive(Era(folder / "profiles", ago(story, system_clock()) - TOLD_APART), folder)
