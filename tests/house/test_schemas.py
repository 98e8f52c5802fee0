"""Every command that has --json has a published schema.

Its real output is held to it in tests/scenario/test_examples.py, and wherever a test reads the lines of a command.
"""

import json

import jsonschema_rs
import pytest

from pushctl.cli.catalog import LINES
from tests.house.commands import every_command, options_of
from tests.house.schemas import FOLDER, all_schemas, file_of
from tests.json_lines import valid_json_lines

WITHOUT_JSON = {"serve all"}
"""What prints JSON without being asked to."""


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


def test_a_line_that_is_not_as_documented_is_noticed() -> None:
    good = '{"id":"news","version":"1"}'
    assert valid_json_lines("broadcast", good) == [{"id": "news", "version": "1"}]
    for wrong in ('{"id":"news"}', '{"id":"news","version":1}', '{"id":"n","version":"1","more":0}'):
        with pytest.raises(AssertionError, match="broadcast"):
            valid_json_lines("broadcast", f"{good}\n{wrong}")
