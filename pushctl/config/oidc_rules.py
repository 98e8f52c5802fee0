"""What a list of OpenID providers must be, beyond each value being right.

Owns: the rules between the keys of an entry, and between entries. Promises: every mistake is named, with its key.
Must not know: tokens, keys, whether a provider can be reached.
"""

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from pushctl.config.model import Config, OidcProvider
from pushctl.config.schema import is_loopback
from pushctl.ids import ID_PATTERN

OIDC_ALGORITHMS: Final = ("RS256", "ES256", "EdDSA", "PS256")
"""Never HS*: whoever can check such a signature can make one. Never none."""

RESERVED_NAMES: Final = ("browserid", "browserid-dev")
"""What sessions say of those who logged in without a provider of this list."""


def active_providers(config: Config) -> tuple[OidcProvider, ...]:
    """Those whose log-ins and sessions hold."""
    oidc = config.identity.oidc
    return tuple(provider for provider in oidc.providers if oidc.enabled and not provider.disabled)


def check_providers(config: Config) -> list[str]:
    """One line for each mistake in `identity.oidc`; empty: none."""
    oidc, development = config.identity.oidc, config.identity.environment == "development"
    mistakes = []
    if oidc.enabled and not oidc.providers:
        mistakes.append("identity.oidc.enabled: needs at least one [[identity.oidc.providers]]")
    for number, provider in enumerate(oidc.providers):
        found = [
            *_own_name(provider),
            *_not_twice(provider, oidc.providers[:number]),
            *_urls(provider, development=development),
            *_algorithms(provider),
            *_audience(provider),
            *_inbox(provider, development=development),
        ]
        mistakes += [f"identity.oidc.providers[{number}].{line}" for line in found]
    return mistakes


def _own_name(provider: OidcProvider) -> Iterator[str]:
    if not ID_PATTERN.fullmatch(provider.name):
        yield "name: expected letters, digits, _ and -, at most 128"
    elif provider.name in RESERVED_NAMES:
        yield f"name: {provider.name} is taken; choose another"


def _not_twice(provider: OidcProvider, before: Sequence[OidcProvider]) -> Iterator[str]:
    if provider.name in {other.name for other in before}:
        yield f"name: {provider.name} stands here twice"
    if (provider.issuer, provider.kind) in {(other.issuer, other.kind) for other in before}:
        yield "issuer: there is a provider with this issuer and kind already"


def _urls(provider: OidcProvider, *, development: bool) -> Iterator[str]:
    for name, url in (("issuer", provider.issuer), ("jwks_uri", provider.jwks_uri)):
        if (url or name == "issuer") and not _is_safe(url, development=development):
            yield f"{name}: expected an https URL (http: on loopback, in development), got {url!r}"
    if provider.discovery == bool(provider.jwks_uri):
        yield "jwks_uri: expected either jwks_uri or discovery = true"


def _is_safe(url: str, *, development: bool) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
        whole = bool(host) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    bare = whole and parts.username is None and "?" not in url and "#" not in url
    return bare and (parts.scheme == "https" or (parts.scheme == "http" and development and is_loopback(host or "")))


def _algorithms(provider: OidcProvider) -> Iterator[str]:
    if not provider.algorithms:
        yield "algorithms: expected at least one"
    for algorithm in provider.algorithms:
        if algorithm not in OIDC_ALGORITHMS:
            yield f"algorithms: expected some of {', '.join(OIDC_ALGORITHMS)}, got {algorithm!r}"


def _audience(provider: OidcProvider) -> Iterator[str]:
    """How a token says that it is for us."""
    if provider.check_audience and not any(provider.audiences):
        yield "audiences: required: the client id of our clients (id_token), or what access tokens for us name"
    if provider.kind == "id_token":
        for name in ("required_scope", "client_ids"):
            if getattr(provider, name):
                yield f"{name}: is for kind = access_token"
        if not provider.check_audience:
            yield "check_audience: must not be false for kind = id_token"
    elif not provider.check_audience and not provider.required_scope:
        yield "required_scope: required with check_audience = false: else any token of this issuer would do"
    if " " in provider.required_scope:
        yield "required_scope: expected one word"


def _inbox(provider: OidcProvider, *, development: bool) -> Iterator[str]:
    """What the page at /inbox/ is told must be what its tokens are then checked for."""
    client_id, origin = provider.inbox_client_id, provider.inbox_token_origin
    allowed = provider.audiences if provider.kind == "id_token" else provider.client_ids
    if client_id and allowed and client_id not in allowed:
        yield f"inbox_client_id: must be one of {'audiences' if provider.kind == 'id_token' else 'client_ids'}"
    if origin and not client_id:
        yield "inbox_token_origin: means nothing without inbox_client_id"
    if origin and (not _is_safe(origin, development=development) or urlsplit(origin).path):
        yield f"inbox_token_origin: expected an https origin (http: on loopback, in development), got {origin!r}"
