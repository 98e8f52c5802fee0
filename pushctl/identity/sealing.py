"""What leaves the service without telling anything: push URL tokens, message and receipt ids, session tokens.

Owns: the form of sealed texts. `base64url(key id (3 bytes) || SIV (16) || ciphertext)`, AES-256-SIV (RFC 5297) with the
purpose as associated data, under a key per purpose (HKDF of the sealing key): no table is needed to read them, nobody
can make one or tell two apart, and a token of one purpose never opens as another. SIV is deterministic: one thing
sealed with its recorded key has one text for life.
Promises: opening any text ends in a value or in the documented errors. `seal(open(text)) == text`.
Must not know: whether the thing still exists. An unknown key id is "cannot say" (503), never "unknown" (404): another
role may seal with a key that this one has not been given yet.
"""

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pushctl.errors import NotFound, PushUrlUnknown, StoreUnavailable
from pushctl.identity.key import KEY_ID_BYTES, Key
from pushctl.identity.keys import Keys
from pushctl.ids import MessageRef, PushUrlId, SessionHash, UserId, b64url, unb64url

_USER_BYTES = 16
_PUSH_URL_BYTES = 9
_NUMBER_BYTES = 4
_SEQ_BYTES = 6
_TAG_BYTES = 8
_MOMENT_BYTES = 6


@dataclass(frozen=True, slots=True)
class PushAddress:
    """What a push URL's token says. `push_url`: 12 characters; `number`: it is the user's number-th (below 2**32)."""

    user: UserId
    push_url: PushUrlId
    number: int


class _Purpose:
    """Seals and opens fixed-size contents under every key of the file, for one purpose."""

    def __init__(self, name: bytes, size: int, keys: tuple[Key, ...]) -> None:
        self._data = [name]
        self._length = KEY_ID_BYTES + 16 + size
        self._ciphers = {key.id: AESSIV(_derive(name, key.secret)) for key in keys}

    def seal(self, key_id: str, content: bytes) -> str:
        return b64url(unb64url(key_id) + self._cipher(key_id).encrypt(content, self._data))

    def open(self, text: str) -> tuple[str, bytes] | None:
        """(key id, content); None if the key that it names did not seal it for this purpose."""
        try:
            raw = unb64url(text)
        except ValueError:
            return None
        if len(raw) != self._length:
            return None
        key_id = b64url(raw[:KEY_ID_BYTES])
        try:
            return key_id, self._cipher(key_id).decrypt(raw[KEY_ID_BYTES:], self._data)
        except InvalidTag:
            return None

    def _cipher(self, key_id: str) -> AESSIV:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise StoreUnavailable("the key this was sealed with is not known here; try again later")
        return cipher


def _derive(name: bytes, secret: bytes) -> bytes:
    return HKDF(SHA256(), length=64, salt=None, info=b"pushctl sealing v1 " + name).derive(secret)


