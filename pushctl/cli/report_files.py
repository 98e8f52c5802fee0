"""The files that a measurement leaves behind: a table with a row for each run, and a raw histogram.

Owns: their form. Promises: that a file cannot be written is found out before the run (`can_be_written`), not after it.
Must not know: what was measured.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from pushctl.client.banner import Banner
from pushctl.errors import Failed


def can_be_written(*paths: Path | None) -> None:
    """Failed if not. What is in them stays; those that are not there are made, empty."""
    for path in paths:
        if path is not None:
            try:
                path.open("a").close()
            except OSError as error:
                raise Failed(f"{path}: {error.strerror}") from None


def append_row(path: Path, run: Banner, found: Struct) -> None:
    """So that a file holds many runs, one a row, under one header: the parameters as typed, then all numbers of the
    report by their names. What is counted by code is summed up, lists are left out. Failed if it cannot be written, or
    holds runs of another kind."""
    row = {"at": run.at, "version": run.version, "commit": run.commit, "cpu": run.cpu}
    row |= {f"--{name}": value for name, value in run.parameters.items()}
    row |= dict(_flat(found))
    header = ",".join(row)
    try:
        with path.open("a+", newline="", encoding="utf-8") as file:
            file.seek(0)
            first = file.readline().rstrip("\n")
            if first and first != header:
                raise Failed(f"{path}: has other columns than this run; name another file")
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if not first:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None


def _flat(report: Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in report.__struct_fields__:
        value = getattr(report, name)
        if isinstance(value, Struct):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            yield prefix + name, sum(value.values())
        elif not isinstance(value, list):
            yield prefix + name, value


def write_histogram(path: Path, buckets: Sequence[tuple[int, int]]) -> None:
    """The raw buckets: how many took at most so many microseconds. Failed if it cannot be."""
    whole, passed = sum(count for _, count in buckets), 0
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["latency_us", "count", "share_up_to"])
            for value, count in buckets:
                passed += count
                writer.writerow([value, count, round(passed / whole, 6)])
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
