"""Text that others wrote, on its way to a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.client.foreign import printable


@given(st.text())
def test_foreign_text_cannot_control_a_terminal(foreign: str) -> None:
    shown = printable(foreign)
    assert len(shown) == len(foreign)
    assert shown.isprintable()


@pytest.mark.parametrize("text", ["plain", "日本語 ü — “quoted” 🎉", ""])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text