class Sealer:
    """Seals with the key that the thing recorded, opens with any key of the file."""

    def __init__(self, keys: Keys) -> None:
        """What is new is sealed with the first key that the file says seals, until `seal_with` says otherwise."""
        self._key_id: str | None = next((key.id for key in keys.sealing_keys if key.state != "opens"), None)
        self.use(keys)

    def use(self, keys: Keys) -> None:
        """The keys are these from now on."""
        self._push_urls = _Purpose(b"push-url", _USER_BYTES + _PUSH_URL_BYTES + _NUMBER_BYTES, keys.sealing_keys)
        self._receipts = _Purpose(
            b"receipt",
            _USER_BYTES + _PUSH_URL_BYTES + _SEQ_BYTES + _TAG_BYTES + _MOMENT_BYTES,
            keys.sealing_keys,
        )
        self._messages = _Purpose(b"message", _USER_BYTES + _SEQ_BYTES + _TAG_BYTES + _MOMENT_BYTES, keys.sealing_keys)

    def seal_with(self, key_id: str | None) -> None:
        """The key for what is new; None: nothing may be sealed anew for now."""
        self._key_id = key_id

    @property
    def key_id(self) -> str:
        """Of the key that seals what is new; to be recorded with it. StoreUnavailable: it is not known which may."""
        if self._key_id is None:
            raise StoreUnavailable("it is not known yet which key every role has; try again later")
        return self._key_id

    def seal_push_url(self, address: PushAddress, key_id: str) -> str:
        """The token of a push URL (64 characters), the same one each time. StoreUnavailable: key not in the file."""
        content = _fixed(address.user, _USER_BYTES) + _fixed(address.push_url, _PUSH_URL_BYTES)
        return self._push_urls.seal(key_id, content + address.number.to_bytes(_NUMBER_BYTES))

    def open_push_url(self, token: str) -> PushAddress:
        """Raises PushUrlUnknown for what was never sealed, StoreUnavailable for a key that is not in the file."""
        opened = self._push_urls.open(token)
        if opened is None:
            raise PushUrlUnknown("this push URL was never handed out here")
        content, behind = opened[1], _USER_BYTES + _PUSH_URL_BYTES
        return PushAddress(
            UserId(b64url(content[:_USER_BYTES])),
            PushUrlId(b64url(content[_USER_BYTES:behind])),
            int.from_bytes(content[behind:]),
        )

    def seal_message_id(self, user: UserId, ref: MessageRef) -> str:
        """The id of a message (74 characters), by `ref.key_id`. `ref.seq` and `ref.expires_at_ms` are below 2**48."""
        return self._messages.seal(ref.key_id, _fixed(user, _USER_BYTES) + _ref_bytes(ref))

    def open_message_id(self, text: str) -> tuple[UserId, MessageRef]:
        """Raises NotFound for what was never sealed, StoreUnavailable for a key that is not in the file."""
        opened = self._messages.open(text)
        if opened is None:
            raise NotFound("no such message")
        key_id, content = opened
        return UserId(b64url(content[:_USER_BYTES])), _ref(key_id, content[_USER_BYTES:])

    def seal_receipt(self, user: UserId, push_url: PushUrlId, ref: MessageRef) -> str:
        """The id of a message's receipt (86 characters), by `ref.key_id`. Its text has no link to the message's id."""
        content = _fixed(user, _USER_BYTES) + _fixed(push_url, _PUSH_URL_BYTES) + _ref_bytes(ref)
        return self._receipts.seal(ref.key_id, content)

    def open_receipt(self, text: str) -> tuple[UserId, PushUrlId, MessageRef]:
        """Raises NotFound for what was never sealed, StoreUnavailable for a key that is not in the file."""
        opened = self._receipts.open(text)
        if opened is None:
            raise NotFound("no such receipt")
        key_id, content = opened
        user, push_url = _split(content, _USER_BYTES, _PUSH_URL_BYTES)
        return (
            UserId(b64url(user)),
            PushUrlId(b64url(push_url)),
            _ref(key_id, content[_USER_BYTES + _PUSH_URL_BYTES :]),
        )


def _ref_bytes(ref: MessageRef) -> bytes:
    return ref.seq.to_bytes(_SEQ_BYTES) + ref.tag.to_bytes(_TAG_BYTES) + ref.expires_at_ms.to_bytes(_MOMENT_BYTES)


def _ref(key_id: str, content: bytes) -> MessageRef:
    seq, tag, expires_at_ms = (int.from_bytes(part) for part in _split(content, _SEQ_BYTES, _TAG_BYTES, _MOMENT_BYTES))
    return MessageRef(seq, tag, key_id, expires_at_ms)


def _fixed(text: str, size: int) -> bytes:
    raw = unb64url(text)
    if len(raw) != size:
        raise ValueError(f"an id of {size} bytes was expected")
    return raw


def _split(content: bytes, *sizes: int) -> list[bytes]:
    parts, at = [], 0
    for size in sizes:
        parts.append(content[at : at + size])
        at += size
    return parts


def new_session_token() -> str:
    """32 random bytes, 43 base64url characters. Known to its device only."""
    return b64url(secrets.token_bytes(32))


def hash_session_token(token: str) -> SessionHash:
    """What the registry keeps in a session token's place: SHA-256, base64url. Any text has one."""
    return SessionHash(b64url(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()))
