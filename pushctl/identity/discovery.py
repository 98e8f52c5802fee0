"""Who may speak for an e-mail domain, asked of the domain itself.

Owns: which names may be asked, the caches of their answers, how many are asked at a time, and the fallback.
Promises: a login waits no longer than `timeout_seconds`, here and for the network together. One fetch at a time for a
domain, whoever waits for it; `max_concurrent` in all. What is remembered is bounded, whatever is asked for. Only a
domain that has no BrowserID falls back: one that cannot be asked, or answers nonsense, never does, or whoever disturbs
its answers could speak for it.
Must not know: assertions. How a document travels is fetch.py's.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from pushctl.config.model import BrowseridDiscover
from pushctl.identity.answers import Answer, Key, Memory
from pushctl.identity.fetch import Document, Fetcher, FetchFailed, FetchRules, Why
from pushctl.identity.refusal import LoginCode, LoginRefused
from pushctl.identity.support import Authority, SupportDocument, delegation, parse_document
from pushctl.identity.syntax import is_domain

LEAST_POSITIVE_SECONDS: Final = 300.0
FAILURE_SECONDS: Final = 10.0
FRESH_SECONDS: Final = 60.0
"""A document younger than this is not fetched again because of a signature that does not hold."""

_RESERVED: Final = frozenset({"alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion", "test"})
"""Top labels under which nobody on the Internet has a name (RFC 6761, 6762, 7686, 9476; ICANN for internal)."""


@dataclass(slots=True)
class _Turn:
    """Whose turn it is to fetch for a key, and how many wait: forgotten with the last."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    waiting: int = 0


