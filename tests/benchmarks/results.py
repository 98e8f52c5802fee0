"""What a benchmark found: measured now or read from a file, told, and kept in a file.

Owns: the options `--json` and `--from`. Must not know: what is measured, and how it is told.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from tests.benchmarks.unsound import or_exit


class Measured(Protocol):
    @property
    def machine(self) -> str:
        """What it was, and how busy, when measuring began."""


M = TypeVar("M", bound=Measured)


def add_file_options(parser: ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="write all that was measured into this file")
    parser.add_argument("--from", type=Path, dest="earlier", help="measure nothing: tell what such a file holds")


def told(options: Namespace, kind: type[M], measure: Callable[[], M], tell: Callable[[M], None]) -> M:
    """All that was measured, which has been told and kept as the options say."""
    measured = msgspec.json.decode(options.earlier.read_bytes(), type=kind) if options.earlier else or_exit(measure)
    print(measured.machine)
    tell(measured)
    if options.json:
        options.json.write_bytes(msgspec.json.encode(measured))
    return measured
