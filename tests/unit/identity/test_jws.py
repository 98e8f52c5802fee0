"""Strict base64url and JSON. The refusals themselves: test_browserid.py, step 2."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.identity import jws
from pushctl.identity.refusal import LoginRefused
from pushctl.ids import b64url
from tests.unit.identity.bundles import FUZZ


def test_the_signing_input_is_what_was_received() -> None:
    header, payload = (b64url(text) for text in (b'{ "alg" : "RS256" }', b'{"b":1,\n"a":"\\u0061"}'))

    parsed = jws.parse(f"{header}.{payload}.AAAA", "assertion")

    assert parsed == jws.Jws("RS256", {"b": 1, "a": "a"}, f"{header}.{payload}".encode(), bytes(3))


@pytest.mark.parametrize(
    ("text", "depth_allowed"),
    [
        ('{"a":' * 31 + "[]" + "}" * 31, True),
        ('{"a":' * 32 + "[]" + "}" * 32, False),
        ('{"' + "[" * 500 + '": 1}', True),
        ('{"\\"' + "[" * 500 + '": 1}', True),
        ('{"\\\\": ' + "[" * 500 + "]" * 500 + "}", False),
    ],
)
def test_nesting_is_counted_outside_of_strings(text: str, depth_allowed: bool) -> None:
    if depth_allowed:
        assert jws.parse_object(text.encode()) == json.loads(text)
    else:
        with pytest.raises(ValueError, match="deep"):
            jws.parse_object(text.encode())


@pytest.mark.parametrize(
    "text", ['{"' + '\\"' * 60_000, '{"' + '"\\' * 60_000, "[" * 120_000, '{"a":"' + "x" * 120_000]
)
def test_a_hostile_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"deep|JSON|Unterminated|Expecting"):
        jws.parse_object(text.encode())

    assert time.process_time() - begin < 1


@FUZZ
@given(raw=st.binary() | st.text('{}[]":,\\ 0123456789.eE-+NaInfitytrue', max_size=60).map(str.encode))
def test_any_bytes_are_an_object_or_a_value_error(raw: bytes) -> None:
    try:
        value = jws.parse_object(raw)
    except ValueError:
        return
    assert isinstance(value, dict)


@FUZZ
@given(text=st.text() | st.text("AZaz09-_.", max_size=60))
def test_any_text_is_refused_as_malformed(text: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        jws.parse(text, "assertion")

    assert caught.value.code == "malformed_jws"
