"""From an `Authorization` header to who logs in.

Owns: which schemes are accepted, and which issuers and audiences this installation believes.
Promises: every mistake of the configuration is found at construction; nothing but a Problem leaves `verify`.
Must not know: sessions, storage. Refusing a second use of a `replay_digest` is the caller's, after `verify` returned.
Waits for a network only where issuers are discovered (discovery.py), or for the keys of OpenID providers
(oidc_logins.py); each is imported only where it is configured.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import trio

from pushctl.clock import Clock
from pushctl.config.model import Browserid, BrowseridDiscover, Config
from pushctl.config.oidc_rules import active_providers
from pushctl.errors import BodyInvalid, ConfigError, Unauthenticated
from pushctl.identity.browserid import Verified, Verifier
from pushctl.identity.issuers import DEV_IDP_DOMAIN, domain_mistake, load_issuers
from pushctl.identity.principals import BROWSERID, BROWSERID_DEV, OIDC, Principal
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.support import Authority
from pushctl.identity.syntax import Origin
from pushctl.log import get_logger

if TYPE_CHECKING:  # a production process never imports the development provider
    from pushctl.identity.dev_idp import DevIdp
    from pushctl.identity.discovery import Discovery
    from pushctl.identity.oidc_logins import OidcLogins

_FIELD = "Authorization"

log = get_logger(part="identity")


class Login(msgspec.Struct, frozen=True):
    """A verified login. `expires_at_ms`: of the credential, not of the session it may be traded for.

    `replay_digest` must not be seen twice within `keep_replay_ms` from now (at least 1).
    `provider`: what vouched for it, by its name in the configuration; `browserid` or `browserid-dev` otherwise.
    `generation`: the provider's count of this account's sign-outs and password changes, if it keeps one: a smaller one
    than the largest seen is refused, a larger one ends the sessions from before.
    """

    principal: Principal
    expires_at_ms: int
    replay_digest: str
    keep_replay_ms: int
    provider: str
    generation: int | None = None


class IdentityVerifier:
    """Verifies what `POST /v1/login` is given.

    `public_url`: the origin that assertions must be made for, when it is not `api.public_url` (a port picked at start).
    Reads the issuer files; raises ConfigError with a line for each mistake.
    """

    def __init__(
        self, config: Config, clock: Clock, dev_idp: "DevIdp | None" = None, *, public_url: str | None = None
    ) -> None:
        settings = config.identity.browserid
        self._clock = clock
        self._skew_ms = settings.clock_skew_seconds * 1000
        audiences, self._authorities = _checked(config, config.api.public_url if public_url is None else public_url)
        self._discovery = _discovery(settings, self._authorities) if settings.enabled else None
        self.providers = _oidc(config)
        """The OpenID providers; None without any."""
        if dev_idp is not None:
            self._authorities[DEV_IDP_DOMAIN] = dev_idp.authority
        self.audience = audiences[0]
        """An origin that assertions may be for."""
        self._browserid = Verifier(
            self._authorities,
            audiences,
            skew_ms=self._skew_ms,
            max_assertion_ms=settings.max_assertion_lifetime_seconds * 1000,
            max_certificate_ms=settings.max_certificate_lifetime_seconds * 1000,
            max_bundle_bytes=settings.max_bundle_bytes,
            algorithms=settings.algorithms,
        )

    async def verify(self, authorization: str | None, provider: str | None) -> Login:
        """Who logs in with this header. Raises LoginRefused, Unauthenticated, or BodyInvalid for `provider`."""
        await trio.lowlevel.checkpoint()
        try:
            return await self._login_by(authorization or "", provider)
        except LoginRefused as refused:
            log.info("login_refused", code=refused.code, reason=refused.reason)
            raise

    async def _login_by(self, authorization: str, provider: str | None) -> Login:
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            if self.providers is None:
                raise Unauthenticated("no OIDC provider is configured here; log in with BrowserID", field=_FIELD)
            return await self._by_token(self.providers, credentials.strip(" "), provider)
        if scheme.lower() != "browserid":
            raise Unauthenticated("log in with `Authorization: BrowserID <assertion>`", field=_FIELD)
        if provider is not None:
            raise BodyInvalid("names an OIDC provider; leave it null with a BrowserID assertion", field="$.provider")
        now_ms = self._clock()
        return self._login(await self._verified(credentials.strip(" "), now_ms), now_ms)

    async def _verified(self, bundle: str, now_ms: int) -> Verified:
        """All that costs nothing is checked before anybody is asked."""
        if self._discovery is None:
            return self._browserid.verify(bundle, now_ms)
        candidate = self._browserid.examine(bundle, now_ms)
        authority = await self._discovery.find(candidate.domain)
        try:
            return self._browserid.conclude(candidate, authority)
        except LoginRefused as refused:
            if refused.code != "invalid_certificate_signature":
                raise
            newer = await self._discovery.find_newer(candidate.domain, authority)
            if newer is None:
                raise
        return self._browserid.conclude(candidate, newer)

    async def warm(self) -> None:
        """Gets ready what a first login would wait for. Nothing of it needs to succeed."""
        if self.providers is not None:
            await self.providers.warm()

    async def _by_token(self, logins: "OidcLogins", token: str, provider: str | None) -> Login:
        now_ms = self._clock()
        settings, verified = await logins.verify(token, provider, now_ms)
        return Login(
            Principal(OIDC, settings.issuer, verified.subject),
            verified.expires_at_ms,
            verified.replay_digest,
            # As below: an access token, too, opens one session only.
            max(1, verified.expires_at_ms + 2 * logins.leeway_ms - now_ms),
            settings.name,
            verified.generation,
        )

    def _login(self, verified: Verified, now_ms: int) -> Login:
        kind = BROWSERID_DEV if verified.issuer == DEV_IDP_DOMAIN else BROWSERID
        # The assertion is accepted until its end plus the skew by our clock, and by that of another api server that is
        # behind by as much again.
        keep_replay_ms = max(1, verified.expires_at_ms + 2 * self._skew_ms - now_ms)
        return Login(
            Principal(kind, "", verified.email), verified.expires_at_ms, verified.replay_digest, keep_replay_ms, kind
        )


def _oidc(config: Config) -> "OidcLogins | None":
    """None, and nothing imported, where there is no provider."""
    if not active_providers(config):
        return None
    from pushctl.identity.oidc_logins import OidcLogins

    return OidcLogins(config)


def _checked(config: Config, public_url: str) -> tuple[tuple[str, ...], dict[str, Authority]]:
    """(our origins, who signs for which domain), or every mistake in both at once."""
    settings = config.identity.browserid
    mistakes: list[str] = []
    audiences = settings.audiences or (public_url,)
    for audience in audiences:
        try:
            Origin.parse(audience)
        except ValueError:
            path = "identity.browserid.audiences" if settings.audiences else "api.public_url"
            mistakes.append(f"{path}: {audience!r}: expected an origin such as https://push.example.net")
    authorities: dict[str, Authority] = {}
    if settings.enabled:
        mistakes += _discover_mistakes(settings.discover)
        try:
            authorities = load_issuers(settings.issuers, settings.algorithms)
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)
    return audiences, authorities


def _discover_mistakes(discover: BrowseridDiscover) -> list[str]:
    path = "identity.browserid.discover"
    named = [(f"{path}.allow_domains", domain) for domain in discover.allow_domains]
    if discover.fallback:
        named.append((f"{path}.fallback", discover.fallback))
    return [f"{key}: {domain!r}: {mistake}" for key, domain in named if (mistake := domain_mistake(domain))]


def _discovery(settings: Browserid, known: Mapping[str, Authority]) -> "Discovery | None":
    """Raises ConfigError."""
    if settings.mode != "discover":
        return None
    from pushctl.identity.discovery import Discovery

    ca_file = settings.discover.ca_file
    try:
        return Discovery(settings.discover, known, settings.algorithms)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError([f"identity.browserid.discover.ca_file: {ca_file}: no certificates: {reason}"]) from None
