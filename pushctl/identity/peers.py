"""How roles of one installation know each other on the internal network: requests signed with what only they share.

Owns: the signature's form. `<key id>.<moment>.<nonce>.<HMAC-SHA256 of purpose, moment, nonce and body>`, under a key
derived (HKDF) from each sealing key of the keys file: the one that seals signs, all are known, so one rotation serves
both.
Promises: a signature is good for one audience (`purpose` names it), one body, one time, within FRESH_MS. Time is the
verifier's own clock, which it tells to whoever asks: no clocks of two machines are compared.
Must not know: HTTP, sockets, what is signed.
"""

import hmac
from collections import deque
from collections.abc import Callable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pushctl.errors import Unauthenticated
from pushctl.identity.keys import Keys
from pushctl.ids import ID_PATTERN, b64url, new_id

FRESH_MS = 10_000
"""A signature that is older, or from further in the future, is refused; nonces are remembered for as long."""


class Stale(Unauthenticated):
    """The signature may be good, but its moment is not: sign again by the clock that comes with the answer."""


class PeerKeys:
    """What signs, and what is known."""

    def __init__(self, keys: Keys) -> None:
        """The first key that the file says seals signs, until `sign_with` says otherwise."""
        self._signs = next((key.id for key in keys.sealing_keys if key.state != "opens"), keys.sealing_keys[0].id)
        self.use(keys)

    def use(self, keys: Keys) -> None:
        """The keys are these from now on."""
        self._keys = {key.id: _derive(key.secret) for key in keys.sealing_keys}
        if self._signs not in self._keys:
            self._signs = keys.sealing_keys[0].id

    def sign_with(self, key_id: str) -> None:
        self._signs = key_id

    def sign(self, purpose: str, moment_ms: int, body: bytes) -> str:
        """The signature. `moment_ms`: by the clock of whoever will verify it."""
        nonce = new_id()
        return f"{self._signs}.{moment_ms}.{nonce}.{self._mac(self._signs, purpose, moment_ms, nonce, body)}"

    def mac_is(self, mac: str, key_id: str, purpose: str, moment_ms: int, nonce: str, body: bytes) -> bool:
        """Whether the key of this id, if there is one, made that MAC."""
        if key_id not in self._keys:
            return False
        return hmac.compare_digest(mac, self._mac(key_id, purpose, moment_ms, nonce, body))

    def _mac(self, key_id: str, purpose: str, moment_ms: int, nonce: str, body: bytes) -> str:
        signed = b"\n".join((purpose.encode(), str(moment_ms).encode(), nonce.encode(), body))
        return b64url(hmac.digest(self._keys[key_id], signed, "sha256"))


class Gate:
    """Lets in what a role of this installation signed for this audience, just now and for the first time."""

    def __init__(self, keys: PeerKeys, purpose: str, now_ms: Callable[[], int]) -> None:
        self._keys = keys
        self._purpose = purpose
        self.now_ms = now_ms
        self._seen: set[str] = set()
        self._order: deque[tuple[int, str]] = deque()
        """Nonces by when they were used: only of good signatures, so nobody else can fill this."""

    def check(self, signature: str, body: bytes) -> None:
        """Raises Stale for another moment, Unauthenticated for everything else that is wrong."""
        parts = signature.split(".")
        if len(parts) != 4 or not signature.isascii() or not parts[1].isdigit() or len(parts[1]) > 16:
            raise Unauthenticated("expected a signature: <key id>.<moment>.<nonce>.<mac>", field="Authorization")
        key_id, moment, nonce, mac = parts
        if ID_PATTERN.fullmatch(nonce) is None:
            # With a line break in it, it could stand for a part of the body as well.
            raise Unauthenticated("expected a nonce of A-Z a-z 0-9 _ -", field="Authorization")
        now_ms = self.now_ms()
        if abs(now_ms - int(moment)) > FRESH_MS:
            raise Stale("signed for another moment", field="Authorization")
        if not self._keys.mac_is(mac, key_id, self._purpose, int(moment), nonce, body):
            raise Unauthenticated("no role of this installation signed this", field="Authorization")
        self._use(nonce, now_ms)

    def _use(self, nonce: str, now_ms: int) -> None:
        # A moment from the future stays fresh for twice as long as one of now.
        while self._order and self._order[0][0] < now_ms - 2 * FRESH_MS:
            self._seen.discard(self._order.popleft()[1])
        if nonce in self._seen:
            raise Unauthenticated("this was sent before", field="Authorization")
        self._seen.add(nonce)
        self._order.append((now_ms, nonce))


def _derive(secret: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"pushctl peers v1").derive(secret)