class Discovery:
    """Asks by the rules of `[identity.browserid.discover]`.

    `known`: the configured issuers, which are never asked. `algorithms`: those whose keys are looked at closely.
    OSError if `ca_file` cannot be read or holds no certificate. `fetcher`, `clock` (seconds): for tests.
    """

    def __init__(
        self,
        settings: BrowseridDiscover,
        known: Mapping[str, Authority],
        algorithms: Collection[str],
        *,
        fetcher: Fetcher | None = None,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._settings = settings
        self._known = known
        self._algorithms = algorithms
        self._fetcher = fetcher or Fetcher(rules_of(settings))
        self._clock = clock
        self._documents, self._failures = Memory(), Memory()
        self._turns: dict[Key, _Turn] = {}
        self._fetching = trio.Semaphore(settings.max_concurrent)

    async def find(self, domain: str) -> Authority:
        """Who signs for addresses of `domain`. Raises LoginRefused with a word of step 8."""
        if domain in self._known:
            return self._known[domain]
        settings = self._settings
        if is_reserved(domain) or (settings.allow_domains and domain not in settings.allow_domains):
            raise LoginRefused("no_browserid_support", "this domain is not asked")
        deadline = trio.current_time() + settings.timeout_seconds
        try:
            return await self._follow(domain, domain, deadline)
        except LoginRefused as refused:
            if refused.code != "no_browserid_support" or not settings.fallback:
                raise
        return await self._follow(settings.fallback, domain, deadline)

    async def find_newer(self, domain: str, authority: Authority) -> Authority | None:
        """The authority once more, after a signature did not hold with those keys: it may have changed them.

        None: they are the newest that can be had. Asks no more than once in FRESH_SECONDS.
        """
        key = (authority.name, domain)
        deadline = trio.current_time() + self._settings.timeout_seconds
        async with self._turn(key, deadline):
            if authority.name in self._known or not await self._renewed(key, authority, deadline):
                return None
        return await self.find(domain)

    async def _renewed(self, key: Key, authority: Authority, deadline: float) -> bool:
        """Whether there is something newer than these keys now. Only in this key's turn."""
        answer = self._documents.get(key, self._clock())
        if answer is None:
            return True  # forgotten meanwhile: it will be asked for
        if self._clock() - answer.asked_at < FRESH_SECONDS:
            return isinstance(answer.outcome, SupportDocument) and answer.outcome.keys != authority.keys
        newer = await self._ask(key, deadline)
        if newer.code == "issuer_unavailable":
            # Those at hand stay good: who disturbs the network must not take them away by a bad signature.
            self._documents.put(key, replace(answer, asked_at=newer.asked_at))
            return False
        self._remember(key, newer)
        return True

    async def _follow(self, first: str, domain: str, deadline: float) -> Authority:
        """The walk from `first`, for addresses of `domain`."""
        walk = delegation(first, self._settings.max_delegations)
        name = next(walk)
        while True:
            if name != first and is_reserved(name):
                raise LoginRefused("invalid_support_document", "a domain delegates to a reserved name")
            document = self._configured(name) or await self._document((name, domain), deadline)
            try:
                name = walk.send(document)
            except StopIteration as end:
                found: Authority = end.value
                return found

    def _configured(self, name: str) -> SupportDocument | None:
        """An issuer of the configuration whom somebody delegates to: its keys are known."""
        authority = self._known.get(name)
        return SupportDocument(authority.keys) if authority is not None and authority.name == name else None

    async def _document(self, key: Key, deadline: float) -> SupportDocument:
        answer = self._remembered(key)
        if answer is None:
            async with self._turn(key, deadline):
                answer = self._remembered(key)  # whoever had the turn before has asked
                if answer is None:
                    answer = await self._ask(key, deadline)
                    self._remember(key, answer)
        if isinstance(answer.outcome, LoginRefused):
            raise LoginRefused(answer.outcome.code, answer.outcome.reason)
        return answer.outcome

    def _remembered(self, key: Key) -> Answer | None:
        now = self._clock()
        return self._documents.get(key, now) or self._failures.get(key, now)

    def _remember(self, key: Key, answer: Answer) -> None:
        (self._documents if answer.is_document else self._failures).put(key, answer)
        (self._failures if answer.is_document else self._documents).drop(key)

    @asynccontextmanager
    async def _turn(self, key: Key, deadline: float) -> AsyncIterator[None]:
        """One at a time for a key, and not too many at once."""
        turn = self._turns.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with _until(turn.lock, deadline), _until(self._fetching, deadline):
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                self._turns.pop(key, None)

    async def _ask(self, key: Key, deadline: float) -> Answer:
        name, domain = key
        outcome: SupportDocument | LoginRefused = LoginRefused("issuer_unavailable", f"{name}: no answer in time")
        max_age: int | None = None
        with trio.move_on_at(deadline):
            try:
                fetched = await self._fetcher.get(f"https://{name}/.well-known/browserid?domain={domain}")
                outcome, max_age = self._parsed(fetched), fetched.max_age_seconds
            except FetchFailed as failed:
                outcome = _refusal(name, failed)
            except LoginRefused as refused:
                outcome = LoginRefused(refused.code, f"{name}: {refused.reason}")
        now = self._clock()
        return Answer(outcome, now, now + self._keep_seconds(outcome, max_age))

    def _parsed(self, fetched: Document) -> SupportDocument:
        return parse_document(fetched.body, self._algorithms, published=True)

    def _keep_seconds(self, outcome: SupportDocument | LoginRefused, max_age: int | None) -> float:
        if isinstance(outcome, LoginRefused):
            is_outage = outcome.code == "issuer_unavailable"
            return FAILURE_SECONDS if is_outage else self._settings.cache_negative_seconds
        most = self._settings.cache_positive_seconds
        return most if max_age is None else min(most, max(LEAST_POSITIVE_SECONDS, max_age))


def rules_of(settings: BrowseridDiscover) -> FetchRules:
    """A stranger names the domain: nothing but the open Internet is connected to."""
    return FetchRules(
        max_bytes=settings.max_document_bytes,
        timeout_seconds=settings.timeout_seconds,
        networks="public",
        ca_file=settings.ca_file,
    )


def is_reserved(domain: str) -> bool:
    """Whether nobody on the Internet can have this name: no use asking for it, and here it may mean something."""
    return not is_domain(domain) or domain.rpartition(".")[2] in _RESERVED


@asynccontextmanager
async def _until(one: trio.Lock | trio.Semaphore, deadline: float) -> AsyncIterator[None]:
    with trio.move_on_at(deadline) as scope:
        await one.acquire()
    if scope.cancelled_caught:
        raise LoginRefused("issuer_unavailable", "too many issuers are asked at the moment")
    try:
        yield
    finally:
        one.release()


_CODES: Final[Mapping[Why, LoginCode]] = {
    "absent": "no_browserid_support",
    "invalid": "invalid_support_document",
    "unavailable": "issuer_unavailable",
}


def _refusal(name: str, failed: FetchFailed) -> LoginRefused:
    return LoginRefused(_CODES[failed.why], f"{name}: {failed}")
