"""docs/reference.md: every command with all its options, made from the commands themselves.

    python -m tests.house.reference      writes it; tests/house/test_reference.py holds it to the commands

Owns: the layout of the reference, and the variables that no command says itself.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pushctl import cli
from pushctl.cli.catalog import EXIT_CODES, EXITS, LINES
from tests.house.commands import every_command, examples_of, groups

FILE: Final = Path(__file__).parents[2] / "docs/reference.md"
WIDTH: Final = 120

VARIABLES: Final = {
    "PUSHCTL_<TABLE>__<KEY>": "a configuration key, for every command with `--set`; `_FILE` behind it: from that file "
    "(`pushctl config doc KEY` says each)",
    "PUSHCTL_CLIENT_DIR": "where the profiles of `pushctl client` are",
    "PUSHCTL_CLIENT_API": "the client API's URL, for `pushctl client`",
    "PUSHCTL_CLIENT_BOXOFFICE": "the Box Office's URL, for `pushctl client`",
    "PUSHCTL_PUSH_URL": "the push URL, for `pushctl send`",
    "PUSHCTL_REDIS_SERVER": "the Redis or Valkey that `pushctl serve all` starts, in place of the one it finds",
    "NO_COLOR": "if it is set, nothing is coloured",
}
_HEAD: Final = """\
# Reference

Every command of `pushctl`, with all its options, as `pushctl COMMAND --help` says them. This file is made from the
commands (`python -m tests.house.reference`). What the commands are for: [the README](../README.md) and
[operations.md](operations.md). What others may rely on: [protocol.md](protocol.md#6-command-line).

Data goes to stdout; logs, progress and warnings to stderr. With `--json`, each line of stdout is an object that its
schema, linked below, describes in full. A flag wins over the environment, that over files, those over defaults.
"""


def reference() -> str:
    """The file, word for word."""
    parts = [_HEAD, _table("Exit code | Means", EXIT_CODES.items())]
    parts.append(_table("Variable | Says", ((f"`{name}`", said) for name, said in VARIABLES.items())))
    shown = ""
    for words, command in every_command().items():
        first = words.split()[0]
        if first in groups() and first != shown:
            parts.append("\n".join(_group(first)))
        shown = first
        parts.append("\n".join(_command(words, command)))
    return "\n".join(parts)


def _group(name: str) -> Iterator[str]:
    command = cli.load_command(name)
    yield f"## pushctl {name}\n"
    yield from _description(command)
    links = ", ".join(f"[{each}](#pushctl-{name}-{each})" for each in command.commands)
    yield _filled(f"Commands: {links}.")


def _command(words: str, command: Any) -> Iterator[str]:
    yield f"{'###' if words.split()[0] in groups() else '##'} pushctl {words}\n"
    yield f"```text\npushctl {words} {_synopsis(command)}\n```\n"
    yield from _description(command)
    rows = [_row(parameter) for parameter in command.params]
    yield _table("Argument or option | Says | Default", rows)
    yield f"Exit codes: {', '.join(map(str, EXITS[words]))}.\n"
    if words in LINES:
        yield f"A line of `--json`: [schemas/{_file(words)}](schemas/{_file(words)}).\n"
    yield "```bash\n" + "\n".join(examples_of(words)) + "\n```\n"


def _file(words: str) -> str:
    return f"{words.replace(' ', '-')}.json"


def _synopsis(command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    pieces = [f"{_name(each)}{'...' if each.nargs == -1 else ''}" for each in arguments]
    shown = [piece if each.required else f"[{piece}]" for piece, each in zip(pieces, arguments, strict=True)]
    return " ".join(["[OPTIONS]", *shown])


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name).strip("[]").upper()


def _description(command: Any) -> Iterator[str]:
    """The help text, paragraph by paragraph; what is laid out stays so."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield f"```text\n{textwrap.dedent(paragraph.removeprefix(chr(8)).strip(chr(10)))}\n```\n"
        else:
            flat = re.sub(r"([<*])", r"\\\1", " ".join(paragraph.split()))
            yield _filled(flat)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False, break_long_words=False) + "\n"


def _row(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        return f"`{_name(parameter)}`", parameter.help or "", "" if parameter.required else _default(parameter)
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return f"{names}{'' if parameter.is_flag else f' {_value(parameter)}'}", parameter.help or "", _default(parameter)


def _value(parameter: Any) -> str:
    """What stands for a value: choices, our word, or a word for its type."""
    kind = parameter.type_descriptor
    words = kind.choices or (parameter.metavar or {str: "TEXT", int: "N"}.get(kind.annotation, "PATH"),)
    return "|".join(words).replace("|", "\\|")


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    shown = parameter.default
    return "" if shown in (None, False, True, ()) or parameter.show_default is False else f"`{shown}`"


def _table(head: str, rows: Any) -> str:
    lines = [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
