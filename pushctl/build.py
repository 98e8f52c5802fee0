"""Which build this is, and what it runs on: for bug reports, and to see what a fleet runs.

Owns: finding that out. Promises: always an answer, `unknown` where there is none; no library is imported for it. Blocks
for some milliseconds the first time in a checkout, where git is asked.
Must not know: who asks.
"""

import platform
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

import pushctl

UNKNOWN = "unknown"


class Build(msgspec.Struct, frozen=True):
    """What `GET /version` of a role answers, and `pushctl --version` says."""

    version: str
    commit: str
    """The git commit, `-dirty` behind it if files were changed; a wheel carries that of its build."""
    python: str
    trio: str
    redis: str
    """Of the client library redis-py."""
    hiredis: str
    openssl: str
    """What TLS listeners and clients use."""
    platform: str


@cache
def build() -> Build:
    """Of this process."""
    import ssl

    return Build(
        version=pushctl.__version__,
        commit=_commit(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        trio=_version("trio"),
        redis=_version("redis"),
        hiredis=_version("hiredis"),
        openssl=" ".join(ssl.OPENSSL_VERSION.split()[:2]),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
    )


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return UNKNOWN


def _commit() -> str:
    """Written into a wheel when it was built (setup.py); in a checkout git knows."""
    written = files(pushctl) / "commit.txt"
    if written.is_file():
        return written.read_text(encoding="ascii").strip() or UNKNOWN
    return commit_of(Path(pushctl.__file__).parents[1]) or UNKNOWN


def commit_of(root: Path) -> str | None:
    """Of a checkout; None if it is none, or git is not there. A repository somewhere above is not ours."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
