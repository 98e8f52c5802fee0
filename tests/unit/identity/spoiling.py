"""Ways to spoil a bundle, to be combined: a change edits the draft before it is signed, or makes the text itself."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

from pushctl.identity.browserid_make import public_key_json
from pushctl.ids import b64url, unb64url
from tests.unit.identity.bundles import MINUTE, NOW, ORIGIN, Draft, KeyRing

Change = Callable[[Draft], str | None]
"""Spoils a draft; or gives the bundle's text itself."""


def spoiled(ring: KeyRing, *changes: Change) -> str:
    draft = Draft(ring)
    texts = [change(draft) for change in changes]
    return texts[-1] or draft.text()


GONE = object()


def _put(claims: dict[str, Any], name: str, value: object) -> None:
    if value is GONE:
        del claims[name]
    else:
        claims[name] = value


def cert(name: str, value: object) -> Change:
    return lambda draft: _put(draft.certificate, name, value)


def claim(name: str, value: object) -> Change:
    return lambda draft: _put(draft.assertion, name, value)


def cert_header(name: str, value: object) -> Change:
    return lambda draft: _put(draft.certificate_header, name, value)


def header(name: str, value: object) -> Change:
    return lambda draft: _put(draft.assertion_header, name, value)


def email(value: object) -> Change:
    return cert("principal", {"email": value})


def at(domain: str) -> Change:
    """An address of another domain, and its own issuer's name in the certificate."""

    def change(draft: Draft) -> None:
        draft.certificate["principal"] = {"email": f"alice@{domain}"}
        draft.certificate["iss"] = domain

    return change


def respelt(change: Callable[[str], str]) -> Change:
    return lambda draft: draft.respell.append(change)


def key_member(name: str, value: object) -> Change:
    return lambda draft: _put(draft.certificate["public-key"], name, value)


def certified(key: Callable[[KeyRing], dict[str, Any]]) -> Change:
    return lambda draft: _put(draft.certificate, "public-key", key(draft.keys))


def holds(name: str) -> Change:
    return lambda draft: draft.certify(getattr(draft.keys, name))


def signs_certificate(name: str) -> Change:
    return lambda draft: setattr(draft, "certificate_key", getattr(draft.keys, name))


def signs_assertion(name: str) -> Change:
    return lambda draft: setattr(draft, "assertion_key", getattr(draft.keys, name))


def both(*changes: Change) -> Change:
    def change(draft: Draft) -> None:
        for one in changes:
            one(draft)

    return change


def signature_of(bundle: str) -> bytes:
    return unb64url(bundle.rpartition(".")[2])


def with_signature(bundle: str, signature: bytes) -> str:
    return f"{bundle.rpartition('.')[0]}.{b64url(signature)}"


def unsigned(bundle: str) -> str:
    return bundle.rpartition(".")[0] + "."


def _with_certificate(draft: Draft, change: Callable[[], None]) -> str:
    """The certificate's text changed, under the signature of the one before."""
    signature = draft.text().partition("~")[0].rpartition(".")[2]
    change()
    certificate, _, assertion = draft.text().partition("~")
    return f"{certificate.rpartition('.')[0]}.{signature}~{assertion}"


def key_put_in(draft: Draft) -> str:
    """Somebody found a certificate, and puts the own key in."""
    return _with_certificate(draft, lambda: draft.certify(draft.keys.stranger))


def address_put_in(draft: Draft) -> str:
    return _with_certificate(draft, lambda: _put(draft.certificate, "principal", {"email": "bob@idp.example"}))


def swapped(draft: Draft) -> str:
    """Alice's certificate, and an assertion that Bob made with his key, certified by the same issuer."""
    alice = draft.text().partition("~")[0]
    draft.certify(draft.keys.stranger)
    return f"{alice}~{draft.text().partition('~')[2]}"


def hmac_by_public_key(draft: Draft) -> str:
    """The classic confusion: HS256 with the public key, which everybody knows, as the secret."""
    draft.assertion_header["alg"] = "HS256"
    bundle = draft.text()
    secret = json.dumps(public_key_json(draft.keys.user)).encode()
    signing_input = bundle.partition("~")[2].rpartition(".")[0].encode()
    return with_signature(bundle, hashlib.sha256(secret + signing_input).digest())


def stray_bits(bundle: str) -> str:
    """256 bytes end in a character of which four bits are unused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return bundle[:-1] + alphabet[alphabet.index(bundle[-1]) + 1]


def standard_base64(bundle: str) -> str:
    return f"{bundle.rpartition('.')[0]}.{base64.b64encode(bytes([251, 255]) * 128).decode().rstrip('=')}"


def shortened(draft: Draft, key: str, spelled: Callable[[int], str], part: int) -> str:
    """A bundle one of whose signatures begins with a zero byte, which is then dropped as browserid-crypto does."""
    for attempt in range(20_000):
        parts = spelled(attempt).split("~")
        head, _, tail = parts[part].rpartition(".")
        signature = unb64url(tail)
        if signature[0] == 0:
            parts[part] = f"{head}.{b64url(signature.lstrip(bytes(1)))}"
            return "~".join(parts)
    raise AssertionError(f"no signature of {key} began with a zero byte")


def short_certificate_signature(draft: Draft) -> str:
    def spelled(attempt: int) -> str:
        draft.certificate["exp"] = NOW + 60 * MINUTE + attempt
        return draft.text()

    return shortened(draft, "issuer", spelled, 0)


def short_assertion_signature(draft: Draft) -> str:
    def spelled(attempt: int) -> str:
        draft.assertion["exp"] = NOW + MINUTE + attempt
        return draft.text()

    return shortened(draft, "user", spelled, 1)


def jwk(ring: KeyRing) -> dict[str, str]:
    numbers = ring.user.public_key().public_numbers()
    return {"kty": "RSA", "n": b64url(numbers.n.to_bytes(256)), "e": b64url(numbers.e.to_bytes(3))}


def old_style(draft: Draft) -> str:
    certificate, _, assertion = draft.text().partition("~")
    return b64url(json.dumps({"certificates": [certificate], "assertion": assertion}).encode())


def duplicate_member(draft: Draft) -> str:
    return draft.text(assertion=json.dumps(draft.assertion)[:-1] + ', "aud": "https://evil.example"}')


def nested_duplicate_member(draft: Draft) -> str:
    text = json.dumps(draft.certificate).replace('{"email"', '{"email": "bob@idp.example", "email"')
    return draft.text(certificate=text)


def not_a_number(name: str) -> Change:
    return lambda draft: draft.text(assertion=f'{{"exp": {name}, "aud": "{ORIGIN}"}}')


def nested(levels: int) -> Change:
    return lambda draft: draft.text(assertion=f'{{"exp": {NOW}, "aud": "{ORIGIN}", "x": {"[" * levels}{"]" * levels}}}')


def sized(size: int) -> Change:
    """A bundle of exactly `size` bytes, as far as base64 allows: filled up by a claim that means nothing."""

    def change(draft: Draft) -> str:
        draft.assertion["pad"] = ""
        room = size - len(draft.text())
        draft.assertion["pad"] = "x" * (room * 3 // 4)
        bundle = draft.text()
        assert 0 <= size - len(bundle) < 4, "the claim does not fill the bundle"
        return bundle

    return change
