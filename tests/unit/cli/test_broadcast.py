"""`pushctl broadcast`: what it takes. tests/scenario/test_broadcasts.py has what it does."""

import pytest

from tests.unit.cli.commands import run

NOWHERE = ("--set", "redis.url=unix:///nowhere.sock", "--set", "redis.connect_seconds=0.01")


@pytest.mark.parametrize("arguments", [("news", "1"), ("news", "--remove"), ("--list",)])
def test_without_redis_it_cannot_connect(arguments: tuple[str, ...]) -> None:
    ran = run("broadcast", *arguments, *NOWHERE)
    assert (ran.code, ran.out) == (5, "")


@pytest.mark.parametrize(
    "arguments",
    [(), ("news",), ("--remove",), ("news", "1", "--list"), ("news", "1", "--remove"), ("news", ""), ("ä", "1")],
)
def test_what_makes_no_sense_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run("broadcast", *arguments, *NOWHERE).code == 2
