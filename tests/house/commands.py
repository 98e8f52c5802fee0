"""The real command line as a tree: every command with its words.

Owns: walking it. Must not know: what is asked of a command.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import typer

from pushctl import cli


@cache
def every_command() -> Mapping[str, Any]:
    """The click commands that do something, by their words (`client listen`), in the order of the help texts."""
    found: dict[str, Any] = {}

    def walk(words: str, command: Any) -> None:
        inner = getattr(command, "commands", None)
        if inner is None:
            found[words] = command
        for name, each in (inner or {}).items():
            walk(f"{words} {name}", each)

    for name in cli.COMMANDS:
        walk(name, cli.load_command(name))
    return found


def groups() -> set[str]:
    """The commands that have others below them."""
    return {words.split()[0] for words in every_command() if " " in words}


def options_of(command: Any) -> set[str]:
    """`--json`, `-n`: all that may be typed."""
    return {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}


def examples_of(words: str) -> list[str]:
    """What stands under "Examples:" in the help text of a command or group: a line of shell each, in one piece."""
    command: Any = typer.main.get_command(cli.app) if not words else cli.load_command(words.split()[0])
    for name in words.split()[1:]:
        command = command.commands[name]
    lines = [line.strip() for line in command.epilog.partition("Examples:\n")[2].splitlines()]
    return "\n".join(lines).replace("\\\n", "").splitlines()


def parse(arguments: list[str]) -> None:
    """Have the real command line read these, down to the last subcommand; nothing is run. Raises its usage error."""
    context: Any = typer.main.get_command(cli.app).make_context("pushctl", list(arguments))
    while hasattr(context.command, "commands"):
        # (Click has no public name for what a group has put aside for its subcommand.)
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
