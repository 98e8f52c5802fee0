"""How `pushctl config doc` shows what is known of a key: as text, and as Markdown.

Owns: the look. Must not know: where it comes from (config/about.py).
"""

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from pushctl.config.about import COMMANDS, EVERYBODY, KeyDoc
from pushctl.config.render import toml_value
from pushctl.config.schema import tables

INDENT = "    "
MAX_WIDTH = 100
"""Wider lines are no easier to read."""


def print_text(docs: Sequence[KeyDoc]) -> None:
    """On stdout, by tables."""
    console = Console(highlight=False, emoji=False, markup=False)
    width = min(console.width, MAX_WIDTH)
    # Printed by Python, not by rich, which ends the process on a broken pipe (`| head`) in its own way.
    with console.capture() as screen:
        shown = ""
        for doc in docs:
            table = _table_of(doc)
            if table != shown:
                shown = table
                console.print(Text(f"[{table}]", style="bold"), Text(_about(table), "dim"))
                console.print()
            for line in _lines(doc, width):
                console.print(line, soft_wrap=True)
            console.print()
    print("\n".join(line.rstrip() for line in screen.get().rstrip().splitlines()), flush=True)


def _lines(doc: KeyDoc, width: int) -> Iterable[Text]:
    yield Text.assemble((doc.key, "bold cyan"))
    for line in textwrap.wrap(doc.meaning, width, initial_indent=INDENT, subsequent_indent=INDENT):
        yield Text(line)
    facts = {
        "takes": f"{doc.takes}{f' ({doc.unit})' if doc.unit else ''}",
        "default": "none: required" if doc.default is None else toml_value(doc.default),
        "example": doc.example if doc.default in (None, "", (), []) or "\n" in doc.example else None,
        "variable": doc.variable,
        "read by": _readers(doc),
        "secret": "yes: no command and no log shows it whole" if doc.secret else None,
    }
    for name, value in facts.items():
        for number, line in enumerate(_fact(value, width) if value is not None else ()):
            yield Text.assemble(INDENT, (f"{'' if number else name:<9} ", "dim"), line)


def _fact(value: str, width: int) -> list[str]:
    return [part for line in value.splitlines() for part in textwrap.wrap(line, width - len(INDENT) - 10) or [""]]


def _readers(doc: KeyDoc) -> str:
    if tuple(doc.read_by) == EVERYBODY:
        return "every role, and commands that ask Redis"
    return ", ".join("commands that ask Redis" if each == COMMANDS else each for each in doc.read_by)


def _table_of(doc: KeyDoc) -> str:
    return doc.key.partition("[]")[0].rpartition(".")[0]


def _about(table: str) -> str:
    return (tables()[table].__doc__ or "").strip()


def print_markdown(docs: Sequence[KeyDoc]) -> None:
    """A heading and a table for each table of the configuration."""
    shown = ""
    for doc in docs:
        table = _table_of(doc)
        if table != shown:
            print(f"{chr(10) if shown else ''}## `[{table}]`\n\n{_about(table)}\n")
            print("| key | takes | default | meaning | read by |\n|---|---|---|---|---|")
            shown = table
        default = "required" if doc.default is None else toml_value(doc.default)
        takes = f"{doc.takes}{f' ({doc.unit})' if doc.unit else ''}"
        cells = (f"`{doc.key}`", takes, f"`{default}`", doc.meaning, ", ".join(doc.read_by))
        print(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
