"""Which provider a login is for, and what becomes of its token."""

from dataclasses import replace

import pytest
import trio

from pushctl.config.model import Config, Identity, Oidc, OidcProvider
from pushctl.errors import BodyInvalid, Problem
from pushctl.identity.fetch import Document, FetchFailed
from pushctl.identity.oidc_logins import OidcLogins
from pushctl.identity.refusal import LoginRefused
from tests.unit.identity.tokens import ACCESS_TOKENS, ID_TOKENS, NOW, SUBJECT, Draft, Signer

API = replace(ACCESS_TOKENS, discovery=False, jwks_uri=ID_TOKENS.jwks_uri)


class OneDocument:
    """Serves the same keys to whoever asks."""

    def __init__(self, signer: Signer) -> None:
        self._document = Document(signer.document(), None)
        self.asked: list[str] = []

    async def get(self, url: str) -> Document:
        self.asked.append(url)
        await trio.lowlevel.checkpoint()
        if "away" in url:
            raise FetchFailed("unavailable", "no connection")
        return self._document


def logins(signer: Signer, *providers: OidcProvider) -> OidcLogins:
    config = replace(Config(), identity=Identity(oidc=Oidc(enabled=True, providers=providers)))
    return OidcLogins(config, OneDocument(signer))


async def problem(of: OidcLogins, text: str, name: str | None) -> Problem:
    with pytest.raises(Problem) as caught, trio.fail_after(5):
        await of.verify(text, name, NOW * 1000)
    return caught.value


@pytest.mark.parametrize("name", [None, "accounts"])
async def test_the_only_provider_need_not_be_named(name: str | None, signer: Signer) -> None:
    provider, verified = await logins(signer, ID_TOKENS).verify(Draft(signer).token(), name, NOW * 1000)

    assert (provider.name, verified.subject) == ("accounts", SUBJECT)


async def test_one_of_several_is_what_the_login_names_and_never_what_the_token_says(signer: Signer) -> None:
    other = replace(ID_TOKENS, name="other", issuer="https://other.example")
    both = logins(signer, ID_TOKENS, API, other)
    text = Draft(signer).token()

    assert (await both.verify(text, "accounts", NOW * 1000))[0] is ID_TOKENS
    assert (await problem(both, text, "other")).code == "wrong_issuer"
    assert (await problem(both, text, "api")).code == "wrong_token_type"
    unnamed, unknown = await problem(both, text, None), await problem(both, text, "nobody")
    assert isinstance(unnamed, BodyInvalid)
    assert isinstance(unknown, BodyInvalid)
    assert unnamed.field == unknown.field == "$.provider"
    assert "accounts, api, other" in unnamed.detail


async def test_fetches_are_counted_over_all_providers_from_0_on(signer: Signer) -> None:
    away = replace(API, name="far", jwks_uri="https://away.example/keys")
    three = logins(signer, ID_TOKENS, API, away)
    assert three.fetches() == {"ok": 0, "failed": 0}
    assert list(three.fetches()) == ["ok", "failed"], "a series that is not there from the start hides its first step"
    await three.warm()
    assert three.fetches() == {"ok": 2, "failed": 1}


async def test_a_disabled_provider_takes_nobody(signer: Signer) -> None:
    other = replace(ID_TOKENS, name="other", issuer="https://other.example", disabled=True)
    one = logins(signer, ID_TOKENS, other)

    assert isinstance(await problem(one, Draft(signer).token(), "other"), BodyInvalid)
    assert (await one.verify(Draft(signer).token(), None, NOW * 1000))[0] is ID_TOKENS


async def test_a_bad_token_is_refused_before_anybody_is_asked(signer: Signer) -> None:
    document = OneDocument(signer)
    config = replace(Config(), identity=Identity(oidc=Oidc(enabled=True, providers=(ID_TOKENS,))))
    refused = await problem(OidcLogins(config, document), Draft(signer, header={"typ": "at+jwt"}).token(), None)

    assert refused.code == "wrong_token_type"
    assert not document.asked


async def test_a_provider_that_is_away_delays_no_other_and_no_start(signer: Signer) -> None:
    away = replace(ID_TOKENS, name="away", issuer="https://away.example", jwks_uri="https://away.example/jwks")
    both = logins(signer, away, ID_TOKENS)
    with trio.fail_after(5):
        await both.warm()

    assert (await both.verify(Draft(signer).token(), "accounts", NOW * 1000))[1].subject == SUBJECT
    refused = await problem(both, Draft(signer).token(), "away")
    assert isinstance(refused, LoginRefused)
    assert (refused.code, refused.status, refused.retry_after_seconds) == ("issuer_unavailable", 503, 10)
