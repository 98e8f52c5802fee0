"""Text that others wrote, on its way to a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.client.foreign import printable


@given(st.text())
def test_foreign_text_cannot_control_a_terminal(foreign: str) -> None:
    shown = printable(foreign)
    assert len(shown) <= len(foreign)
    assert shown.isprintable()


@pytest.mark.parametrize("text", ["plain", "日本語 ü — “quoted” 🎉", ""])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_marks_do_not_pile_up_over_other_lines() -> None:
    assert printable("Z" + "\u0335" * 500 + "a\u0301") == "Z" + "\u0335" * 3 + "a\u0301"


def test_nothing_tells_a_terminal_to_draw_wider() -> None:
    assert printable("\u2615\ufe0f cup") == "\u2615 cup"
