"""The command line: `pushctl COMMAND`, one module per command, and the one place that turns errors into exit codes.

Owns: the list of commands and `main`.
Promises: a command's module is imported only when that command runs, so `pushctl --help` is quick. Exit codes are those
of docs/protocol.md, section 6: 0 done, 1 failed, 2 wrong usage or bad config, 3 not good, 4 timed out, 5 cannot
connect, 130 interrupted. Data goes to stdout, everything else to stderr.
Must not know: what any command does. A command's module exposes `app`, a typer.Typer, whose help ends with examples.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from pushctl.cli import suggestions
from pushctl.cli.plain import not_asked_for, plain
from pushctl.errors import PushctlError

STARTED_NS = time.monotonic_ns()
"""When this program began, for start-up times."""

COMMANDS = {
    "serve": "Start a role of the service, or all of them on an embedded Redis.",
    "client": "Be a device: log in, allow sites, receive messages.",
    "send": "Be a third party: send a message to a push URL.",
    "bench": "Measure a running service: connections, messages, a storm.",
    "stats": "See what the registry says: servers, users, messages, routing.",
    "inspect": "See one user, push URL, message or server in full, and why it is so.",
    "drain": "Empty a socket server at a pace.",
    "undrain": "Let a socket server that drains take clients again.",
    "broadcast": "Tell every browser of a new version of something.",
    "doctor": "Find out whether machine, configuration and Redis are fit for it.",
    "config": "Show, check, write or explain the configuration.",
    "keys": "Make, rotate and take out the secrets that the service needs.",
    "completion": "Print the script that completes commands in your shell.",
}
"""Each is a module of this package; the text is what `pushctl --help` says of it."""


ConfigPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", metavar="PATH", help="File, or directory whose *.toml are read in name order; may be repeated."
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="One key, over files and environment.",
        autocompletion=suggestions.assignments,
    ),
]


def examples(*lines: str) -> str:
    """The end of a help text: commands to copy, one a line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def ready_line(role: str, listen: str | None, admin: str | None = None) -> str:
    """What is printed when it is true. A role without a public listener has listen=-."""
    since_start_ms = (time.monotonic_ns() - STARTED_NS) // 1_000_000
    line = f"ready role={role} listen={listen or '-'} startup_ms={since_start_ms}"
    return f"{line} admin={admin.removeprefix('http://')}" if admin else line


class _Later(TyperCommand):
    """Stands for a command whose module is not imported before somebody uses it."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return load_command(str(self.name)).make_context(info_name, args, parent, **extra)


class Group(TyperGroup):
    """A command with commands below it."""

    def get_help_option(self, ctx: Any) -> Any:
        return not_asked_for(super().get_help_option(ctx))


class _Commands(Group):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands.update(
            {name: _Later(name, help=text, short_help=text, callback=None) for name, text in COMMANDS.items()}
        )


def load_command(name: str) -> Any:
    """The click command of `pushctl.cli.<name>`."""
    command = typer.main.get_command(import_module(f"pushctl.cli.{name}").app)
    command.name = name
    plain(_without_own_completion(command))
    return command


def _without_own_completion(command: Any) -> Any:
    """Without typer's two options: `pushctl completion SHELL` need not be run by the shell that it is for. And each of
    them, at every level, would have all of pydantic imported before a help text is shown."""
    command.params = [each for each in command.params if not str(each.name).endswith("_completion")]
    return command


def _print_version(wanted: bool) -> None:
    if wanted:
        from pushctl.build import build

        on = build()
        print(f"pushctl {on.version} (commit {on.commit})")
        print(f"{on.python}, trio {on.trio}, redis-py {on.redis}, hiredis {on.hiredis}, {on.openssl}, {on.platform}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "pushctl serve all                       # everything, on this machine",
        "pushctl client login alice              # be a device",
        "pushctl client allow https://news.example",
        "pushctl send PUSH_URL 'Hello'           # be a third party",
        "pushctl stats                           # be the operator",
    ),
)


@app.callback()
def _pushctl(
    version: bool = typer.Option(
        False,
        "--version",
        help="Print the version, the build and what it runs on.",
        callback=_print_version,
        is_eager=True,
    ),
) -> None:
    """An open push-notification service: accept, store, route and stream messages to every device of a user."""


def main(args: Sequence[str] | None = None) -> None:
    """Run one command; always ends with SystemExit."""
    # Not app(): that would put typer's traceback printer, which shows local variables, into sys.excepthook.
    command = _without_own_completion(typer.main.get_command(app))
    sys.exit(exit_code_of(lambda: _run(command, args)))


def _run(command: Any, args: Sequence[str] | None) -> None:
    """Ends with SystemExit unless the command was good. Wrong usage is told in lines of the terminal's width."""
    try:
        code = command.main(args=args, prog_name="pushctl", standalone_mode=False)
    except typer.TyperException as caught:
        error: Any = caught  # its kinds, which are all shown in the same way, have no public names
        told = StringIO()
        error.show(told)
        # Choices come one a line; and where no option is named, the prefix says nothing.
        for line in told.getvalue().replace("\n\t", " ").replace("Error: Invalid value: ", "Error: ").splitlines():
            print(fitted(line, sys.stderr) if line.startswith("Error: ") else line, file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(code or 0)


def exit_code_of(command: Callable[[], object]) -> int:
    """Run it; our errors become a line each on stderr and an exit code. Faults of ours go on as they are."""
    try:
        return _exit_code_of(command)
    except (OSError, ExceptionGroup) as error:
        full, others = ExceptionGroup("", [error]).split(_is_full)
        if full is None or others is not None:
            raise
        tell("cannot write the output: no space left where it goes")
        _output_goes_nowhere()
        return 1


def _is_full(error: BaseException) -> bool:
    """Of a file that we opened by its name, whoever did it says more."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None


def _output_goes_nowhere() -> None:
    """Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code_of(command: Callable[[], object]) -> int:
    code = 0
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except* PushctlError as group:
        code = _report(group)
    except* KeyboardInterrupt:
        code = 130
    except* BrokenPipeError:
        _output_goes_nowhere()  # whoever read it (`| head`) has had enough
        code = 1
    return code


def _report(group: BaseExceptionGroup[PushctlError]) -> int:
    """One line on stderr per mistake; the exit code of the first error."""
    errors = list(leaves(group))
    for error in errors:
        for line in str(error).splitlines():
            tell(line)
    return errors[0].exit_code


def tell(line: str) -> None:
    """A line of ours on stderr."""
    print(fitted(f"pushctl: {line}", sys.stderr), file=sys.stderr)


def fitted(text: str, stream: TextIO) -> str:
    """On a terminal in lines of its width, which would else break inside of words; anywhere else as it is. A word is
    never broken: it may be a command to copy."""
    if not stream.isatty():
        return text
    from shutil import get_terminal_size
    from textwrap import fill

    width = get_terminal_size().columns
    return fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def leaves(group: BaseExceptionGroup[PushctlError]) -> list[PushctlError]:
    """The errors in a group, however deep."""
    found: list[PushctlError] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
