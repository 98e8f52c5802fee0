"""Two releases and one installation: `python -m tests.previous.cross TREE`, by hand before a release.

TREE is a checkout of the release before. Three things are lived: this one goes on with what that one left (an upgrade),
that one with what this one left (a rollback), and both at once, with every role of either (a rolling upgrade). Prints a
line each and ends with 1 if one fails.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from tests.previous.era import HERE, Era
from tests.previous.mixed import live_mixed
from tests.previous.record import keep
from tests.previous.story import relive


def go_on(writer: Path, reader: Path, folder: Path) -> None:
    keep(writer, folder)
    trio.run(relive, Era(folder / "profiles", tree=reader), folder)


def main() -> None:
    before = Path(sys.argv[1]).resolve()
    lives: dict[str, Callable[[Path], object]] = {
        "upgrade": partial(go_on, before, HERE),
        "rollback": partial(go_on, HERE, before),
        "old readers, new writers": lambda folder: trio.run(live_mixed, folder, before, HERE),
        "new readers, old writers": lambda folder: trio.run(live_mixed, folder, HERE, before),
    }
    failed = False
    for name, live in lives.items():
        with tempfile.TemporaryDirectory(prefix="pushctl-cross-") as folder:
            try:
                live(Path(folder) / "left")
            except Exception as error:  # noqa: BLE001 - the others are lived all the same, and it is said
                failed = True
                print(f"{name}: FAILED: {error!r}")
            else:
                print(f"{name}: good")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
