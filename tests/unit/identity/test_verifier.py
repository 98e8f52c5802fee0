"""From an Authorization header and the configuration to a login."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from pushctl.config.model import Api, Browserid, BrowseridDiscover, BrowseridIssuer, Config, Identity, Oidc
from pushctl.errors import BodyInvalid, ConfigError, Problem, Unauthenticated
from pushctl.identity import discovery
from pushctl.identity.browserid import LoginRefused
from pushctl.identity.browserid_make import make_assertion, make_bundle, public_key_json
from pushctl.identity.dev_idp import DevIdp
from pushctl.identity.principals import Principal
from pushctl.identity.verifier import IdentityVerifier, Login
from tests.internet import Internet, open_internet
from tests.unit.identity.bundles import EMAIL, ISSUER, MINUTE, NOW, ORIGIN, SKEW, Draft, KeyRing
from tests.unit.identity.check_rows import FAULTS
from tests.unit.identity.spoiling import at, spoiled
from tests.unit.identity.tokens import ID_TOKENS


@pytest.fixture
def config(tmp_path: Path, ring: KeyRing) -> Config:
    path = tmp_path / "idp.json"
    path.write_text(json.dumps({"public-key": public_key_json(ring.issuer)}))
    issuer = BrowseridIssuer(issuer=ISSUER, domains=(ISSUER, "mail.example"), keys_file=str(path))
    browserid = Browserid(enabled=True, issuers=(issuer,))
    return Config(api=Api(public_url=ORIGIN), identity=Identity(browserid=browserid))


def changed(config: Config, **browserid: Any) -> Config:
    settings = replace(config.identity.browserid, **browserid)
    return replace(config, identity=replace(config.identity, browserid=settings))


def clock() -> int:
    return NOW


async def answer(verifier: IdentityVerifier, authorization: str | None, provider: str | None = None) -> Login:
    with trio.fail_after(5):
        return await verifier.verify(authorization, provider)


async def refusal(verifier: IdentityVerifier, authorization: str | None, provider: str | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        await answer(verifier, authorization, provider)
    return caught.value


@pytest.mark.parametrize("scheme", ["BrowserID ", "browserid ", "BROWSERID  "])
async def test_a_backed_assertion_is_a_login(scheme: str, config: Config, ring: KeyRing) -> None:
    login = await answer(IdentityVerifier(config, clock), scheme + Draft(ring).text())

    assert login.principal == Principal("browserid", "", EMAIL)
    assert login.expires_at_ms == NOW + 2 * MINUTE
    assert len(login.replay_digest) == 43


async def test_a_replay_is_remembered_for_longer_than_any_server_takes_the_assertion(
    config: Config, ring: KeyRing
) -> None:
    bundle = Draft(ring).text()
    last_moment = NOW + 2 * MINUTE + SKEW

    first = await answer(IdentityVerifier(config, clock), f"BrowserID {bundle}")
    late = await answer(IdentityVerifier(config, lambda: last_moment), f"BrowserID {bundle}")
    over = await refusal(IdentityVerifier(config, lambda: last_moment + 1), f"BrowserID {bundle}")

    assert over.code == "assertion_expired"
    assert NOW + first.keep_replay_ms >= last_moment + SKEW  # the clock of another server may be behind by the skew
    assert late.keep_replay_ms >= 1


async def test_without_skew_a_replay_is_still_remembered(config: Config, ring: KeyRing) -> None:
    verifier = IdentityVerifier(changed(config, clock_skew_seconds=0), lambda: NOW + 2 * MINUTE)

    assert (await answer(verifier, f"BrowserID {Draft(ring).text()}")).keep_replay_ms == 1


@pytest.mark.parametrize("authorization", [None, "", " ", "Basic YTpi", "BrowserIDx", "BrowserID=x", "ä b"])
async def test_no_scheme_or_an_unknown_one_is_told_what_is_accepted(authorization: str | None, config: Config) -> None:
    problem = await refusal(IdentityVerifier(config, clock), authorization)

    assert isinstance(problem, Unauthenticated)
    assert "BrowserID" in problem.detail
    assert problem.field == "Authorization"


@pytest.mark.parametrize("authorization", ["Bearer x.y.z", "bearer", "BEARER abc"])
async def test_a_bearer_token_is_told_that_no_oidc_provider_is_configured(authorization: str, config: Config) -> None:
    problem = await refusal(IdentityVerifier(config, clock), authorization, "accounts")

    assert isinstance(problem, Unauthenticated)
    assert "no OIDC provider is configured" in problem.detail


async def test_a_refused_login_of_either_kind_is_logged_with_its_reason_and_without_the_credential(
    config: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    oidc = Oidc(enabled=True, providers=(ID_TOKENS,))
    verifier = IdentityVerifier(replace(config, identity=replace(config.identity, oidc=oidc)), clock)
    for authorization, code in (("Bearer kept.quiet", "malformed_token"), ("BrowserID kept~quiet", "malformed_jws")):
        assert (await refusal(verifier, authorization)).code == code
        logged = capfd.readouterr().err
        assert "login_refused" in logged
        assert code in logged
        assert "quiet" not in logged


async def test_a_provider_beside_an_assertion_is_refused(config: Config, ring: KeyRing) -> None:
    problem = await refusal(IdentityVerifier(config, clock), f"BrowserID {Draft(ring).text()}", "accounts")

    assert isinstance(problem, BodyInvalid)
    assert problem.field == "$.provider"


@pytest.mark.parametrize("authorization", ["BrowserID", "BrowserID ", "BrowserID a b~c", "BrowserID \xff~\ud800"])
async def test_what_is_no_assertion_is_a_refusal(authorization: str, config: Config) -> None:
    assert isinstance(await refusal(IdentityVerifier(config, clock), authorization), LoginRefused)


async def test_limits_come_from_the_configuration(config: Config, ring: KeyRing) -> None:
    bundle = f"BrowserID {Draft(ring).text()}"

    async def code(**limits: int) -> str:
        verifier = IdentityVerifier(changed(config, **limits), lambda: NOW - 1000)
        return (await refusal(verifier, bundle)).code

    assert await code(max_assertion_lifetime_seconds=1) == "assertion_lifetime"
    assert await code(max_certificate_lifetime_seconds=60) == "certificate_lifetime"
    assert await code(max_bundle_bytes=1000) == "assertion_too_large"


async def test_an_issuer_speaks_for_its_domains_and_no_other(config: Config, ring: KeyRing) -> None:
    draft = Draft(ring)
    draft.certificate["principal"] = {"email": "alice@mail.example"}
    assert (await answer(IdentityVerifier(config, clock), f"BrowserID {draft.text()}")).principal.subject

    (issuer,) = config.identity.browserid.issuers
    only_mail = changed(config, issuers=(replace(issuer, domains=("mail.example",)),))
    problem = await refusal(IdentityVerifier(only_mail, clock), f"BrowserID {Draft(ring).text()}")
    assert problem.code == "no_browserid_support"


async def test_switched_off_nobody_is_believed(config: Config, ring: KeyRing) -> None:
    off = IdentityVerifier(changed(config, enabled=False), clock)

    assert (await refusal(off, f"BrowserID {Draft(ring).text()}")).code == "no_browserid_support"


async def test_configured_audiences_are_all_there_are(config: Config, ring: KeyRing) -> None:
    verifier = IdentityVerifier(changed(config, audiences=("https://a.example", "https://b.example:8443")), clock)
    draft = Draft(ring)

    assert (await refusal(verifier, f"BrowserID {draft.text()}")).code == "audience_mismatch"
    draft.assertion["aud"] = "https://b.example:8443"
    assert (await answer(verifier, f"BrowserID {draft.text()}")).principal.subject == EMAIL


async def test_assertions_are_for_the_public_url_that_a_start_picked(config: Config, ring: KeyRing) -> None:
    verifier = IdentityVerifier(config, clock, public_url="http://127.0.0.1:41234")
    draft = Draft(ring)

    assert (await refusal(verifier, f"BrowserID {draft.text()}")).code == "audience_mismatch"
    draft.assertion["aud"] = "http://127.0.0.1:41234"
    assert (await answer(verifier, f"BrowserID {draft.text()}")).principal.subject == EMAIL


@pytest.fixture
async def internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Internet]:
    async with open_internet(tmp_path / "certificates") as internet:
        monkeypatch.setattr(discovery, "Fetcher", internet.fetcher)
        yield internet


async def test_in_mode_discover_a_domain_is_asked_and_asked_again_when_its_key_changed(
    config: Config, ring: KeyRing, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = "idp.push-tests.net"
    pages = {"authentication": "/a", "provisioning": "/p"}
    internet.publish(host, {"public-key": public_key_json(ring.issuer), **pages})
    settings = BrowseridDiscover(ca_file=internet.ca_file)
    verifier = IdentityVerifier(changed(config, mode="discover", discover=settings), clock)
    draft = Draft(ring)
    draft.certificate |= {"iss": host, "principal": {"email": f"alice@{host}"}}

    login = await answer(verifier, f"BrowserID {draft.text()}")
    assert (login.principal, login.provider) == (Principal("browserid", "", f"alice@{host}"), "browserid")
    assert (await answer(verifier, f"BrowserID {Draft(ring).text()}")).principal.subject == EMAIL
    assert len(internet.requests) == 1, "a configured issuer was asked"

    internet.publish(host, {"public-key": public_key_json(ring.stranger), **pages})
    draft.certificate_key = ring.stranger
    assert (await refusal(verifier, f"BrowserID {draft.text()}")).code == "invalid_certificate_signature"
    monkeypatch.setattr(discovery, "FRESH_SECONDS", 0.0)
    assert (await answer(verifier, f"BrowserID {draft.text()}")).principal.subject == f"alice@{host}"
    draft.certificate_key = ring.short
    assert (await refusal(verifier, f"BrowserID {draft.text()}")).code == "invalid_certificate_signature"


async def test_nobody_is_asked_for_a_bundle_that_is_wrong_in_itself(
    config: Config, ring: KeyRing, internet: Internet
) -> None:
    settings = BrowseridDiscover(ca_file=internet.ca_file)
    verifier = IdentityVerifier(changed(config, mode="discover", discover=settings), clock)
    last = [name for _, name, _ in FAULTS].index("an unknown domain")  # the first row of step 8
    for code, name, change in FAULTS[:last]:
        bundle = spoiled(ring, at("idp.push-tests.net"), change)
        assert (await refusal(verifier, f"BrowserID {bundle}")).code == code, name
    assert not internet.resolved
    assert last > 100


def dev_bundle(dev_idp: DevIdp, ring: KeyRing) -> str:
    certificate = dev_idp.certificate("alice@dev-idp.localhost", public_key_json(ring.user), 3600, NOW)
    return make_bundle(certificate, make_assertion(ring.user, audience=ORIGIN, expires_at_ms=NOW + MINUTE))


async def test_a_development_login_is_a_principal_of_its_own_kind(config: Config, ring: KeyRing) -> None:
    dev_idp = DevIdp(ring.stranger)
    verifier = IdentityVerifier(config, clock, dev_idp)

    login = await answer(verifier, f"BrowserID {dev_bundle(dev_idp, ring)}")
    real = await answer(verifier, f"BrowserID {Draft(ring).text()}")

    assert login.principal == Principal("browserid-dev", "", "alice@dev-idp.localhost")
    assert real.principal.kind == "browserid"


async def test_without_the_development_provider_its_certificates_are_worth_nothing(
    config: Config, ring: KeyRing
) -> None:
    problem = await refusal(IdentityVerifier(config, clock), f"BrowserID {dev_bundle(DevIdp(ring.stranger), ring)}")

    assert problem.code == "no_browserid_support"


async def test_the_development_provider_cannot_speak_for_real_people(config: Config, ring: KeyRing) -> None:
    dev_idp = DevIdp(ring.stranger)
    draft = Draft(ring)
    draft.certificate_key = ring.stranger
    draft.certificate["iss"] = DevIdp.domain

    problem = await refusal(IdentityVerifier(config, clock, dev_idp), f"BrowserID {draft.text()}")

    assert problem.code == "untrusted_issuer"


def test_every_mistake_of_the_configuration_is_found_at_construction(config: Config) -> None:
    wrong = replace(
        config,
        api=Api(public_url="push.example.net"),
        identity=Identity(
            browserid=Browserid(
                enabled=True,
                issuers=tuple(
                    BrowseridIssuer(issuer=name, domains=(name,), keys_file=f"/nowhere/{name}")
                    for name in ("a.example", "B.example")
                ),
                discover=BrowseridDiscover(allow_domains=("x",), fallback="dev-idp.localhost"),
            )
        ),
    )

    with pytest.raises(ConfigError) as caught:
        IdentityVerifier(wrong, clock)

    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "api.public_url",
        "identity.browserid.discover.allow_domains",
        "identity.browserid.discover.fallback",
        "identity.browserid.issuers[0].keys_file",
        "identity.browserid.issuers[1].issuer",
        "identity.browserid.issuers[1].domains",
        "identity.browserid.issuers[1].keys_file",
    ]


def test_a_file_of_authorities_that_holds_none_is_a_mistake_at_construction(config: Config, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pem", tmp_path / "idp.json"):
        with pytest.raises(ConfigError, match=r"^identity.browserid.discover.ca_file: .*: no certificates: "):
            IdentityVerifier(changed(config, mode="discover", discover=BrowseridDiscover(ca_file=str(path))), clock)


def test_the_verifier_alone_imports_neither_the_development_provider_nor_a_fetcher() -> None:
    program = (
        "import sys, pushctl.identity.verifier;"
        "sys.exit(any(f'pushctl.identity.{name}' in sys.modules for name in ('dev_idp', 'discovery', 'fetch')))"
    )

    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0
