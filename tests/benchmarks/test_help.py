"""How long a help text takes, as a multiple of an empty Python program. In processor time: others do not change it."""

import os
import sys
from pathlib import Path

import pytest

RUNS = 5
PUSHCTL = str(Path(sys.executable).with_name("pushctl"))


def cpu_seconds(*command: str) -> float:
    """Of the quickest of some runs."""
    return min(_once(command) for _ in range(RUNS))


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
    nothing = cpu_seconds(sys.executable, "-c", "pass")
    ours = cpu_seconds(PUSHCTL, *words.split(), "--help")
    assert ours / nothing < most, f"{ours:.3f} s, {ours / nothing:.1f} times an empty program"
