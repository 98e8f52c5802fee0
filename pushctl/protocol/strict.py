"""Strict JSON of a peer into a Struct, or one error that names the field.

Owns: the one decoding of bodies, and the JSON path of what was wrong.
Promises: whatever bytes arrive, `decode` returns a value of the decoder's shape or raises the error class it was
given, with a field, and a text whose length does not depend on the peer.
Must not know: which body it is.
"""

import re
from typing import TypeVar

import msgspec

from pushctl.errors import Problem
from pushctl.protocol.frames import explain

T = TypeVar("T")

_NAMED = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_LONGEST_NAME = 64


def decode(
    decoder: msgspec.json.Decoder[T], raw: bytes, error: type[Problem], *, unreadable: type[Problem] | None = None
) -> T:
    """The value in `raw`. Raises `error` for a wrong shape, `unreadable` (default: `error`) for what is no JSON."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as mistake:
        what, field = explain(mistake)
        named = _NAMED.fullmatch(what)
        if named is not None:
            name = named["name"][:_LONGEST_NAME]
            kind = "this member is required" if "missing" in what[:16] else "no such member is known here"
            raise error(kind, field=f"{field}.{name}") from None
        raise error(what, field=field) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as mistake:
        raise (unreadable or error)(f"not JSON in UTF-8: {mistake}", field="$") from None
