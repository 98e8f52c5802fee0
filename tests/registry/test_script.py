"""What Redis is given of a script: as little as does the same."""

import re
from pathlib import Path

import pytest

from pushctl import registry
from pushctl.registry.messages import APPEND
from pushctl.registry.script import Script

NAMES = sorted(file.stem for file in (Path(registry.__file__).parent / "scripts").glob("*.lua"))


@pytest.mark.parametrize("name", NAMES)
def test_names_became_places_and_no_function_is_there_for_nobody(name: str) -> None:
    source = Script.load(name).source
    assert not re.search(r"\b[KA]\.\w", source)
    for function in re.findall(r"^local function (\w+)", source, re.MULTILINE):
        assert len(re.findall(rf"\b{function}\b", source)) > 1, function


def test_what_is_bound_stands_in_the_source_and_is_no_argument_any_more() -> None:
    assert {"max_unread", "push_url"} <= set(APPEND.args)
    assert "'4711'" not in APPEND.source
    bound = APPEND.bind(max_unread=4711, unknown_here=1)
    assert "'4711'" in bound.source
    assert "max_unread" not in bound.args
    assert bound.sha1 != APPEND.sha1
    assert bound.bind(push_url="a").args == tuple(name for name in bound.args if name != "push_url")
    with pytest.raises(KeyError):
        bound.arguments({"max_unread": 1})


@pytest.mark.parametrize("value", ["a'b", "a\\", "a\nb", "'..os"])
def test_what_would_not_be_a_text_in_lua_is_not_bound(value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        APPEND.bind(max_unread=value)
