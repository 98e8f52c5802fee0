"""The data directory: its lock, its record and where the socket goes."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from pushctl.embedded.directory import claim_version, locked, socket_path
from pushctl.embedded.program import Server
from pushctl.errors import Failed

OLD = Server(Path("/usr/bin/old"), "redis", (6, 2, 14))
NEW = Server(Path("/usr/bin/new"), "redis", (7, 0, 15))


async def test_a_directory_is_made_for_this_user_only(tmp_path: Path) -> None:
    where = tmp_path / "a" / "b"
    async with locked(where, 1):
        assert where.stat().st_mode & 0o777 == 0o700


async def test_a_directory_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed, match=r"file: .* choose another --data-dir"):
        async with locked(tmp_path / "file", 1):
            pass


async def test_who_comes_second_waits_for_the_first_to_go(tmp_path: Path) -> None:
    order: list[str] = []

    async def second() -> None:
        async with locked(tmp_path, 5):
            order.append("second")

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery, locked(tmp_path, 5):
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked(0.01)
            order.append("first")
    assert order == ["first", "second"]


async def test_who_waits_too_long_is_told_who_has_it(tmp_path: Path) -> None:
    with trio.fail_after(5):
        async with locked(tmp_path, 1):
            with pytest.raises(Failed, match=f"in use by process {os.getpid()}"):
                async with locked(tmp_path, 0.1):
                    pass
        async with locked(tmp_path, 0.1):
            pass


def test_the_newest_server_that_wrote_is_recorded_and_an_older_one_refuses(tmp_path: Path) -> None:
    claim_version(tmp_path, OLD)
    claim_version(tmp_path, NEW)
    assert (tmp_path / "VERSION").read_text() == "redis 7.0.15\n"
    with pytest.raises(Failed) as caught:
        claim_version(tmp_path, OLD)
    assert str(caught.value) == (
        f"{tmp_path} was written by redis 7.0.15, and redis 6.2.14 (/usr/bin/old) cannot open it: "
        "install redis 7.0.15 or newer, or choose another --data-dir"
    )
    assert (tmp_path / "VERSION").read_text() == "redis 7.0.15\n"


def test_a_record_that_says_nothing_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("seven")
    with pytest.raises(Failed, match="expected a server and its version, got 'seven'"):
        claim_version(tmp_path, NEW)
    assert (tmp_path / "VERSION").read_text() == "seven"


def test_the_socket_is_in_the_directory_and_what_was_left_of_it_goes(tmp_path: Path) -> None:
    (tmp_path / "redis.sock").write_text("left by a killed server")
    with socket_path(tmp_path) as socket:
        assert socket == tmp_path / "redis.sock"
        assert not socket.exists()


def test_a_long_path_gets_a_short_private_place_that_goes_afterwards(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    long = tmp_path / ("x" * 120)
    with socket_path(long) as socket:
        assert len(os.fsencode(socket)) <= 103
        assert socket.parent.parent == folder
        assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert not socket.parent.exists()
    with socket_path(long) as again, socket_path(tmp_path / ("y" * 120)) as other:
        assert again == socket
        assert other != again


def test_a_short_place_that_others_can_enter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    long = tmp_path / ("x" * 120)
    with socket_path(long) as socket:
        place = socket.parent
    place.mkdir(mode=0o700)
    place.chmod(0o755)
    with pytest.raises(Failed, match="belongs to somebody else"), socket_path(long):
        pass
