"""How long a help text takes, as a multiple of an empty Python program. In processor time: others do not change it."""

import os
import sys
from pathlib import Path

import pytest

RUNS = 5
PUSHCTL = str(Path(sys.executable).with_name("pushctl"))


def _once(command: tuple[str, ...]) -> float:
    devnull = os.open(os.devnull, os.O_WRONLY)
    child = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, devnull, 1)])
    os.close(devnull)
    _, status, used = os.wait4(child, 0)
    assert status == 0, command
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "most"), [("", 6), *((words, 7) for words in ("client", "send", "stats", "serve", "keys", "config"))]
)
def test_a_help_text_costs_a_few_times_what_python_itself_does(words: str, most: float) -> None:
    """Measured: 3 to 4 times. With pydantic it would be 8, with the libraries of a command 12 and more."""
    commands = (sys.executable, "-c", "pass"), (PUSHCTL, *words.split(), "--help")
    turns = [[_once(command) for command in commands] for _ in range(RUNS)]
    nothing, ours = map(min, zip(*turns, strict=True))  # of each the quickest
    assert ours / nothing < most, f"{ours:.3f} s, {ours / nothing:.1f} times an empty program"
