"""Bodies of peers: a value of the wanted shape, or one error that names the field."""

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from pushctl.errors import BodyInvalid, NotificationInvalid
from pushctl.protocol import strict


class Inner(Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=3)]


class Outer(Struct, forbid_unknown_fields=True):
    inner: Inner
    count: int = 0


DECODER = msgspec.json.Decoder(Outer)


def field_of(raw: bytes) -> str | None:
    with pytest.raises(BodyInvalid) as caught:
        strict.decode(DECODER, raw, BodyInvalid)
    return caught.value.field


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", "$"),
        (b"{", "$"),
        (b"[]", "$"),
        (b"\xff", "$"),
        (b"\xef\xbb\xbf{}", "$"),
        (b'{"inner":{"name":"\xff"}}', "$"),
        (b'{"inner":{"name":"\\ud800"}}', "$"),
        (b"{}", "$.inner"),
        (b'{"inner":{}}', "$.inner.name"),
        (b'{"inner":{"name":1}}', "$.inner.name"),
        (b'{"inner":{"name":"long"}}', "$.inner.name"),
        (b'{"inner":{"name":"a"},"count":"1"}', "$.count"),
        (b'{"inner":{"name":"a"},"colour":"red"}', "$.colour"),
        (b'{"inner":{"name":"a","colour":"red"}}', "$.inner.colour"),
        (b'{"inner":' + b"[" * 100_000, "$.inner"),
        (b'{"x":' + b"[" * 100_000, "$.x"),
    ],
)
def test_the_error_names_the_field(raw: bytes, field: str) -> None:
    assert field_of(raw) == field


def test_what_a_peer_calls_its_members_does_not_make_the_answer_grow() -> None:
    field = field_of(b'{"inner":{"name":"a"},"' + b"x" * 60_000 + b'":1}')
    assert field == "$." + "x" * 64


def test_what_is_no_json_may_be_another_error_than_a_wrong_shape() -> None:
    with pytest.raises(BodyInvalid):
        strict.decode(DECODER, b"{", NotificationInvalid, unreadable=BodyInvalid)
    with pytest.raises(NotificationInvalid):
        strict.decode(DECODER, b"{}", NotificationInvalid, unreadable=BodyInvalid)


@given(
    st.binary(max_size=200)
    | st.text('a0[]{}",:ü\\', max_size=20).map(lambda text: f'{{"inner":{{"name":{text}}}}}'.encode("utf-8", "replace"))
)
def test_whatever_bytes_arrive_it_is_a_value_or_that_error(raw: bytes) -> None:
    outcome: Outer | BodyInvalid
    try:
        outcome = strict.decode(DECODER, raw, BodyInvalid)
    except BodyInvalid as error:
        outcome = error
    if isinstance(outcome, BodyInvalid):
        assert outcome.field is not None
        assert len(outcome.detail) < 300
