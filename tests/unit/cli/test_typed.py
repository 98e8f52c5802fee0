"""Values without pydantic: the same that typer would take, and pydantic is not asked for what is right."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pushctl.cli import COMMANDS, load_command
from pushctl.cli.typed import Coercion

WORDS: tuple[str, ...] = (
    "",
    "1",
    "-1",
    "0",
    "65",
    "007",
    "1_0",
    " 5",
    "٣",
    "1.5",
    "1e3",
    "nan",
    "90s",
    "5/s",
    "10%",
    "200B",
    "auto",
    "all",
)
WORDS += ("AUTO", "socket.id=s1", "https://news.example", "-", "/", "/etc/hostname", "/nowhere/at/all", "é\n", "s1")
VALUES = (*WORDS, None, 1, 1.5, True, (), ("1",), ("a=b", "/"), ("socket", "gc"), ["x"])


def parameters() -> Iterator[Any]:
    def walk(command: Any) -> Iterator[Any]:
        yield from command.params
        for inner in getattr(command, "commands", {}).values():
            yield from walk(inner)

    for name in COMMANDS:
        yield from walk(load_command(name))


def taken(coercion: Any, parameter: Any, value: Any) -> object:
    """The value and its kind, or what is said against it."""
    try:
        found = coercion.coerce(value, param=parameter, ctx=None)
    except typer.BadParameter as error:
        return error.message
    except (AttributeError, TypeError) as error:
        return type(error)
    return type(found), found, [type(each) for each in found] if isinstance(found, list) else None


def test_what_is_taken_and_refused_is_what_typer_would_take_and_refuse() -> None:
    for parameter in parameters():
        ours = parameter.get_runtime_param()
        assert isinstance(ours, Coercion)
        typers = ours._typers()
        for value in VALUES:
            told = (parameter.name, parameter.type_descriptor.annotation, value)
            assert (told, repr(taken(ours, parameter, value))) == (told, repr(taken(typers, parameter, value)))


@pytest.mark.parametrize(
    "words",
    [
        "serve all --data-dir /nowhere --ports auto --sockets 3 --config conf.d --set api.inbox=false",
        "serve gc --once --check",
        "stats servers --watch 2s --json",
        "send https://push.example/push/a Hello --ttl 1h --rate 5/s --count 3",
        "bench send --duration 2s --json",
        "client login alice",
    ],
)
def test_for_what_is_right_pydantic_is_not_asked(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    def asked(_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(typer.core, "build_runtime_param", asked)
    name, *rest = words.split()
    command = load_command(name)
    while hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    command.make_context(name, rest)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    [csv] = [each for each in load_command("send").params if each.name == "csv"]
    with pytest.raises(typer.BadParameter, match="is a directory"):
        csv.process_value(None, str(tmp_path))
    assert csv.process_value(None, str(tmp_path / "new.csv")) == tmp_path / "new.csv"
