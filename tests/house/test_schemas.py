"""Every command that has --json has a published schema, which its real output is held to."""

import ast
import json
from pathlib import Path

import jsonschema_rs
import pytest

from pushctl.cli.catalog import LINES
from tests.house.commands import every_command, options_of
from tests.house.schemas import FOLDER, all_schemas, file_of
from tests.json_lines import valid_json_lines

TESTS = Path(__file__).parents[1]
WITHOUT_JSON = {"serve all"}
"""What prints JSON without being asked to."""
SAID_BY_HELPERS = {"broadcast", "inspect message", "inspect push-url", "inspect user"}
"""Held in tests/scenario/test_broadcasts.py and test_inspect.py, which put the words together."""


def test_every_command_with_json_says_what_it_prints() -> None:
    asked = {words for words, command in every_command().items() if "--json" in options_of(command)}
    assert asked == LINES.keys() - WITHOUT_JSON


def test_the_published_schemas_are_those_of_the_types() -> None:
    assert {file: file.read_text("utf-8") for file in FOLDER.iterdir()} == all_schemas(), (
        "run `python -m tests.house.schemas`, and look at the difference: others read these lines"
    )


@pytest.mark.parametrize("command", LINES)
def test_a_schema_is_one_and_leaves_no_room_for_other_fields(command: str) -> None:
    schema = json.loads(file_of(command).read_text("utf-8"))
    jsonschema_rs.meta.validate(schema)
    assert not jsonschema_rs.is_valid(schema, {})
    assert all(shape["additionalProperties"] is False for shape in schema["$defs"].values())


def test_every_schema_has_real_output_that_is_held_to_it() -> None:
    """In a test that calls `valid_json_lines("client listen", ...)`, or runs it and takes its `lines`."""
    held: set[str] = set()
    for file in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and file != Path(__file__):
                words = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
                if "--json" in words or ast.unparse(node.func) == "valid_json_lines":
                    held |= {" ".join(words[:2]), *words[:1]}
    assert held | SAID_BY_HELPERS >= LINES.keys()


def test_a_line_that_is_not_as_documented_is_noticed() -> None:
    good = '{"id":"news","version":"1"}'
    assert valid_json_lines("broadcast", good) == [{"id": "news", "version": "1"}]
    for wrong in ('{"id":"news"}', '{"id":"news","version":1}', '{"id":"n","version":"1","more":0}'):
        with pytest.raises(AssertionError, match="broadcast"):
            valid_json_lines("broadcast", f"{good}\n{wrong}")
