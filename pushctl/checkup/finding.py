"""One thing that was found out, and what to do about it.

Owns: the shape that `pushctl doctor --json` prints, names documented in docs/operations.md.
Must not know: what was looked at.
"""

from typing import Literal

import msgspec

Verdict = Literal["ok", "warn", "bad", "unknown"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    group: str = ""
    """What was looked at: `This machine`, `Configuration`, `Redis 10.0.0.1:6379`."""
    check: str = ""
    """A stable word."""
    verdict: Verdict
    found: str
    """What is the case, in half a line."""
    means: str = ""
    """What follows from it; empty when all is well."""
    do: tuple[str, ...] = ()
    """What to run, to set or to write, a line each, exactly."""

    def about(self, group: str, check: str) -> "Finding":
        return msgspec.structs.replace(self, group=group, check=check)


def ok(found: str) -> Finding:
    return Finding(verdict="ok", found=found)


def warn(found: str, means: str, *do: str) -> Finding:
    return Finding(verdict="warn", found=found, means=means, do=do)


def bad(found: str, means: str, *do: str) -> Finding:
    return Finding(verdict="bad", found=found, means=means, do=do)


def unknown(found: str, means: str, *do: str) -> Finding:
    return Finding(verdict="unknown", found=found, means=means, do=do)
