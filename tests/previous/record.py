"""Keep what a release leaves behind: `python -m tests.previous.record [TREE]`, the last step of each release.

Makes tests/previous/VERSION. TREE: a checkout of the release, if it is not this one. What is kept belongs to nobody:
its keys and sessions are worth nothing.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import trio

from tests.previous.era import HERE, Era
from tests.previous.story import record


def version_of(tree: Path) -> str:
    command = [sys.executable, "-c", "import pushctl; print(pushctl.__version__)"]
    return subprocess.check_output(command, cwd=tree, env={"PYTHONPATH": str(tree)}, text=True).strip()


def keep(tree: Path, folder: Path) -> None:
    """`folder` must not be there yet."""
    (folder / "profiles").mkdir(parents=True)
    story = trio.run(record, Era(folder / "profiles", tree=tree), folder)
    (folder / "story.json").write_text(json.dumps(story, indent=2) + "\n")
    wire = Path(__file__).with_name("wire.py")
    said = subprocess.check_output([sys.executable, str(wire)], cwd=folder, env={"PYTHONPATH": str(tree)})
    (folder / "wire.jsonl").write_bytes(said)
    shutil.copytree(tree / "conf.d", folder / "conf.d")


def main() -> None:
    tree = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE
    folder = Path(__file__).parent / version_of(tree)
    keep(tree, folder)
    print(folder)


if __name__ == "__main__":
    main()
