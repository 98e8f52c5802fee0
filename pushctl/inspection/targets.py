"""What an operator has in hand, and what it names: push URLs, tokens, message ids, Locations, `USER/ID`, `USER/SEQ`.

Promises: whatever is typed, it is a target or a ValueError that says what was expected; neither repeats a secret. What
is well spelled and does not open is Failed, with what a sender would be told.
Must not know: the registry; where the keys come from.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pushctl.errors import Failed, NotFound, PushUrlUnknown, StoreUnavailable
from pushctl.identity.sealing import Sealer
from pushctl.ids import ID_PATTERN, LARGEST_SEQ, PushUrlId, ServerId, UserId

TOKEN_CHARACTERS: Final = 64
MESSAGE_ID_CHARACTERS: Final = 74
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")

_PUSH_URL: Final = "expected a push URL, its token (64 characters), or USER/ID with the push URL's id"
_MESSAGE: Final = "expected a message's id (74 characters), its /message/ID path, or USER/SEQ as in the logs"


@dataclass(frozen=True, slots=True)
class PushUrlTarget:
    """`number`: it is the user's number-th; None when only its id is known."""

    user: UserId
    push_url: PushUrlId
    number: int | None


@dataclass(frozen=True, slots=True)
class MessageTarget:
    """`tag`, `expires_ms`: as sealed in the id; None when only the number in the log is known."""

    user: UserId
    seq: int
    tag: int | None
    expires_ms: int | None


def user_target(text: str) -> UserId:
    if len(text) in (TOKEN_CHARACTERS, MESSAGE_ID_CHARACTERS) or "/" in text or not ID_PATTERN.fullmatch(text):
        raise ValueError("expected a user's id (22 characters of A-Z a-z 0-9 _ -), as in the logs")
    return UserId(text)


def server_target(text: str) -> ServerId:
    if not ID_PATTERN.fullmatch(text):
        raise ValueError("expected a socket server's id, such as s1: `pushctl stats servers` lists them")
    return ServerId(text)


def push_url_target(text: str, sealer: Callable[[], Sealer]) -> PushUrlTarget:
    """Raises ValueError, or Failed for a token that these keys do not open."""
    user, id_, token = _parts(text, "/push/", TOKEN_CHARACTERS, _PUSH_URL)
    if token is None:
        if not ID_PATTERN.fullmatch(id_):
            raise ValueError(_PUSH_URL)
        return PushUrlTarget(user, PushUrlId(id_), None)
    try:
        address = sealer().open_push_url(token)
    except PushUrlUnknown:
        raise Failed("this push URL was not made with these keys: senders get 404") from None
    except StoreUnavailable:
        raise _foreign_key(token) from None
    return PushUrlTarget(address.user, address.push_url, address.number)


def message_target(text: str, sealer: Callable[[], Sealer]) -> MessageTarget:
    """Raises ValueError, or Failed for an id that these keys do not open."""
    user, seq, token = _parts(text, "/message/", MESSAGE_ID_CHARACTERS, _MESSAGE)
    if token is None:
        if not re.fullmatch(r"[0-9]{1,16}", seq) or not 0 < int(seq) <= LARGEST_SEQ:
            raise ValueError(_MESSAGE)
        return MessageTarget(user, int(seq), None, None)
    try:
        user, ref = sealer().open_message_id(token)
    except NotFound:
        raise Failed("this message id was not made with these keys: senders get 404") from None
    except StoreUnavailable:
        raise _foreign_key(token) from None
    return MessageTarget(user, ref.seq, ref.tag, ref.expires_at_ms)


def _foreign_key(token: str) -> Failed:
    return Failed(f"sealed with key {token[:4]}, which is not in the keys file: senders get 503")


def _parts(text: str, path: str, characters: int, expected: str) -> tuple[UserId, str, str | None]:
    """(user, what is behind it, None), or ('', '', token) for something sealed."""
    text = text.strip()
    try:
        where = urlsplit(text).path if "://" in text else text
    except ValueError:
        raise ValueError(expected) from None
    if where.startswith("/") or "://" in text:
        before, found, token = where.rpartition(path)
        if not found or before:
            raise ValueError(expected)
    elif "/" in where:
        user, _, rest = where.partition("/")
        if not ID_PATTERN.fullmatch(user):
            raise ValueError(expected)
        return UserId(user), rest, None
    else:
        token = where
    if len(token) != characters or not _BASE64URL.fullmatch(token):
        raise ValueError(expected)
    return UserId(""), "", token
