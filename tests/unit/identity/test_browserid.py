"""The check list of BrowserID logins: a row for each check, their order, and whatever else may arrive."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from hypothesis import given
from hypothesis import strategies as st

from pushctl.identity.browserid import LoginRefused, Verified, Verifier
from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.issuers import IssuerKeys
from pushctl.identity.public_keys import parse_public_key
from pushctl.ids import b64url, unb64url
from tests.unit.identity.bundles import DAY, EMAIL, FUZZ, ISSUER, MINUTE, NOW, ORIGIN, SKEW, Draft, KeyRing, signed

Change = Callable[[Draft], str | None]
"""Spoils a draft; or gives the bundle's text itself."""


def issuer_of(*keys: RSAPrivateKey) -> IssuerKeys:
    return IssuerKeys(tuple(parse_public_key(public_key_json(key)) for key in keys))


@pytest.fixture(scope="session")
def issuers(ring: KeyRing) -> dict[str, IssuerKeys]:
    chain = {f"hop{at}.example": IssuerKeys(authority=f"hop{at + 1}.example") for at in range(6)}
    return {
        ISSUER: issuer_of(ring.issuer),
        "rotating.example": issuer_of(ring.stranger, ring.weak, ring.issuer),
        "short.example": issuer_of(ring.short),
        "weak.example": issuer_of(ring.weak),
        "delegating.example": IssuerKeys(authority=ISSUER),
        "lost.example": IssuerKeys(authority="nobody.example"),
        "disabled.example": IssuerKeys(disabled=True),
        "loop.example": IssuerKeys(authority="pool.example"),
        "pool.example": IssuerKeys(authority="loop.example"),
        **chain,
        "hop6.example": issuer_of(ring.issuer),
    }


@pytest.fixture(scope="session")
def verifier(issuers: dict[str, IssuerKeys]) -> Verifier:
    return Verifier(issuers, [ORIGIN, "http://127.0.0.1:8080"])


def code_of(verifier: Verifier, bundle: str) -> str:
    with pytest.raises(LoginRefused) as caught:
        verifier.verify(bundle, NOW)
    return caught.value.code


def spoiled(ring: KeyRing, *changes: Change) -> str:
    draft = Draft(ring)
    texts = [change(draft) for change in changes]
    return texts[-1] or draft.text()


# --- changes ---------------------------------------------------------------------------------------------------------

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
    return with_signature(bundle, b"").rstrip(".") + "." + base64.b64encode(b"\xfb\xff" * 128).decode().rstrip("=")


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


# --- what is valid ---------------------------------------------------------------------------------------------------

VALID: dict[str, Change] = {
    "as it is made": lambda draft: None,
    "a certificate without iat": cert("iat", GONE),
    "an assertion with iat": claim("iat", NOW - 1000),
    "an assertion with another iss, as some user agents wrote it": claim("iss", "127.0.0.1"),
    "claims nobody knows": both(cert("sub", 7), claim("nonce", {"deep": [1.5, None, True]})),
    "an integer of 5000 digits in a claim nobody knows": lambda draft: draft.text(
        assertion=f'{{"exp": {NOW}, "aud": "{ORIGIN}", "x": {"9" * 5000}}}'
    ),
    "typ and kid in a header": both(header("typ", "JWT"), cert_header("kid", "1")),
    "a key in the header, which is not looked at": header("jwk", {"kty": "oct", "k": "AAAA"}),
    "a user key of 2047 bits": holds("short"),
    "an issuer key of 2047 bits": both(at("short.example"), signs_certificate("short")),
    "a user key in JWK form": certified(jwk),
    "a user key whose algorithm says RSA": key_member("algorithm", "RSA"),
    "a certificate signature without its leading zero byte": short_certificate_signature,
    "an assertion signature without its leading zero byte": short_assertion_signature,
    "an issuer with several keys": at("rotating.example"),
    "a domain that delegates": email("alice@delegating.example"),
    "a domain that delegates five times": both(email("alice@hop1.example"), cert("iss", "hop6.example")),
    "a trailing slash in the audience": claim("aud", ORIGIN + "/"),
    "the default port in the audience": claim("aud", ORIGIN + ":443"),
    "upper case in the audience": claim("aud", "HTTPS://Push.Example.NET"),
    "our second audience": claim("aud", "http://127.0.0.1:8080"),
    "an assertion that ended within the skew": claim("exp", NOW - SKEW),
    "an assertion of the near future": claim("iat", NOW + SKEW),
    "an assertion that lives as long as it may": both(
        claim("iat", NOW - MINUTE), claim("exp", NOW + 9 * MINUTE + SKEW)
    ),
    "a certificate that ended within the skew": both(cert("iat", NOW - 2 * MINUTE), cert("exp", NOW - SKEW)),
    "a certificate that lives as long as it may": both(cert("iat", NOW), cert("exp", NOW + DAY + SKEW)),
    "the deepest nesting": nested(31),
    "brackets inside of strings are no nesting": claim("x", '[{"' * 50 + "\\"),
    "the largest bundle": sized(16_384),
    "every character a local part may have": email("Az09_!#$%&'*+/=?^`{|}~.-@idp.example"),
}


