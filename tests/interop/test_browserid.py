"""BrowserID beside others: browserid-crypto's bundles by our verifier, ours by theirs, and every row of the check list
judged by browserid-local-verify and PyBrowserID, too."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pushctl.identity.browserid import Verifier
from pushctl.identity.browserid_make import make_assertion, make_bundle, make_key, public_key_json
from pushctl.identity.dev_idp import DevIdp
from pushctl.identity.public_keys import parse_public_key
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.support import Authority
from pushctl.ids import b64url, unb64url
from tests.interop.browserid.differences import LAXER_THAN_WE, STRICTER_THAN_WE, Difference
from tests.interop.npm import installed
from tests.unit.identity.bundles import EMAIL, ISSUER, MINUTE, NOW, ORIGIN, KeyRing
from tests.unit.identity.check_rows import FAULTS, VALID
from tests.unit.identity.spoiling import spoiled

pytestmark = [pytest.mark.slow, pytest.mark.debian]

FOLDER = Path(__file__).parent / "browserid"
PAGES = {"authentication": "/sign_in", "provisioning": "/provision"}
PROFILES = {"RS256": ("RS256",), "DS256": ("RS256", "DS256"), "DS128": ("RS256", "DS256", "DS128")}
NEVER = ("RS64", "RS128")


@pytest.fixture(scope="session")
def npm() -> Path:
    return installed(FOLDER, "node_modules/browserid-crypto/scripts/package.js")


@dataclass(frozen=True)
class Made:
    """By browserid-crypto: public keys by algorithm, a bundle for each pair of them, one with a short signature."""

    keys: dict[str, dict[str, str]]
    bundles: dict[tuple[str, str], str]
    short: str

    def verifier(self, issuer: str, algorithms: Sequence[str]) -> Verifier:
        key = parse_public_key(self.keys[issuer], algorithms)
        return Verifier({ISSUER: Authority(ISSUER, (key,))}, [ORIGIN], algorithms=algorithms)


@pytest.fixture(scope="session")
def made(npm: Path) -> Made:
    said = json.loads(run(["node", "make.js", str(NOW), "3000"], npm))
    bundles = {(each["issuer"], each["user"]): each["text"] for each in said["bundles"]}
    return Made(said["keys"], bundles, said["short"][0])


def run(command: Sequence[str], folder: Path, given: str = "") -> str:
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def verdicts(folder: Path, bundles: Sequence[str], documents: dict[str, Any]) -> dict[str, list[str | None]]:
    """By library: None where a bundle is accepted, else what is said."""
    given = json.dumps({"bundles": bundles, "audience": ORIGIN, "now": NOW, "documents": documents})
    return {
        "npm": json.loads(run(["node", "verdicts.js"], folder, given)),
        "py": json.loads(run([sys.executable, "-W", "ignore", "verdicts.py"], folder, given)),
    }


def code_of(verifier: Verifier, bundle: str) -> str:
    with pytest.raises(LoginRefused) as caught:
        verifier.verify(bundle, NOW)
    return caught.value.code


# --- theirs by ours ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("issuer", PROFILES)
@pytest.mark.parametrize("user", PROFILES)
def test_what_browserid_crypto_signed_is_verified_where_its_algorithms_are_allowed(
    issuer: str, user: str, made: Made
) -> None:
    bundle = made.bundles[issuer, user]
    for profile, algorithms in PROFILES.items():
        if {issuer, user} <= set(algorithms):
            assert made.verifier(issuer, algorithms).verify(bundle, NOW).email == EMAIL, profile
        else:
            assert code_of(made.verifier(issuer, algorithms), bundle) == "unsupported_algorithm", profile


@pytest.mark.parametrize("weak", NEVER)
def test_its_small_rsa_keys_verify_nothing_even_if_somebody_allowed_them(weak: str, made: Made) -> None:
    for issuer, user in ((weak, "RS256"), ("RS256", weak), (weak, weak)):
        bundle = made.bundles[issuer, user]
        assert code_of(made.verifier(issuer, ("RS256",)), bundle) == "unsupported_algorithm"
        allowing = made.verifier(issuer, ("RS256", *NEVER))
        assert code_of(allowing, bundle).endswith("_signature")


def test_a_signature_that_it_wrote_with_255_bytes_is_verified(made: Made) -> None:
    assert len(unb64url(made.short.rpartition(".")[2])) == 255
    assert made.verifier("RS256", ("RS256",)).verify(made.short, NOW).email == EMAIL


def test_every_key_it_writes_is_read_as_what_it_is(made: Made) -> None:
    for name, members in made.keys.items():
        assert parse_public_key(members, (name,)).algorithm == name


def numbers(*pairs: tuple[int, int], octets: int) -> list[bytes]:
    return [r.to_bytes(octets) + s.to_bytes(octets) for r, s in pairs]


@pytest.mark.parametrize(("name", "octets"), [("DS256", 32), ("DS128", 20)])
def test_dsa_signatures_that_sign_anything_where_ranges_are_not_checked_sign_nothing(
    name: str, octets: int, made: Made
) -> None:
    verifier = made.verifier(name, PROFILES[name])
    bundle = made.bundles[name, name]
    q = int(made.keys[name]["q"], 16)
    good = unb64url(bundle.rpartition(".")[2])
    r, s = int.from_bytes(good[:octets]), int.from_bytes(good[octets:])
    forged = [
        *numbers((1, 0), (0, 1), (0, 0), (1, q), (q, 1), (q, q), (r, 0), (r, q), (q - 1, 0), (0, s), octets=octets),
        good[1:],
        b"\0" + good,
        good + b"\0",
        good[:-1],
        good[octets:] + good[:octets],
        b"",
    ]
    certificate, assertion = (part.rpartition(".")[0] for part in bundle.split("~"))
    certificate_signature = bundle.split("~")[0].rpartition(".")[2]
    for signature in forged:
        signed = f"{assertion}.{b64url(signature)}"
        assert code_of(verifier, f"{certificate}.{certificate_signature}~{signed}") == "invalid_assertion_signature"
        spelled = f"{certificate}.{b64url(signature)}~{bundle.split('~')[1]}"
        assert code_of(verifier, spelled) == "invalid_certificate_signature"


def test_numbers_that_are_no_dsa_key_are_refused_where_dsa_is_allowed(made: Made) -> None:
    good = made.keys["DS256"]
    p, q, g, y = (int(good[name], 16) for name in "pqgy")
    for change in (
        {"g": 1},
        {"g": p},
        {"g": p - 1},
        {"g": g + 1},
        {"y": 0},
        {"y": 1},
        {"y": p - 1},
        {"y": p + y},
        {"y": y + 1},
        {"q": q - 2},
        {"q": q >> 1},
        {"p": p - 2 * q - 2},
        {"p": p * 2 + 1},
    ):
        members = good | {name: f"{value:x}" for name, value in change.items()}
        with pytest.raises(ValueError, match=r"."):
            parse_public_key(members, ("DS256",))
    as_jwk = {name: b64url(int(good[name], 16).to_bytes(256)) for name in "pgy"} | {"q": b64url(q.to_bytes(32))}
    assert parse_public_key({"kty": "DSA", **as_jwk}, ("DS256",)) == parse_public_key(good, ("DS256",))


# --- ours by theirs ---------------------------------------------------------------------------------------------------


def test_what_the_development_provider_and_our_client_make_is_accepted_by_both(npm: Path) -> None:
    dev_idp, users = DevIdp(make_key()), [make_key() for _ in range(5)]
    bundles = [
        make_bundle(
            dev_idp.certificate(f"user{at}@{DevIdp.domain}", public_key_json(user), 3600, NOW),
            make_assertion(user, audience=ORIGIN, expires_at_ms=NOW + MINUTE + at + 100 * more),
        )
        for at, user in enumerate(users)
        for more in range(20)
    ]

    said = verdicts(npm, bundles, {DevIdp.domain: dev_idp.document()})

    assert said == {"npm": [None] * 100, "py": [None] * 100}


# --- the check list ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A row, whether we take it, and what each library says."""

    name: str
    valid: bool
    said: dict[str, str | None]


