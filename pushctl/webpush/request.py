"""What a third party asks for: headers and body of one POST to a push URL, as a `Push` (docs/protocol.md, section 2).

Owns: the rules of TTL, Topic, Urgency (RFC 8030, sections 5.2 to 5.4), Prefer, Idempotency-Key and the content types;
who signed is vapid.py's matter, an encrypted body's headers encoding.py's.
Promises: whatever headers and bytes arrive, `parse` returns a Push or raises a Problem, nothing else.
Must not know: whose push URL it is, what is stored, HTTP framing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import Struct

from pushctl.errors import (
    BodyInvalid,
    BodyTooLarge,
    ContentTypeUnsupported,
    EncodingInvalid,
    NotificationInvalid,
    Problem,
    TopicInvalid,
    TtlInvalid,
    TtlMissing,
    UrgencyInvalid,
    VapidInvalid,
)
from pushctl.ids import unb64url
from pushctl.protocol import strict
from pushctl.protocol.frames import URGENCIES, EncryptionHeaders, Notification, Urgency
from pushctl.webpush.encoding import encryption_of
from pushctl.webpush.vapid import Verifier, parameters

Headers = Iterable[tuple[bytes, bytes]]


class Push(Struct, frozen=True, kw_only=True):
    """One message as its sender meant it, checked. `body` is what was sent, byte for byte."""

    body: bytes
    notification: Notification | None
    data: bytes | None
    encoding: str | None
    headers: EncryptionHeaders | None
    ttl_seconds: int
    """How long it may live: already min(TTL, longest lifetime). 0: deliver now or never."""
    topic: str | None
    urgency: Urgency
    idempotency_key: str | None
    receipt: bool = False
    """The sender asks to be told what becomes of it (`Prefer: respond-async`; RFC 8030, section 5.1)."""
    signed_by: str | None = None
    """The VAPID key whose signature was checked, as a push URL's `vapid_key` spells it; None: nothing was signed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a service takes."""

    max_lifetime_seconds: int
    max_body_bytes: int
    vapid: Verifier


class TtlUnreadable(TtlInvalid):
    """Not a number at all: Mozilla counts that as a missing one."""

    errno = 111


_TTL = re.compile(r"[0-9]+")
_LONGEST_TTL_DIGITS: Final = 19
"""A number with more is larger than whatever we count with, and means the maximum (RFC 8030, section 5.2)."""
_NEGATIVE = re.compile(r"-[0-9]+")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")

_JSON: Final = "application/json"
_TEXT: Final = ("text/plain", "application/x-www-form-urlencoded")
_CHARSETS: Final = ("utf-8", "utf8", "us-ascii")

_READ: Final[dict[bytes, type[Problem]]] = {
    b"ttl": TtlInvalid,
    b"topic": TopicInvalid,
    b"urgency": UrgencyInvalid,
    b"idempotency-key": Problem,
    b"content-encoding": EncodingInvalid,
    b"content-type": ContentTypeUnsupported,
    b"authorization": VapidInvalid,
    b"encryption-key": EncodingInvalid,
}
"""The headers that mean something here once, and what a repeated one is answered with."""

_LISTS: Final = frozenset({b"crypto-key", b"encryption", b"prefer"})
"""Those that are lists: repeated ones are one (RFC 9110, section 5.3)."""


class _NotificationBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`Notification` as it is sent: what we do not know is refused, so that a typing error is not lost silently."""

    title: str | None = None
    body: str | None = None
    icon: str | None = None
    url: str | None = None
    tag: str | None = None


_notification_decoder = msgspec.json.Decoder(_NotificationBody)


def parse(headers: Headers, body: bytes, rules: Rules) -> Push:
    """Reads one POST. Header names in any case, values as raw bytes. Raises Problem with the header's or JSON field."""
    given = _collect(headers)
    signed_by = rules.vapid.signed_by(given.get(b"authorization"), given.get(b"crypto-key"))
    if len(body) > rules.max_body_bytes:
        raise BodyTooLarge(f"a message has at most {rules.max_body_bytes} bytes")
    encoding = given.get(b"content-encoding")
    ttl_seconds = _ttl(given.get(b"ttl"), encoded=encoding is not None, maximum=rules.max_lifetime_seconds)
    topic = _topic(given.get(b"topic"))
    urgency = _urgency(given.get(b"urgency"))
    idempotency_key = _idempotency_key(given.get(b"idempotency-key"))
    # Without a body there is nothing that could be encoded: whatever the headers say of it means nothing.
    name, encrypted, notification = None, None, None
    if body and encoding is not None:
        name, encrypted = encryption_of(
            encoding,
            encryption=given.get(b"encryption"),
            crypto_key=given.get(b"crypto-key"),
            encryption_key=given.get(b"encryption-key"),
        )
        _refuse_shared_key(signed_by, body, encrypted)
    elif body:
        notification = _notification(given.get(b"content-type"), body)
    return Push(
        body=body,
        notification=notification,
        data=body if name is not None else None,
        encoding=name,
        headers=encrypted,
        ttl_seconds=ttl_seconds,
        topic=topic,
        urgency=urgency,
        idempotency_key=idempotency_key,
        receipt=ttl_seconds > 0 and "respond-async" in preferences(given.get(b"prefer")),
        signed_by=signed_by,
    )


