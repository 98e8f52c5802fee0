"""Who signed a push: every spelling, every check with what failed, and the memory of what was verified."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pushctl.clock import rfc3339
from pushctl.errors import ConfigError, Failed, VapidInvalid
from pushctl.ids import b64url, unb64url
from pushctl.webpush import vapid
from pushctl.webpush.signing import VapidKey
from pushctl.webpush.vapid import Verifier

ORIGIN = "https://push.example"
NOW_MS = 1_900_000_000_000
NOW = NOW_MS // 1000
KEY = VapidKey(ec.derive_private_key(1 << 200, ec.SECP256R1()))
OTHER = VapidKey(ec.derive_private_key(1 << 201, ec.SECP256R1()))
CLAIMS: dict[str, object] = {"aud": ORIGIN, "exp": NOW + 3600, "sub": "mailto:ops@news.example"}


@dataclass
class Hands:
    """A clock that is set."""

    now_ms: int = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


def verifier(origin: str = ORIGIN, clock: Hands | None = None) -> Verifier:
    return Verifier(origin, clock or Hands())


def signed_by(authorization: str | None, crypto_key: str | None = None) -> str | None:
    return verifier().signed_by(authorization, crypto_key)


def header(**changed: object) -> str:
    claims = {name: value for name, value in (CLAIMS | changed).items() if value is not None}
    return f"vapid t={KEY.token(claims)}, k={KEY.public}"


def refusal(authorization: str, crypto_key: str | None = None) -> VapidInvalid:
    with pytest.raises(VapidInvalid) as caught:
        signed_by(authorization, crypto_key)
    assert (caught.value.status, caught.value.errno, caught.value.field) == (401, 109, "Authorization")
    return caught.value


def number(_: object) -> str:
    """The id of a parameter that is another each time."""
    return "n"


def padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


# --- spellings -------------------------------------------------------------------------------------------------------


def test_without_authorization_nobody_signed() -> None:
    assert signed_by(None) is None
    assert signed_by(None, f"p256ecdsa={KEY.public}") is None


TOKEN = KEY.token(CLAIMS)
PLAIN_BASE64 = padded(KEY.public).replace("-", "+").replace("_", "/")


@pytest.mark.parametrize(
    ("authorization", "crypto_key"),
    [
        (f"vapid t={TOKEN}, k={KEY.public}", None),
        (f"vapid k={KEY.public},t={TOKEN}", None),
        (f"VAPID  t={TOKEN} ,\tk={KEY.public}", None),
        (f'vapid t="{TOKEN}", k="{KEY.public}", x=y', None),
        (f"vapid T = {TOKEN}, K = {padded(KEY.public)}", None),
        (f"vapid t={TOKEN}, k={PLAIN_BASE64}", None),
        (f"vapid t={TOKEN}, k={KEY.public}", f"p256ecdsa={OTHER.public}"),
        (f"WebPush {TOKEN}", f"p256ecdsa={KEY.public}"),
        (f"webpush {TOKEN}", f"dh={OTHER.public};p256ecdsa={KEY.public}"),
        (f"Bearer {TOKEN}", f"dh={OTHER.public}, p256ecdsa={padded(KEY.public)}"),
        (f"bearer {TOKEN}", f'keyid="a"; dh="{OTHER.public}", P256ECDSA="{KEY.public}"'),
    ],
    ids=number,
)
def test_every_spelling_of_a_signature_names_the_same_key(authorization: str, crypto_key: str | None) -> None:
    assert signed_by(authorization, crypto_key) == KEY.public


@pytest.mark.parametrize(
    ("authorization", "crypto_key"),
    [
        ("", None),
        ("vapid", None),
        (f"vapid {TOKEN}", None),
        (f"vapid t={TOKEN}", None),
        (f"vapid k={KEY.public}", None),
        (f"vapid t={TOKEN}, k=", None),
        (f"vapid t={TOKEN}, t={TOKEN}, k={KEY.public}", None),
        (f"Basic {TOKEN}", None),
        (f"WebPush {TOKEN}", None),
        (f"WebPush {TOKEN}", f"dh={KEY.public}"),
        ("Bearer a-session-token", None),
        ("Bearer a-session-token", f"p256ecdsa={KEY.public}"),
        ("vapid t=a, k=b", None),
    ],
    ids=number,
)
def test_what_is_no_signature_is_refused_and_not_repeated(authorization: str, crypto_key: str | None) -> None:
    error = refusal(authorization, crypto_key)
    assert (error.claim, error.expected, error.got) == (None, None, None)
    assert "a-session-token" not in error.detail
    assert TOKEN not in error.detail


# --- checks ----------------------------------------------------------------------------------------------------------

LATEST = f"from {rfc3339(NOW_MS)} to {rfc3339(NOW_MS + 86_400_000)}, in seconds since 1970"


@pytest.mark.parametrize(
    ("claim", "value", "expected", "got"),
    [
        ("aud", None, ORIGIN, "null"),
        ("aud", f"{ORIGIN}/", ORIGIN, f"{ORIGIN}/"),
        ("aud", "https://push.example:443", ORIGIN, "https://push.example:443"),
        ("aud", "http://push.example", ORIGIN, "http://push.example"),
        ("aud", ["https://other.example"], ORIGIN, '["https://other.example"]'),
        ("aud", {"a": 1}, ORIGIN, '{"a": 1}'),
        ("aud", "x" * 1000, ORIGIN, "x" * 200),
        ("exp", None, LATEST, "null"),
        ("exp", "soon", LATEST, "soon"),
        ("exp", True, LATEST, "true"),
        ("exp", 10**18, LATEST, "1" + "0" * 18),
        ("exp", NOW - 1, LATEST, f"{NOW - 1} ({rfc3339(NOW_MS - 1000)})"),
        ("exp", NOW + 86_401, LATEST, f"{NOW + 86_401} ({rfc3339(NOW_MS + 86_401_000)})"),
    ],
)
def test_a_claim_that_fails_is_named_with_what_was_expected_and_what_was_there(
    claim: str, value: object, expected: str, got: str
) -> None:
    error = refusal(header(**{claim: value}))
    assert (error.claim, error.expected, error.got) == (claim, expected, got)
    assert expected in error.detail


@pytest.mark.parametrize("expiry", [NOW, NOW + 0.5, NOW + 86_400])
def test_a_token_may_live_up_to_24_hours(expiry: float) -> None:
    assert signed_by(header(exp=expiry)) == KEY.public


def test_the_audience_may_be_a_list_that_includes_the_origin() -> None:
    assert signed_by(header(aud=["https://a.example", ORIGIN])) == KEY.public


def test_the_audience_of_an_international_name_may_be_spelled_either_way() -> None:
    for audience in ("https://xn--bcher-kva.example:8443", "https://bücher.example:8443"):
        assert verifier("https://xn--bcher-kva.example:8443").signed_by(header(aud=audience), None) == KEY.public


def test_an_address_has_one_spelling() -> None:
    for origin in ("http://127.0.0.1:8080", "http://[::1]:8080"):
        assert verifier(origin).signed_by(header(aud=origin), None) == KEY.public


def test_what_sub_says_is_the_senders_business() -> None:
    for subject in (None, "mailto:a@b.example", "anything", 5):
        assert signed_by(header(sub=subject)) == KEY.public


def spoiled(part: int, text: str) -> str:
    parts = TOKEN.split(".")
    parts[part] = text
    return ".".join(parts)


@pytest.mark.parametrize(
    ("members", "claim", "got"),
    [
        ({"alg": "none"}, "alg", "none"),
        ({"alg": "HS256"}, "alg", "HS256"),
        ({"alg": "es256"}, "alg", "es256"),
        ({"typ": "JWT"}, "alg", "null"),
        ({"alg": "ES256", "crit": ["b64"]}, "crit", '["b64"]'),
    ],
)
def test_only_es256_is_taken(members: dict[str, Any], claim: str, got: str) -> None:
    token = spoiled(0, b64url(json.dumps(members).encode()))
    error = refusal(f"vapid t={token}, k={KEY.public}")
    assert (error.claim, error.got) == (claim, got)


@pytest.mark.parametrize(
    "token",
    ["a.b", "a.b.c.d", spoiled(0, "!"), spoiled(1, b64url(b"[]")), spoiled(1, b64url(b"{")), "x" * 5000],
    ids=number,
)
def test_what_is_no_jwt_is_refused(token: str) -> None:
    assert refusal(f"vapid t={token}, k={KEY.public}").claim is None


@pytest.mark.parametrize("signature", ["", b64url(b"x" * 63), b64url(b"\0" * 64), b64url(b"\xff" * 64)])
def test_a_signature_that_does_not_hold_is_refused(signature: str) -> None:
    assert refusal(f"vapid t={spoiled(2, signature)}, k={KEY.public}").claim == "signature"


def test_a_signature_by_another_key_is_refused() -> None:
    assert refusal(f"vapid t={TOKEN}, k={OTHER.public}").claim == "signature"


def test_claims_that_were_changed_are_refused() -> None:
    claims = b64url(json.dumps(CLAIMS | {"exp": NOW + 7200}).encode())
    assert refusal(f"vapid t={spoiled(1, claims)}, k={KEY.public}").claim == "signature"


POINT = unb64url(KEY.public)


@pytest.mark.parametrize(
    "point",
    [b"", POINT[:33], b"\x02" + POINT[1:33], POINT[:-1] + bytes([POINT[-1] ^ 1])],
    ids=["nothing", "half", "compressed", "beside"],
)
def test_a_key_is_an_uncompressed_point_of_the_curve(point: bytes) -> None:
    error = refusal(f"vapid t={TOKEN}, k={b64url(point)}")
    assert "public key" in error.detail


def test_half_a_character_in_a_claim_makes_no_answer_that_cannot_be_written() -> None:
    token = spoiled(1, b64url(b'{"aud":"\\ud800","exp":%d}' % (NOW + 60)))
    refusal(f"vapid t={token}, k={KEY.public}").detail.encode()


# --- memory ----------------------------------------------------------------------------------------------------------


def test_a_token_is_verified_once_however_often_it_is_used() -> None:
    checked = verifier()
    for _ in range(5):
        assert checked.signed_by(header(), None) == KEY.public
    assert checked.verifications == 5, "each header() is signed anew"
    same = header()
    for spelling in (same, same.replace("vapid", "VAPID"), f"{same}, x=1"):
        assert checked.signed_by(spelling, None) == KEY.public
    assert checked.verifications == 6


def test_a_remembered_token_is_refused_once_it_is_expired() -> None:
    clock = Hands()
    checked = verifier(clock=clock)
    same = header(exp=NOW + 60)
    clock.now_ms += 60_000
    assert checked.signed_by(same, None) == KEY.public
    clock.now_ms += 1
    with pytest.raises(VapidInvalid) as caught:
        checked.signed_by(same, None)
    assert caught.value.claim == "exp"


def test_a_token_is_remembered_for_its_own_key_only() -> None:
    checked = verifier()
    checked.signed_by(f"vapid t={TOKEN}, k={KEY.public}", None)
    with pytest.raises(VapidInvalid):
        checked.signed_by(f"vapid t={TOKEN}, k={OTHER.public}", None)


def test_the_memory_is_bounded_and_keeps_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vapid, "MEMORY", 3)
    checked = verifier()
    often, *others = [header(exp=NOW + n) for n in range(1, 6)]
    checked.signed_by(often, None)
    for other in others:
        checked.signed_by(other, None)
        checked.signed_by(often, None)
    assert checked.verifications == 5
    checked.signed_by(others[0], None)
    assert checked.verifications == 6, "it had to go"


# --- a sender's key --------------------------------------------------------------------------------------------------


def test_what_a_key_signs_for_a_push_url_holds_there() -> None:
    assert signed_by(KEY.authorization(f"{ORIGIN}/push/abc", NOW_MS, "mailto:a@b.example")) == KEY.public


def test_a_key_file_is_its_owners_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "vapid.pem"
    KEY.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert VapidKey.load(path).public == KEY.public
    with pytest.raises(Failed, match="never overwritten"):
        OTHER.write(path)
    assert VapidKey.load(path).public == KEY.public


def test_a_file_that_is_no_vapid_key_is_a_mistake_of_configuration(tmp_path: Path) -> None:
    path = tmp_path / "vapid.pem"
    with pytest.raises(ConfigError, match="cannot read"):
        VapidKey.load(path)
    path.write_text("no key")
    with pytest.raises(ConfigError, match="no private key"):
        VapidKey.load(path)
    path.unlink()
    VapidKey(ec.generate_private_key(ec.SECP384R1())).write(path)
    with pytest.raises(ConfigError, match="P-256"):
        VapidKey.load(path)


# --- whatever comes --------------------------------------------------------------------------------------------------

pieces = st.sampled_from(["vapid ", "WebPush ", "t=", "k=", ", ", TOKEN, KEY.public, ".", '"', "=", " ", "p256ecdsa="])
texts = st.text(st.characters(max_codepoint=255), max_size=30) | st.lists(pieces, max_size=8).map("".join)


@given(texts, st.none() | texts)
def test_whatever_arrives_is_a_key_or_refused(authorization: str, crypto_key: str | None) -> None:
    with suppress(VapidInvalid):
        assert signed_by(authorization, crypto_key) == KEY.public
