"""The configured OpenID providers, and log-ins by them.

Owns: which provider a login is for. It is what the login says, or the only one there is; never what an unverified token
says of itself.
Promises: nothing but a Problem leaves `verify`. Must not know: sessions, storage, how a token is checked (oidc.py).
"""

from collections import Counter
from dataclasses import dataclass

import trio

from pushctl.config.model import Config, OidcProvider
from pushctl.config.oidc_rules import active_providers
from pushctl.errors import BodyInvalid
from pushctl.identity import oidc
from pushctl.identity.fetch import Fetcher
from pushctl.identity.jwks import Fetches, ProviderKeys, fetch_rules


@dataclass(frozen=True, slots=True)
class _Entry:
    provider: OidcProvider
    keys: ProviderKeys


class OidcLogins:
    """Verifies tokens. `fetcher`: how documents of providers are got; None: by the rules of jwks.py."""

    def __init__(self, config: Config, fetcher: Fetches | None = None) -> None:
        self._leeway_ms = config.identity.oidc.leeway_seconds * 1000
        if fetcher is None:
            development = config.identity.environment == "development"
            fetcher = Fetcher(fetch_rules(allow_http_loopback=development))
        self._entries = {each.name: _Entry(each, ProviderKeys(each, fetcher)) for each in active_providers(config)}

    @property
    def leeway_ms(self) -> int:
        return self._leeway_ms

    def fetches(self) -> Counter[str]:
        """Fetches of providers' keys so far, by outcome; those that never came about with 0."""
        found: Counter[str] = Counter()
        for entry in self._entries.values():
            found.update(entry.keys.fetches)  # a sum of counters leaves zeros out
        return found

    def key_ages(self) -> dict[str, float]:
        """Seconds since a provider's keys were fetched, of those whose keys ever were."""
        ages = {name: entry.keys.age_seconds for name, entry in self._entries.items()}
        return {name: age for name, age in ages.items() if age is not None}

    async def warm(self) -> None:
        """Fetches the keys of every provider. Those that cannot be had now are asked again at the first login."""
        async with trio.open_nursery() as nursery:
            for entry in self._entries.values():
                nursery.start_soon(entry.keys.warm)

    async def verify(self, text: str, name: str | None, now_ms: int) -> tuple[OidcProvider, oidc.VerifiedToken]:
        """Who logs in, and by which provider. Raises LoginRefused, or BodyInvalid for `name`."""
        entry = self._entry(name)
        token = oidc.examine(text, entry.provider)
        key = await entry.keys.key(token.alg, token.kid)
        return entry.provider, oidc.conclude(token, key, entry.provider, now_ms=now_ms, leeway_ms=self._leeway_ms)

    def _entry(self, name: str | None) -> _Entry:
        names = ", ".join(self._entries)
        if name is None and len(self._entries) > 1:
            raise BodyInvalid(f"say which provider the token is from: {names}", field="$.provider")
        entry = next(iter(self._entries.values())) if name is None else self._entries.get(name)
        if entry is None:
            raise BodyInvalid(f"no such provider here; there is: {names}", field="$.provider")
        return entry
