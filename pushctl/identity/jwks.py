"""The keys of one OpenID provider, fetched and kept: fresh enough to follow it, old enough to do without it.

Owns: when its document is fetched, how long the keys serve, and discovery. Each process has its own; nothing is shared.
Promises: a key, or LoginRefused `unknown_key` or `issuer_unavailable`. However many ask at once, one fetch is under
way, and key ids that somebody makes up cause at most one in UNKNOWN_KID_SECONDS. While the provider is away its last
keys serve for OUTAGE_SECONDS more; a key it withdrew goes with the document's age.
Must not know: tokens beyond `alg` and `kid`; how a document travels (fetch.py).
"""

from collections.abc import Callable
from typing import Final, Protocol

import trio

from pushctl import log
from pushctl.config.model import OidcProvider
from pushctl.identity.fetch import JSON, Document, FetchFailed, FetchRules
from pushctl.identity.jwk import ProviderKey, choose_key, parse_keys
from pushctl.identity.jws import parse_object
from pushctl.identity.refusal import LoginRefused

DEFAULT_SECONDS: Final = 600.0
LEAST_SECONDS: Final = 60.0
MOST_SECONDS: Final = 86_400.0
"""How long a document is fresh: its max-age between the two, or the default."""

OUTAGE_SECONDS: Final = 86_400.0
UNKNOWN_KID_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 10.0
"""After a fetch that failed."""

MAX_BYTES: Final = 131_072
FETCH_SECONDS: Final = 5.0
CONTENT_TYPES: Final = JSON | {"application/jwk-set+json"}

_log = log.get_logger()


def fetch_rules(*, allow_http_loopback: bool) -> FetchRules:
    """The operator wrote these URLs, so they may lead into a private network."""
    return FetchRules(
        max_bytes=MAX_BYTES,
        timeout_seconds=FETCH_SECONDS,
        networks="any",
        content_types=CONTENT_TYPES,
        allow_http_loopback=allow_http_loopback,
    )


def discovery_url(issuer: str) -> str:
    """Where an issuer's metadata is (OpenID Connect Discovery, section 4)."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


class Fetches(Protocol):
    """What fetch.Fetcher is."""

    async def get(self, url: str) -> Document: ...


class ProviderKeys:
    """`now`: seconds of a clock that is never set back."""

    def __init__(self, provider: OidcProvider, fetcher: Fetches, now: Callable[[], float] = trio.current_time) -> None:
        self._provider = provider
        self._fetcher = fetcher
        self._now = now
        self._lock = trio.Lock()
        self._keys: tuple[ProviderKey, ...] = ()
        self._fetched = False
        self._fetched_at = float("-inf")
        self.fetches = {"ok": 0, "failed": 0}
        """How many there were, by outcome."""
        self._jwks_uri = provider.jwks_uri
        self._fresh_until = self._tried_at = self._asked_for_kid_at = float("-inf")

    async def key(self, alg: str, kid: str | None) -> ProviderKey:
        """The key that a token with this header is checked with. Raises LoginRefused."""
        await self._refresh_if(self._is_old, join=not self._fetched)
        found = self._choose(alg, kid)
        if found is None:
            await self._refresh_if(
                lambda: self._choose(alg, kid) is None and self._may_ask_for_kid(), for_kid=True, join=True
            )
            found = self._choose(alg, kid)
        if found is None:
            raise LoginRefused("unknown_key")
        return found

    @property
    def age_seconds(self) -> float | None:
        """Since the keys were last fetched; None: they never were."""
        return self._now() - self._fetched_at if self._fetched else None

    async def warm(self) -> None:
        """Fetches, so that the first login need not wait. It may fail; the next login tries again."""
        await self._refresh_if(self._is_old)

    def _choose(self, alg: str, kid: str | None) -> ProviderKey | None:
        if not self._fetched or self._now() >= self._fresh_until + OUTAGE_SECONDS:
            raise LoginRefused("issuer_unavailable", f"{self._provider.name}: no keys that may still be used")
        return choose_key(self._keys, alg, kid)

    def _is_old(self) -> bool:
        return self._now() >= max(self._fresh_until, self._tried_at + RETRY_SECONDS)

    def _may_ask_for_kid(self) -> bool:
        return self._now() >= self._asked_for_kid_at + UNKNOWN_KID_SECONDS

    async def _refresh_if(self, due: Callable[[], bool], *, for_kid: bool = False, join: bool = False) -> None:
        """`join`: a fetch that is under way is waited for, whatever it is for; it may bring what is missing."""
        if not due() and not (join and self._lock.locked()):
            await trio.lowlevel.checkpoint()
            return
        async with self._lock:
            if not due():  # somebody else has done it meanwhile
                return
            # Before the fetch: one that is cut off counts, so that hanging up early buys nobody a fetch more.
            self._tried_at = self._now()
            if for_kid:
                self._asked_for_kid_at = self._tried_at
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            document = await self._fetcher.get(await self._uri())
            keys = parse_keys(document.body, self._provider.algorithms)
        except (FetchFailed, ValueError) as error:
            self.fetches["failed"] += 1
            self._jwks_uri = self._provider.jwks_uri  # where it is discovered, it may have moved
            _log.warning("provider_keys_unavailable", provider=self._provider.name, detail=str(error))
            return
        self.fetches["ok"] += 1
        self._keys, self._fetched, self._fetched_at = keys, True, self._now()
        age = DEFAULT_SECONDS if document.max_age_seconds is None else float(document.max_age_seconds)
        self._fresh_until = self._now() + min(max(age, LEAST_SECONDS), MOST_SECONDS)

    async def _uri(self) -> str:
        if not self._jwks_uri:
            self._jwks_uri = await self._discover()
        return self._jwks_uri

    async def _discover(self) -> str:
        """`jwks_uri` of the provider's metadata, of which nothing else is taken. FetchFailed or ValueError."""
        document = await self._fetcher.get(discovery_url(self._provider.issuer))
        metadata = parse_object(document.body)
        if metadata.get("issuer") != self._provider.issuer:
            raise ValueError("the metadata is another issuer's")
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str):
            raise ValueError("the metadata has no jwks_uri")
        return uri
