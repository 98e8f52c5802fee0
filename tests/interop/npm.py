"""Packages from npm that tests compare with: each folder has its package.json and lock, and installs itself once."""

import fcntl
import shutil
import subprocess
from pathlib import Path


def installed(folder: Path, *build: str) -> Path:
    """The folder, with what its lock names; `build`: a script that a package needs to be run once (no package's own
    install script is). Fails, and does not skip, without node and npm: `make ci` installs them."""
    stamp, lock = folder / "node_modules" / ".installed", folder / "package-lock.json"
    assert shutil.which("node"), "these tests need node: apt-get install nodejs npm"
    assert shutil.which("npm"), "these tests need npm: apt-get install npm"
    with (folder / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # other processes run other tests of this folder
        if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
            _run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
            for script in build:
                _run(folder, "node", script)
            stamp.touch()
    return folder


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
