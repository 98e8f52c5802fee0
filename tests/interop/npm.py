"""Packages from npm that tests run as processes: each folder has a package.json and a lock of its own.

Promises: what the lock says is installed before a test needs it, by one of several test runs at a time; without Node.js
such a test fails, it is never skipped. Must not know: what the packages are for.
"""

import fcntl
import shutil
import subprocess
from pathlib import Path

INSTALL_SECONDS = 300


def install(folder: Path) -> None:
    """`npm ci` in `folder`, unless what its lock says is there already."""
    npm = shutil.which("npm")
    assert npm is not None, "these tests need Node.js 20 or newer, with npm"
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
