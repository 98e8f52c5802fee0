"""Every help text fits 80 columns, and its examples are commands that the command line takes.

What they do when they are run: tests/scenario/test_examples.py.
"""

from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import pytest
import typer

from pushctl.cli import main
from tests.house.commands import every_command, examples_of, groups, parse
from tests.house.markdown import calls_in

COMMANDS = ["", *sorted(groups()), *every_command()]
EXAMPLES = sorted({line for words in COMMANDS for line in examples_of(words)})


def test_every_help_text_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    wide = []
    for words in COMMANDS:
        shown = StringIO()
        with redirect_stdout(shown), pytest.raises(SystemExit):
            main([*words.split(), "--help"])
        wide += [f"{words}: {line}" for line in shown.getvalue().splitlines() if len(line) > 80]
    assert wide == []


def test_every_example_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "icon.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    wrong = []
    for example in EXAMPLES:
        calls = list(calls_in(example, "pushctl"))
        if not calls:
            wrong.append(f"{example}: does not call us")
        for call in calls:
            try:
                with suppress(typer.Exit):
                    parse(call)
            except typer.BadParameter as error:
                wrong.append(f"{example}: {error.format_message()}")
    assert wrong == []