def _refuse_shared_key(signed_by: str | None, body: bytes, encrypted: EncryptionHeaders | None) -> None:
    """RFC 8292, section 3.2: the key that signs is not the one that encrypts."""
    if signed_by is None:
        return
    if encrypted is None:
        same = body[21:86] == unb64url(signed_by)  # the header in front of the ciphertext (RFC 8188, section 2.1)
    else:
        same = ("dh", signed_by) in parameters(encrypted.crypto_key or "")
    if same:
        raise EncodingInvalid("the message is encrypted with the sender's VAPID key: use another", field="Crypto-Key")


def preferences(prefer: str | None) -> dict[str, str]:
    """Name and value of each preference (RFC 7240, section 2); of one given twice the first counts."""
    found: dict[str, str] = {}
    if prefer is None:
        return found
    for preference in prefer.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip(" \t").lower(), value.strip(' \t"'))
    return found


def _collect(headers: Headers) -> dict[bytes, str]:
    given: dict[bytes, str] = {}
    for raw_name, value in headers:
        name = raw_name.lower()
        if name in _READ:
            if name in given:
                title = _title(name)
                raise _READ[name](f"the header {title} is given more than once", field=title)
            given[name] = value.decode("latin-1").strip(" \t")
        elif name in _LISTS:
            text = value.decode("latin-1").strip(" \t")
            given[name] = f"{given[name]}, {text}" if name in given else text
    return given


def _title(name: bytes) -> str:
    return "TTL" if name == b"ttl" else name.decode().title()


def _ttl(value: str | None, *, encoded: bool, maximum: int) -> int:
    if value is None:
        if encoded:
            raise TtlMissing("say how many seconds the message may wait, in the header TTL", field="TTL")
        return maximum
    if _TTL.fullmatch(value):
        digits = value.lstrip("0") or "0"
        return min(int(digits), maximum) if len(digits) <= _LONGEST_TTL_DIGITS else maximum
    error = TtlInvalid if _NEGATIVE.fullmatch(value) else TtlUnreadable
    raise error("TTL is a number of seconds in decimal digits, 0 or more", field="TTL")


def _topic(value: str | None) -> str | None:
    """Old senders pad it as base64."""
    topic = value and value.rstrip("=")
    if topic is not None and not _TOPIC.fullmatch(topic):
        raise TopicInvalid("Topic has 1 to 32 characters of A-Z a-z 0-9 - _", field="Topic")
    return topic


def _urgency(value: str | None) -> Urgency:
    """RFC 8030 gives the words as ABNF strings, which have no case (RFC 5234, section 2.3)."""
    if value is None:
        return "normal"
    wanted = value.lower()
    for urgency in URGENCIES:
        if urgency == wanted:
            return urgency
    raise UrgencyInvalid(f"Urgency is one of {', '.join(URGENCIES)}", field="Urgency")


def _idempotency_key(value: str | None) -> str | None:
    if value is not None and not _IDEMPOTENCY_KEY.fullmatch(value):
        raise Problem("Idempotency-Key has 1 to 255 visible ASCII characters", field="Idempotency-Key")
    return value


def _notification(content_type: str | None, body: bytes) -> Notification:
    if content_type == _JSON:
        return _json_notification(body)
    kind, _, parameters = (content_type or "").partition(";")
    kind = kind.strip().lower()
    if (kind != _JSON and kind not in _TEXT) or not _is_utf8(parameters):
        raise ContentTypeUnsupported(
            f"send {_JSON}, {' or '.join(_TEXT)}, in UTF-8; anything else needs Content-Encoding", field="Content-Type"
        )
    if kind == _JSON:
        return _json_notification(body)
    try:
        return Notification(body=body.decode("utf-8"))
    except UnicodeDecodeError as mistake:
        raise BodyInvalid(f"the text is not UTF-8: {mistake.reason} at byte {mistake.start}", field="$") from None


def _is_utf8(parameters: str) -> bool:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower() in _CHARSETS
    return True


def _json_notification(body: bytes) -> Notification:
    sent = strict.decode(_notification_decoder, body, NotificationInvalid, unreadable=BodyInvalid)
    if sent.title is None and sent.body is None:
        raise NotificationInvalid("a notification has at least a title or a body", field="$.title")
    return Notification(sent.title, sent.body, sent.icon, sent.url, sent.tag)
