"""What commands print with --json, held to the schema that docs/schemas/ publishes for it.

Owns: which command a line of arguments is. Must not know: how the schemas are made (tests/house/schemas.py).
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec

from pushctl.cli.catalog import LINES
from tests.house.schemas import file_of


def valid_json_lines(command: str, text: str) -> list[Any]:
    """Every line of it, decoded. `command`: its words (`client listen`). AssertionError names the field that is not
    as the schema says."""
    found = [msgspec.json.decode(line) for line in text.splitlines()]
    for line in found:
        wrong = [f"{error.instance_path}: {error.message}" for error in _validator(command).iter_errors(line)]
        assert not wrong, f"pushctl {command}: {wrong} in {line}"
    return found


def command_of(arguments: Sequence[str]) -> str:
    """The command that these arguments call, by its words; KeyError if it is none that prints JSON."""
    words = tuple(word for word in arguments[:2] if not word.startswith("-"))
    named = [name for name in (" ".join(words), words[0] if words else "") if name in LINES]
    if not named:
        raise KeyError(f"pushctl/cli/catalog.py does not say what `pushctl {' '.join(words)}` prints")
    return named[0]


@cache
def _validator(command: str) -> jsonschema_rs.Draft202012Validator:
    schema = json.loads(file_of(command).read_text(encoding="utf-8"))
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
