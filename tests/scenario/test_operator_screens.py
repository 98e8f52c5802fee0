"""What an operator sees who looks around, in a real terminal: kept at 80 and at 120 columns (tests/screens/)."""

import os
import re
import shlex
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.scenario.stories import begin, serving
from tests.terminal import PUSHCTL, frozen, hold_screen, terminal

TYPED = (
    "drain s1",
    "undrain s1",
    "drain s9",
    "broadcast news/edition 7",
    "broadcast --list",
    "config doc redis.url",
    "keys retire x7Qa --set identity.keys_file=",
    "client read nosuch",
    "sned",
    "serve apii",
)
CHANGING = (r"\d:\d\d:\d\d",)


@pytest.mark.slow
@pytest.mark.debian
@pytest.mark.parametrize("columns", [80, 120])
async def test_an_operator_looks_around(columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as service:
        await trio.to_thread.run_sync(begin, service, tmp_path, monkeypatch)
        hold_screen("operator", columns, frozen(await shown(columns, *TYPED), *CHANGING))
        hangs_under_its_mark(await shown(columns, "doctor"))


async def shown(columns: int, *typed: str) -> list[str]:
    """The screen after these commands, each with what it ended with."""
    here = {name: value for name, value in os.environ.items() if name.startswith("PUSHCTL_")}
    steps = [f'echo "$ pushctl {words}"; {shlex.join(PUSHCTL)} {words}; echo "[$?]"' for words in typed]
    command = ["bash", "-c", "; ".join([*steps, "read"])]
    async with terminal(command, columns=columns, rows=90, environment=here) as screen:
        for count in range(1, len(typed) + 1):
            lines = await screen.until(partial(_ended, count))
    return lines


def _ended(count: int, lines: list[str]) -> bool:
    """Whether so many commands are over."""
    return sum(re.fullmatch(r"\[\d+\]", line) is not None for line in lines) == count


def hangs_under_its_mark(lines: list[str]) -> None:
    """What doctor finds is of this machine; how it looks is not."""
    _, *found, code = lines
    assert code == "[0]"
    groups = [line for line in found[:-1] if not line.startswith(" ")]
    assert {"This", "Configuration", "Redis"} <= {group.split()[0] for group in groups}  # and the end of a long path
    hanging = [line for line in found[:-1] if line not in groups]
    assert all(line[:3] == "   " or line[2] in "✓!✗?" for line in hanging)
    assert {len(line) - len(line.lstrip()) for line in hanging if line[2] == " "} <= {18}
