"""Writes the git commit into what is built, so that an installed `pushctl --version` can say it.

Everything else of the build is in pyproject.toml. Without git, or from an archive without its history, nothing is
written and `pushctl --version` says `unknown`.
"""

import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
FILE = "pushctl/commit.txt"


def commit() -> str | None:
    """What `pushctl.build.commit_of` finds; that cannot be imported before its libraries are there."""
    if (HERE / FILE).is_file():  # in an sdist
        return (HERE / FILE).read_text(encoding="ascii").strip()
    if not (HERE / ".git").exists():
        return None
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write(folder: str) -> None:
    found = commit()
    if found is not None:
        (Path(folder) / FILE).write_text(f"{found}\n", encoding="ascii")


class BuildPy(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout has git
            write(self.build_lib)


class Sdist(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write(base_dir)


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
