"""The real command line as a tree: every command with its words.

Owns: walking it. Must not know: what is asked of a command.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

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


def options_of(command: Any) -> set[str]:
    """`--json`, `-n`: all that may be typed."""
    return {text for parameter in command.params for text in (*parameter.opts, *parameter.secondary_opts)}