@pytest.mark.parametrize("change", VALID.values(), ids=VALID.keys())
def test_a_valid_bundle_logs_in(change: Change, ring: KeyRing, verifier: Verifier) -> None:
    assert isinstance(verifier.verify(spoiled(ring, change), NOW), Verified)


# --- one fault each, in the order of the checks ----------------------------------------------------------------------

FAULTS: list[tuple[str, str, Change]] = [
    # 1: the bundle
    ("assertion_too_large", "a byte too many", sized(16_388)),
    ("assertion_too_large", "few characters of many bytes", respelt(lambda bundle: bundle + "é" * 8000)),
    ("malformed_bundle", "nothing", respelt(lambda bundle: "")),
    ("malformed_bundle", "only a certificate", respelt(lambda bundle: bundle.partition("~")[0])),
    ("malformed_bundle", "an empty assertion", respelt(lambda bundle: bundle.partition("~")[0] + "~")),
    ("malformed_bundle", "an empty certificate", respelt(lambda bundle: "~" + bundle.partition("~")[2])),
    ("malformed_bundle", "an empty part at the end", respelt(lambda bundle: bundle + "~")),
    ("malformed_bundle", "the JSON form of 2011", old_style),
    ("certificate_chain", "a certificate twice", respelt(lambda bundle: bundle.partition("~")[0] + "~" + bundle)),
    # 2: JWS form, algorithm
    ("malformed_jws", "two parts", respelt(lambda bundle: bundle.rpartition(".")[0])),
    ("malformed_jws", "four parts", respelt(lambda bundle: bundle + ".AA")),
    ("malformed_jws", "padding", respelt(lambda bundle: bundle + "==")),
    ("malformed_jws", "a stray bit in the last character", respelt(stray_bits)),
    ("malformed_jws", "the standard alphabet", respelt(standard_base64)),
    ("malformed_jws", "a newline at the end", respelt(lambda bundle: bundle + "\n")),
    ("malformed_jws", "a space within", respelt(lambda bundle: bundle[:-8] + " " + bundle[-8:])),
    ("malformed_jws", "a foreign character that lax decoders skip", respelt(lambda bundle: bundle + "!")),
    ("malformed_jws", "a length that no bytes have", respelt(lambda bundle: bundle + "AAA")),
    ("malformed_jws", "not ASCII", respelt(lambda bundle: bundle + "é")),
    ("malformed_jws", "half a surrogate pair", respelt(lambda bundle: bundle + "\ud800")),
    ("malformed_jws", "a member twice", duplicate_member),
    ("malformed_jws", "a nested member twice", nested_duplicate_member),
    ("malformed_jws", "NaN", not_a_number("NaN")),
    ("malformed_jws", "Infinity", not_a_number("Infinity")),
    ("malformed_jws", "-Infinity", not_a_number("-Infinity")),
    ("malformed_jws", "nesting one too deep", nested(32)),
    ("malformed_jws", "nesting far too deep", nested(5000)),
    ("malformed_jws", "a payload that is no object", lambda draft: draft.text(assertion="[]")),
    ("malformed_jws", "a payload that is not JSON", lambda draft: draft.text(assertion="exp")),
    ("malformed_jws", "an empty payload", lambda draft: draft.text(assertion="")),
    ("malformed_jws", "a payload in UTF-16", lambda draft: draft.text(assertion=json.dumps({}).encode("utf-16"))),
    ("malformed_jws", "a payload that is not UTF-8", lambda draft: draft.text(assertion=b'{"x": "\xff"}')),
    ("malformed_jws", "a byte order mark", lambda draft: draft.text(assertion=b"\xef\xbb\xbf{}")),
    ("malformed_jws", "a header that is no object", lambda draft: draft.text(certificate_header='"RS256"')),
    ("malformed_jws", "no alg", header("alg", GONE)),
    ("malformed_jws", "alg is no string", cert_header("alg", 256)),
    ("malformed_jws", "alg is null", header("alg", None)),
    ("malformed_jws", "crit in the assertion", header("crit", ["exp"])),
    ("malformed_jws", "crit in the certificate", cert_header("crit", [])),
    ("unsupported_algorithm", "none", both(header("alg", "none"), respelt(unsigned))),
    ("unsupported_algorithm", "none in the certificate", cert_header("alg", "none")),
    ("unsupported_algorithm", "HS256 with the public key as the secret", hmac_by_public_key),
    ("unsupported_algorithm", "lower case", header("alg", "rs256")),
    ("unsupported_algorithm", "the family only", header("alg", "RS")),
    ("unsupported_algorithm", "an empty name", header("alg", "")),
    ("unsupported_algorithm", "RS128", both(header("alg", "RS128"), holds("weak"))),
    ("unsupported_algorithm", "DS128", cert_header("alg", "DS128")),
    # 3: types
    ("invalid_claim", "iss missing", cert("iss", GONE)),
    ("invalid_claim", "iss is a list", cert("iss", [ISSUER])),
    ("invalid_claim", "public-key missing", cert("public-key", GONE)),
    ("invalid_claim", "public-key is a string", cert("public-key", "RS")),
    ("invalid_claim", "public-key under another name", both(cert("public-key", GONE), cert("publicKey", {}))),
    ("invalid_claim", "aud missing", claim("aud", GONE)),
    ("invalid_claim", "aud is a list", claim("aud", [ORIGIN])),
    ("invalid_claim", "exp missing in the assertion", claim("exp", GONE)),
    ("invalid_claim", "exp missing in the certificate", cert("exp", GONE)),
    ("invalid_claim", "exp is null", claim("exp", None)),
    ("invalid_claim", "exp is true", claim("exp", True)),
    ("invalid_claim", "exp is a float", claim("exp", float(NOW + MINUTE))),
    ("invalid_claim", "exp is a string", claim("exp", str(NOW + MINUTE))),
    ("invalid_claim", "exp is a word", claim("exp", "never")),
    ("invalid_claim", "exp overflows a float", not_a_number("1e999")),
    ("invalid_claim", "exp has 5000 digits", not_a_number("9" * 5000)),
    ("invalid_claim", "exp above 2**53", claim("exp", 2**53)),
    ("invalid_claim", "exp is a float in the certificate", cert("exp", float(NOW + MINUTE))),
    ("invalid_claim", "iat is null", claim("iat", None)),
    ("invalid_claim", "iat is false", cert("iat", False)),
    ("invalid_claim", "iat is a string", cert("iat", str(NOW))),
    # 4: audience
    *[
        ("invalid_audience", f"aud {aud!r}", claim("aud", aud))
        for aud in (
            "",
            "push.example.net",
            "//push.example.net",
            "https://",
            "https:push.example.net",
            "wss://push.example.net",
            "javascript://push.example.net",
            ORIGIN + "/other-app",
            ORIGIN + "//",
            ORIGIN + "?",
            ORIGIN + "#",
            ORIGIN + "\n",
            "\n" + ORIGIN,
            ORIGIN + "\x00",
            ORIGIN + " ",
            ORIGIN + ":",
            ORIGIN + ":0443",
            ORIGIN + ":65536",
            ORIGIN + ":４４３",
            "https://evil.example@push.example.net",
            "https://push.example.net@evil.example",
            "https://push.example.net\\@evil.example",
            "https://push.example.net\\.evil.example",
            "https://püsh.example.net",
            "https://push.example.net,https://evil.example",
            "https://*",
        )
    ],
    *[
        ("audience_mismatch", f"aud {aud!r}", claim("aud", aud))
        for aud in (
            "https://evil.example",
            "http://push.example.net",
            "https://push.example.net.",
            "https://sub.push.example.net",
            "https://push.example.net.evil.example",
            ORIGIN + ":80",
            ORIGIN + ":8443",
            "http://push.example.net:443",
            "http://127.0.0.1",
            "http://[::1]:8080",
        )
    ],
    # 5: times
    ("assertion_expired", "a millisecond too late", claim("exp", NOW - SKEW - 1)),
    ("assertion_expired", "seconds, not milliseconds", claim("exp", (NOW + MINUTE) // 1000)),
    ("assertion_expired", "zero", claim("exp", 0)),
    ("assertion_expired", "before 1970", claim("exp", -1)),
    ("assertion_not_yet_valid", "from the future", claim("iat", NOW + SKEW + 1)),
    ("invalid_claim", "an assertion over before it began", both(claim("iat", NOW + 10), claim("exp", NOW + 9))),
    ("assertion_lifetime", "without iat", claim("exp", NOW + 10 * MINUTE + SKEW + 1)),
    ("assertion_lifetime", "from iat", both(claim("iat", NOW - MINUTE), claim("exp", NOW + 9 * MINUTE + SKEW + 1))),
    ("assertion_lifetime", "from now", both(claim("iat", NOW + SKEW), claim("exp", NOW + 10 * MINUTE + SKEW + 1))),
    ("assertion_lifetime", "iat of 1970", claim("iat", 0)),
    ("assertion_lifetime", "the year 2099", claim("exp", 4_070_908_800_000)),
    ("certificate_expired", "a millisecond too late", cert("exp", NOW - SKEW - 1)),
    ("certificate_expired", "seconds, not milliseconds", cert("exp", (NOW + MINUTE) // 1000)),
    ("certificate_not_yet_valid", "from the future", cert("iat", NOW + SKEW + 1)),
    ("invalid_claim", "a certificate over before it began", both(cert("iat", NOW + 10), cert("exp", NOW + 9))),
    ("certificate_lifetime", "without iat", both(cert("iat", GONE), cert("exp", NOW + DAY + SKEW + 1))),
    ("certificate_lifetime", "from iat", both(cert("iat", NOW - DAY), cert("exp", NOW + SKEW + 1))),
    ("certificate_lifetime", "from now", both(cert("iat", NOW + SKEW), cert("exp", NOW + DAY + SKEW + 1))),
    # 6: the address
    ("missing_principal", "no principal", cert("principal", GONE)),
    ("missing_principal", "only sub", both(cert("principal", GONE), cert("sub", EMAIL))),
    ("missing_principal", "a host", cert("principal", {"host": ISSUER})),
    ("missing_principal", "an unverified address", cert("principal", {"unverified-email": EMAIL})),
    ("missing_principal", "principal is the address", cert("principal", EMAIL)),
    ("missing_principal", "several addresses", email([EMAIL])),
    *[
        ("invalid_principal", f"email {address!r}", email(address))
        for address in (
            "",
            "alice",
            "@idp.example",
            "alice@",
            "alice\n@idp.example",
            "al ice@idp.example",
            "alice,bob@idp.example",
            "alice@idp.example\n",
            "\nalice@idp.example",
            "alice@idp.example ",
            "älice@idp.example",
            "alice@idp.exämple",
            "ａlice@idp.example",
            "alice@IDP.example",
            "alice@x@idp.example",
            '"alice"@idp.example',
            "alice@(nosupport).example",
            "alice@localhost",
            "alice@idp.example.",
            "alice@.idp.example",
            "alice@-idp.example",
            "alice@idp-.example",
            "alice@idp.example:8080",
            "alice@127.0.0.1",
            "alice@[::1]",
            "alice@idp.123",
            "a" * 243 + "@idp.example",
            f"alice@{'a' * 64}.example",
            "\ud800@idp.example",
        )
    ],
    # 7: the certified key
    ("invalid_key", "no members", cert("public-key", {})),
    ("invalid_key", "n missing", key_member("n", GONE)),
    ("invalid_key", "n of 2046 bits", key_member("n", str(2**2045 + 1))),
    ("invalid_key", "n of 2049 bits", key_member("n", str(2**2048 + 1))),
    ("invalid_key", "n even", key_member("n", str(2**2047))),
    ("invalid_key", "e of 1", key_member("e", "1")),
    ("invalid_key", "an unknown family", key_member("algorithm", "EC")),
    # 7: its algorithm
    ("unsupported_algorithm", "an RSA-1024 key under RS256", holds("weak")),
    # 8: the authority
    ("no_browserid_support", "an unknown domain", at("nobody.example")),
    ("no_browserid_support", "a domain that wants no part in this", at("disabled.example")),
    ("no_browserid_support", "delegation to an unknown domain", at("lost.example")),
    ("no_browserid_support", "a subdomain of one that is known", at("sub.idp.example")),
    ("delegation_loop", "two domains that point at each other", at("loop.example")),
    ("delegation_too_deep", "six hops", at("hop0.example")),
    ("untrusted_issuer", "another known issuer", cert("iss", "rotating.example")),
    ("untrusted_issuer", "an unknown issuer", cert("iss", "evil.example")),
    ("untrusted_issuer", "upper case", cert("iss", "IDP.example")),
    ("untrusted_issuer", "a URL", cert("iss", "https://idp.example")),
    ("untrusted_issuer", "a domain that delegates speaks for itself", at("delegating.example")),
    ("unsupported_algorithm", "an issuer with a weak key only", at("weak.example")),
    # 9: signatures
    ("invalid_certificate_signature", "signed by a stranger", signs_certificate("stranger")),
    ("invalid_certificate_signature", "signed by its own user", signs_certificate("user")),
    ("invalid_assertion_signature", "signed by a stranger", signs_assertion("stranger")),
    ("invalid_assertion_signature", "signed by the issuer", signs_assertion("issuer")),
    ("invalid_assertion_signature", "no signature", respelt(unsigned)),
    (
        "invalid_assertion_signature",
        "an extra leading zero byte",
        respelt(lambda bundle: with_signature(bundle, b"\0" + signature_of(bundle))),
    ),
    (
        "invalid_assertion_signature",
        "without the byte that is not zero",
        respelt(lambda bundle: with_signature(bundle, signature_of(bundle).lstrip(b"\0")[1:])),
    ),
    (
        "invalid_assertion_signature",
        "the signature of the certificate",
        respelt(lambda bundle: with_signature(bundle, signature_of(bundle.partition("~")[0]))),
    ),
]


@pytest.mark.parametrize(
    ("code", "change"), [(code, change) for code, _, change in FAULTS], ids=[f"{row[0]}: {row[1]!a}" for row in FAULTS]
)
def test_a_bundle_with_one_fault_is_refused_with_the_word_of_that_check(
    code: str, change: Change, ring: KeyRing, verifier: Verifier
) -> None:
    assert code_of(verifier, spoiled(ring, change)) == code


def test_a_signature_plus_the_modulus_is_not_another_spelling_of_it(ring: KeyRing, verifier: Verifier) -> None:
    draft = Draft(ring)
    draft.certify(ring.short)  # so that the sum still fits into 256 bytes
    bundle = draft.text()
    total = int.from_bytes(signature_of(bundle)) + ring.short.public_key().public_numbers().n

    assert code_of(verifier, with_signature(bundle, total.to_bytes(256))) == "invalid_assertion_signature"


def test_a_key_and_a_header_of_two_allowed_algorithms_do_not_fit(ring: KeyRing, issuers: dict[str, IssuerKeys]) -> None:
    wider = Verifier(issuers, [ORIGIN], algorithms={"RS256", "DS256"})

    assert code_of(wider, spoiled(ring, header("alg", "DS256"))) == "algorithm_mismatch"
    assert code_of(wider, spoiled(ring, cert_header("alg", "DS256"))) == "algorithm_mismatch"


# --- the order -------------------------------------------------------------------------------------------------------

IN_ORDER: list[tuple[str, Change]] = [
    ("assertion_too_large", respelt(lambda bundle: bundle + "A" * 20_000)),
    ("malformed_bundle", respelt(lambda bundle: bundle.partition("~")[0] + "~~")),
    ("certificate_chain", respelt(lambda bundle: bundle.partition("~")[0] + "~" + bundle)),
    ("malformed_jws", header("crit", [])),
    ("unsupported_algorithm", cert_header("alg", "HS256")),
    ("unsupported_algorithm", header("alg", "none")),
    ("invalid_claim", cert("iss", 7)),
    ("invalid_claim", claim("iat", 0.5)),
    ("invalid_audience", claim("aud", "nowhere")),
    ("audience_mismatch", claim("aud", "https://evil.example")),
    ("assertion_expired", claim("exp", NOW - SKEW - 1)),
    ("assertion_not_yet_valid", claim("iat", NOW + SKEW + 1)),
    ("invalid_claim", both(claim("iat", NOW + 20), claim("exp", NOW + 10))),
    ("assertion_lifetime", claim("exp", NOW + DAY)),
    ("certificate_expired", cert("exp", NOW - SKEW - 1)),
    ("certificate_not_yet_valid", cert("iat", NOW + SKEW + 1)),
    ("invalid_claim", both(cert("iat", NOW + 20), cert("exp", NOW + 10))),
    ("certificate_lifetime", cert("exp", NOW + 2 * DAY)),
    ("missing_principal", cert("principal", {})),
    ("invalid_principal", email("alice@localhost")),
    ("invalid_key", cert("public-key", {"algorithm": "RS"})),
    ("unsupported_algorithm", certified(lambda ring: public_key_json(ring.weak))),
    ("no_browserid_support", at("nobody.example")),
    ("delegation_loop", at("loop.example")),
    ("delegation_too_deep", at("hop0.example")),
    ("untrusted_issuer", cert("iss", "evil.example")),
    ("unsupported_algorithm", at("weak.example")),
    ("invalid_certificate_signature", signs_certificate("stranger")),
    ("invalid_assertion_signature", signs_assertion("stranger")),
]


@pytest.mark.parametrize("first", range(len(IN_ORDER)), ids=[f"{at}-{row[0]}" for at, row in enumerate(IN_ORDER)])
def test_a_bundle_with_two_faults_gets_the_word_of_the_earlier_check(
    first: int, ring: KeyRing, verifier: Verifier
) -> None:
    code, earlier = IN_ORDER[first]
    # The earlier fault is made last: where both change one member, it is the one that stays.
    answers = {code_of(verifier, spoiled(ring, later, earlier)) for _, later in IN_ORDER[first + 1 :]}

    assert answers <= {code}


# --- what is left of a valid bundle ----------------------------------------------------------------------------------


def test_what_leaves_the_verifier_is_address_issuer_audience_end_and_digest(ring: KeyRing, verifier: Verifier) -> None:
    draft = Draft(ring)
    draft.assertion["aud"] = ORIGIN.upper() + ":443/"
    bundle = draft.text()
    inputs = "~".join(part.rpartition(".")[0] for part in bundle.split("~"))

    assert verifier.verify(bundle, NOW) == Verified(
        email=EMAIL,
        issuer=ISSUER,
        audience=ORIGIN,
        expires_at_ms=NOW + 2 * MINUTE,
        replay_digest=b64url(hashlib.sha256(inputs.encode()).digest()),
    )


def test_a_login_ends_with_its_certificate_if_that_ends_first(ring: KeyRing, verifier: Verifier) -> None:
    bundle = spoiled(ring, cert("exp", NOW + MINUTE))

    assert verifier.verify(bundle, NOW).expires_at_ms == NOW + MINUTE


def test_another_spelling_of_a_signature_has_the_same_replay_digest(ring: KeyRing, verifier: Verifier) -> None:
    short = short_assertion_signature(Draft(ring))
    padded = with_signature(short, signature_of(short).rjust(256, b"\0"))

    assert short != padded
    assert verifier.verify(short, NOW).replay_digest == verifier.verify(padded, NOW).replay_digest


def test_two_assertions_by_one_certificate_have_two_replay_digests(ring: KeyRing, verifier: Verifier) -> None:
    draft = Draft(ring)
    first = draft.text()
    draft.assertion["exp"] += 1

    assert verifier.verify(first, NOW).replay_digest != verifier.verify(draft.text(), NOW).replay_digest


def test_an_audience_of_ours_that_is_no_origin_is_a_mistake_at_start() -> None:
    with pytest.raises(ValueError, match="origin"):
        Verifier({}, ["https://push.example.net/app"])


# --- whatever arrives ------------------------------------------------------------------------------------------------


def test_a_change_of_any_one_character_of_a_valid_bundle_is_refused(ring: KeyRing, verifier: Verifier) -> None:
    bundle = spoiled(ring, lambda draft: None)
    for place, character in enumerate(bundle):
        other = "B" if character == "A" else "A"
        assert code_of(verifier, bundle[:place] + other + bundle[place + 1 :])


@FUZZ
@given(data=st.data())
def test_any_edit_of_a_valid_bundle_is_refused(data: st.DataObject, ring: KeyRing, verifier: Verifier) -> None:
    bundle = spoiled(ring, lambda draft: None)
    start = data.draw(st.integers(0, len(bundle)))
    end = data.draw(st.integers(start, min(len(bundle), start + 3)))
    edited = bundle[:start] + data.draw(st.text(max_size=3)) + bundle[end:]

    if edited != bundle:
        assert code_of(verifier, edited)


@FUZZ
@given(text=st.text() | st.text("AZaz09-_.~="))
def test_any_text_is_refused(text: str, verifier: Verifier) -> None:
    assert code_of(verifier, text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@FUZZ
@given(name=st.sampled_from(["iss", "iat", "exp", "public-key", "principal", "aud"]), value=JSON_VALUES)
def test_any_json_in_a_claim_that_is_properly_signed_ends_in_a_login_or_a_refusal(
    name: str, value: object, ring: KeyRing, verifier: Verifier
) -> None:
    for change in (cert(name, value), claim(name, value)):
        try:
            verified = verifier.verify(spoiled(ring, change), NOW)
        except LoginRefused:
            continue
        assert verified.email == EMAIL


@FUZZ
@given(member=st.sampled_from(["algorithm", "kty", "n", "e", "y", "p", "q", "g"]), value=JSON_VALUES)
def test_any_json_in_a_certified_key_ends_in_a_login_or_a_refusal(
    member: str, value: object, ring: KeyRing, verifier: Verifier
) -> None:
    try:
        verified = verifier.verify(spoiled(ring, key_member(member, value)), NOW)
    except LoginRefused:
        return
    assert verified.email == EMAIL


@FUZZ
@given(header_text=st.binary(max_size=40), payload=st.binary(max_size=40))
def test_any_bytes_properly_signed_are_refused(
    header_text: bytes, payload: bytes, ring: KeyRing, verifier: Verifier
) -> None:
    assertion = signed(ring.user, header_text, payload)

    assert code_of(verifier, f"{Draft(ring).text().partition('~')[0]}~{assertion}")
