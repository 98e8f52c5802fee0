"""docs/webpush.md is what the tests say of the standards."""

import inspect
from types import ModuleType

import pytest

from tests.interop import standard, test_rfc8030, test_rfc8292


def test_the_document_is_written_from_the_tests() -> None:
    assert standard.DOCUMENT.read_text() == standard.document(), "run python -m tests.interop.standard"


@pytest.mark.parametrize(("rfc", "module"), [(8030, test_rfc8030), (8292, test_rfc8292)])
def test_each_sentence_that_applies_has_one_test_and_each_test_one_sentence(rfc: int, module: ModuleType) -> None:
    tests = [name for name, _ in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")]
    rows = [row for row in standard.ROWS if row.rfc == rfc]
    assert sorted(row.test for row in rows if row.test is not None) == sorted(tests)
    assert all((row.test is None) == (row.verdict == "does not apply") for row in rows)


def test_no_sentence_stands_twice_in_a_section() -> None:
    sentences = [(row.rfc, row.section, row.sentence) for row in standard.ROWS]
    assert len(set(sentences)) == len(sentences)
