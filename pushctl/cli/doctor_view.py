"""What `pushctl doctor` does: asks everything there is to ask, and says what was found.

Owns: the order of the questions, and the report's look. Promises: what can be found out without Redis is printed before
Redis is asked; nothing that was found is printed with a secret in it.
Must not know: how anything is found out (pushctl/checkup), what people type (doctor.py).
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
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
from pushctl.client.foreign import printable
from pushctl.config.model import Config
from pushctl.errors import ConfigError, NotGood, StoreUnavailable, Unreachable
from pushctl.identity.keys import installation_of
from pushctl.registry import Registry, open_registry

_LOOKS: Final = {
    "ok": ("✓", "green", "good"),
    "warn": ("!", "yellow", "to consider"),
    "bad": ("✗", "bold red", "bad"),
    "unknown": ("?", "magenta", "unknown"),
}
"""Mark, colour, and the word of the last line."""

_NAME_WIDTH: Final = max(map(len, CHECKS))


async def examine(report: "Report", here: Here, adopt: bool) -> None:
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


async def examine_unread(report: "Report", mistakes: Sequence[str]) -> None:
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
