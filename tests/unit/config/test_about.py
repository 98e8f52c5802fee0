"""What is said of keys is so: who reads them, and how they look in a file."""

import re
import tomllib
from pathlib import Path

import pytest

from pushctl.config.about import EXAMPLES, READERS, document, readers_of, unit_of
from pushctl.config.load import load
from pushctl.config.model import ROLE_NAMES
from pushctl.config.schema import keys, tables, value_at

ROOT = Path(__file__).parents[3]


def test_readers_and_examples_are_of_keys_that_exist() -> None:
    assert READERS.keys() <= tables().keys() | keys().keys()
    assert EXAMPLES.keys() <= keys().keys()
    assert all(readers_of(path) for path in keys())


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_what_a_role_asks_the_configuration_for_is_said_to_be_read_by_it(role: str) -> None:
    text = "".join(file.read_text("utf-8") for file in (ROOT / "roles" / role).rglob("*.py"))
    asked = {found for found in re.findall(r"config\.(\w+\.\w+(?:\.\w+)?)", text) if found in keys()}
    assert asked
    assert {path for path in asked if role not in readers_of(path)} == set()


def test_every_example_may_stand_in_a_file(tmp_path: Path) -> None:
    for doc in document():
        if "[]" not in doc.key and not doc.example.startswith("[["):
            file = tmp_path / "a.toml"
            file.write_text(f"[{doc.key.rpartition('.')[0]}]\n{doc.example}\n")
            wanted = tomllib.loads(doc.example)[doc.key.rpartition(".")[2]]
            got = value_at(load([file], [], {}).config, doc.key)
            assert (list(got) if isinstance(wanted, list) else got) == wanted


def test_an_example_shows_something_where_a_default_is_empty() -> None:
    empty = {doc.key for doc in document("api") if doc.default == "" and doc.example.endswith('= ""')}
    assert empty == set()


@pytest.mark.parametrize(
    ("name", "unit"), [("ping_seconds", "seconds"), ("user_per_second", "per second"), ("strategy", None)]
)
def test_a_unit_is_read_off_the_name(name: str, unit: str | None) -> None:
    assert unit_of(name) == unit
