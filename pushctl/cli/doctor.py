"""`pushctl doctor`: is all in place? Says what was found, what it means and what to change.

Owns: the options, exit codes, and the report's look. Promises: what can be found out without Redis is printed before
Redis is asked; nothing that was found is printed with a secret in it.
Must not know: how anything is found out (pushctl/checkup).
"""

import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
import trio
import typer
from rich.console import Console
from rich.text import Text

from pushctl import cli
from pushctl.checkup import (
    CHECKS,
    CONFIGURATION,
    REACH,
    Finding,
    Here,
    examine_configuration,
    examine_machine,
    examine_redis,
    mistaken,
    out_of_reach,
)
from pushctl.cli import values
from pushctl.client.foreign import printable
from pushctl.config.load import load
from pushctl.config.model import Config
from pushctl.errors import ConfigError, NotGood, StoreUnavailable, Unreachable
from pushctl.identity.keys import installation_of
from pushctl.registry import Registry, open_registry

app = typer.Typer()

_LOOKS: Final = {
    "ok": ("✓", "green", "good"),
    "warn": ("!", "yellow", "to consider"),
    "bad": ("✗", "bold red", "bad"),
    "unknown": ("?", "magenta", "unknown"),
}
"""Mark, colour, and the word of the last line."""

_NAME_WIDTH: Final = max(map(len, CHECKS))


@app.command(
    epilog=cli.examples(
        "pushctl doctor --config /etc/pushctl/conf.d",
        "pushctl doctor socket --config conf.d --set socket.id=s1    # all that this role needs",
        "pushctl doctor --set redis.url=unix:///run/redis.sock",
        "pushctl doctor --adopt --config /etc/pushctl/conf.d         # Redis lost everything, and that is accepted",
        """pushctl doctor --json | jq -r 'select(.verdict == "bad") | .check'""",
    )
)
def doctor(
    roles: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ROLE]...", help="Roles that run here: check what they need, too."),
    ] = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per finding, a line each.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="First make this Redis the installation's, whatever was lost in it.")
    ] = False,
) -> None:
    """Look at this machine, the configuration and every master of Redis, and say what to change.

    Changes nothing without --adopt. Exit codes: 0 nothing is bad (there may be warnings), 2 the configuration is wrong,
    5 Redis cannot be reached, 3 anything else is bad; of several the first in this order. Limits are those of the shell
    it runs in.
    """
    named = [values.role(role) for role in roles or []]
    report = Report(as_json=as_json)
    try:
        here = Here(load(config, sets or [], os.environ).config, named)
    except ConfigError as error:
        trio.run(_examine_unread, report, error.mistakes)
    else:
        trio.run(_examine, report, here, adopt)
    report.finish()
    raise typer.Exit(report.exit_code)


async def _examine(report: "Report", here: Here, adopt: bool) -> None:
    report.add(await examine_machine(here))
    report.add(await examine_configuration(here))
    try:
        async with open_registry(here.config, name="doctor") as registry:
            if adopt:
                await _adopt(registry, here.config)
            report.add(await examine_redis(registry, here.config))
    except* (Unreachable, StoreUnavailable) as group:
        report.add(out_of_reach(str(error)) for error in cli.leaves(group))


async def _adopt(registry: Registry, config: Config) -> None:
    """After a loss that nothing brings back. What it did, the check of the installation says."""
    installation = installation_of(config.identity)
    if installation is None:
        raise ConfigError(["identity.keys_file: --adopt needs it: the file says whose this Redis is to be"])
    await registry.adopt(installation)


async def _examine_unread(report: "Report", mistakes: Sequence[str]) -> None:
    """The configuration has mistakes: the machine is compared with the defaults, and there is no Redis to ask."""
    report.add(await examine_machine(Here(Config())))
    report.add(mistaken(mistakes))


class Report:
    """Prints findings as they come and remembers how bad it is."""

    def __init__(self, *, as_json: bool, console: Console | None = None) -> None:
        self._as_json = as_json
        self._console = console or Console(highlight=False)
        self._group = ""
        self._findings: list[Finding] = []

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._findings.append(finding)
            if self._as_json:
                print(msgspec.json.encode(finding).decode(), flush=True)
                continue
            if finding.group != self._group:
                self._group = finding.group
                self._print(Text(f"{printable(finding.group)}", style="bold"))
            for line in _lines(finding, self._console.width):
                self._print(line)

    def finish(self) -> None:
        """The last line of the report for people: how many of each."""
        if self._as_json:
            return
        counts = [
            (sum(finding.verdict == verdict for finding in self._findings), style, word)
            for verdict, (_, style, word) in _LOOKS.items()
        ]
        parts = [Text(f"{count} {word}", style=style) for count, style, word in counts if count]
        self._print(Text(", ").join(parts))

    @property
    def exit_code(self) -> int:
        bad = [finding for finding in self._findings if finding.verdict == "bad"]
        if any(finding.group == CONFIGURATION for finding in bad):
            return ConfigError.exit_code
        if any(finding.check == REACH for finding in bad):
            return Unreachable.exit_code
        return NotGood.exit_code if bad else 0

    def _print(self, line: Text) -> None:
        # Printed by Python, not by rich, which ends the process on a broken pipe (`| head`) in its own way.
        with self._console.capture() as screen:
            self._console.print(line, soft_wrap=True)
        print(screen.get(), end="", flush=True)


def _lines(finding: Finding, width: int) -> Iterable[Text]:
    """One line when all is well; else what it means, wrapped, and what to do, each in one piece: it will be copied."""
    mark, style, _ = _LOOKS[finding.verdict]
    name = finding.check.replace("_", " ").ljust(_NAME_WIDTH)
    indent = " " * (_NAME_WIDTH + 6)
    first, *more = textwrap.wrap(printable(finding.found), width - len(indent)) or [""]
    yield Text.assemble("  ", (mark, style), f" {name}  {first}")
    yield from (Text(indent + line) for line in more)
    for line in textwrap.wrap(printable(finding.means), width - len(indent)):
        yield Text(indent + line, style="dim")
    for line in finding.do:
        yield Text.assemble(indent, ("→ ", style), printable(line))
