"""Whose log-ins and sessions stand under a configuration."""

from dataclasses import replace

from pushctl.config.model import Config, Identity, Oidc
from pushctl.identity.providers import providers_of
from tests.unit.identity.tokens import ACCESS_TOKENS, ID_TOKENS


def test_sessions_of_a_provider_stand_while_it_is_configured_and_neither_it_nor_all_are_off() -> None:
    def names(oidc: Oidc) -> frozenset[str]:
        return providers_of(replace(Config(), identity=Identity(oidc=oidc))) - providers_of(Config())

    off = replace(ACCESS_TOKENS, disabled=True)
    assert names(Oidc(enabled=True, providers=(ID_TOKENS, ACCESS_TOKENS))) == {"accounts", "api"}
    assert names(Oidc(enabled=True, providers=(ID_TOKENS, off))) == {"accounts"}
    assert names(Oidc(enabled=False, providers=(ID_TOKENS, ACCESS_TOKENS))) == set()
