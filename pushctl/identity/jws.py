"""Compact JWS (RFC 7515) with one spelling for each: strict base64url, strict JSON.

Promises: a signed text has exactly one form that parses; `parse_object` and `parse` end in a value or in the documented
error, whatever they are given, in time linear in its length.
Must not know: which algorithms are allowed, keys, claims.
"""

import json
import re
from typing import NoReturn

import msgspec

from pushctl.identity.refusal import LoginRefused
from pushctl.ids import unb64url

MAX_DEPTH = 32
"""How deep JSON may nest: counted before parsing, because Python's parser answers depth with RecursionError."""

_LONGEST_INTEGER = 20
# Possessive, and a string that never closes matches to the end: so no input makes this look twice at a character.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int | float:
    # int() refuses more than 4300 digits with an error, though they are JSON; no integer that long means anything here.
    return int(text) if len(text) <= _LONGEST_INTEGER else float(text)


def parse_object(raw: bytes) -> dict[str, object]:
    """A JSON object: UTF-8, no member twice, no NaN or Infinity, at most MAX_DEPTH deep. ValueError otherwise."""
    text = raw.decode("utf-8")
    if _depth(text) > MAX_DEPTH:
        raise ValueError("nested too deep")
    value: object = json.loads(text, object_pairs_hook=_members, parse_constant=_constant, parse_int=_integer)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


class Jws(msgspec.Struct, frozen=True):
    """A parsed JWS. Nothing of its header but `alg` is ever used: no `jwk`, `jku`, `x5c`, `kid`."""

    alg: str
    payload: dict[str, object]
    signing_input: bytes
    """As received, never re-serialised."""
    signature: bytes


def parse(text: str, what: str) -> Jws:
    """The JWS in `text`, which the log calls `what`. Raises LoginRefused `malformed_jws`; checks no signature."""
    parts = text.split(".")
    if len(parts) != 3:
        raise LoginRefused("malformed_jws", f"{what}: not three parts")
    try:
        header, payload, signature = (unb64url(part) for part in parts)
    except ValueError:
        raise LoginRefused("malformed_jws", f"{what}: not base64url") from None
    try:
        members, claims = parse_object(header), parse_object(payload)
    except ValueError:
        raise LoginRefused("malformed_jws", f"{what}: header or payload is not an unambiguous JSON object") from None
    alg = members.get("alg")
    if not isinstance(alg, str):
        raise LoginRefused("malformed_jws", f"{what}: alg is not a string")
    if "crit" in members:
        raise LoginRefused("malformed_jws", f"{what}: crit asks for what is not understood here")
    return Jws(alg, claims, text.rpartition(".")[0].encode("ascii"), signature)