def documents(ring: KeyRing) -> dict[str, Any]:
    """As the table in test_browserid.py of the unit tests, published."""

    def published(*names: str) -> dict[str, Any]:
        keys = [public_key_json(getattr(ring, name)) for name in names]
        return {"public-key": keys[0], "keys": keys, **PAGES}

    return {
        ISSUER: published("issuer"),
        "rotating.example": published("stranger", "weak", "issuer"),
        "short.example": published("short"),
        "weak.example": published("weak"),
        "delegating.example": {"authority": ISSUER},
        "lost.example": {"authority": "nobody.example"},
        "disabled.example": {"disabled": True},
        "loop.example": {"authority": "pool.example"},
        "pool.example": {"authority": "loop.example"},
        **{f"hop{at}.example": {"authority": f"hop{at + 1}.example"} for at in range(6)},
        "hop6.example": published("issuer"),
    }


@pytest.fixture(scope="session")
def judged(npm: Path) -> list[Judged]:
    ring = KeyRing.make()
    rows = [(name, True, change) for name, change in VALID.items()]
    rows += [(name, False, change) for _, name, change in FAULTS]
    # JSON has no half of a surrogate pair: theirs are asked about what stands for it.
    bundles = [spoiled(ring, change).encode("utf-8", "replace").decode() for _, _, change in rows]
    said = verdicts(npm, bundles, documents(ring))
    return [
        Judged(name, valid, {library: answers[at] for library, answers in said.items()})
        for at, (name, valid, _) in enumerate(rows)
    ]


def named(differences: Sequence[Difference], library: str) -> Iterator[str]:
    for difference in differences:
        yield from getattr(difference, library)


@pytest.mark.parametrize("library", ["npm", "py"])
def test_every_row_is_judged_alike_or_the_difference_is_known(library: str, judged: list[Judged]) -> None:
    stricter = {row.name for row in judged if row.valid and row.said[library] is not None}
    laxer = {row.name for row in judged if not row.valid and row.said[library] is None}

    assert stricter == set(named(STRICTER_THAN_WE, library))
    assert laxer == set(named(LAXER_THAN_WE, library))


def test_most_rows_have_one_verdict(judged: list[Judged]) -> None:
    alike = [row for row in judged if all((said is None) == row.valid for said in row.said.values())]
    assert len(alike) > len(judged) / 2
