"""Bytes of a terminal as keys: whatever comes, and however it is cut into pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushctl.cli.client.live.keyboard import LIMIT, Decoder, Input, Named, Paste, Press


def decoded(*pieces: bytes) -> list[Input]:
    decoder = Decoder()
    return [found for piece in pieces for found in decoder.feed(piece)]


def pressed(*keys: str) -> list[Input]:
    return [Press(key) for key in keys]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"jk", ["j", "k"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB\x1b[C\x1b[D", ["up", "down", "up", "down", "right", "left"]),
        (b"\x1b[H\x1b[F\x1b[1~\x1b[4~\x1b[5~\x1b[6~", ["home", "end", "home", "end", "page-up", "page-down"]),
        (b"\t\x1b[Z\r\n\x7f\x08\x15", ["tab", "tab", "enter", "enter", "backspace", "backspace", "ctrl-u"]),
        ("äé日🎉".encode(), ["ä", "é", "日", "🎉"]),
        (b"\x1b[1;5C\x1b[200q\x1b[15~\x00\x01\x02\xff\xc3(", ["("]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x1bq", ["escape", "q"]),
    ],
)
def test_keys(data: bytes, keys: list[str]) -> None:
    assert decoded(data) == pressed(*keys)


def test_escape_is_told_from_the_beginning_of_another_key_by_silence() -> None:
    decoder = Decoder()
    assert (decoder.feed(b"\x1b"), decoder.waits) == ([], True)
    assert (decoder.feed(b"[A"), decoder.waits) == (pressed("up"), False)
    decoder.feed(b"\x1b")
    assert decoder.silence() == pressed("escape")
    assert decoder.silence() == []


def test_what_was_pasted_is_one_piece_whatever_is_in_it() -> None:
    assert decoded(b"\x1b[200~q\x1b[A\nA\xff\x1b[201~r") == [Paste("q\x1b[A\nA\ufffd"), Press("r")]


def test_the_name_of_the_terminal_is_no_key() -> None:
    assert decoded(b"\x1bP>|WezTerm 20240203\x1b\\r") == [Named("WezTerm 20240203"), Press("r")]


@given(
    st.lists(st.sampled_from([b"\x1b[200~Aq", b"\x1b[201~", b"\x1bP>|xr", b"\x1b\\", b"\x1b[A", "ü".encode(), b"q"]))
)
def test_it_does_not_matter_where_it_is_cut(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert decoded(*(data[at : at + 1] for at in range(len(data)))) == decoded(data)


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_nothing_is_raised(data: bytes) -> None:
    assert all(isinstance(found, Press | Paste | Named) for found in decoded(data))


def test_a_paste_without_end_is_not_kept_without_end() -> None:
    decoder = Decoder()
    decoder.feed(b"\x1b[200~")
    for _ in range(40):
        assert decoder.feed(b"x" * 1000) == []
    assert len(decoder._kept) < LIMIT + 2000
    (pasted,) = decoder.feed(b"\x1b[201~")
    assert isinstance(pasted, Paste)
    assert 8000 < len(pasted.text) <= LIMIT
