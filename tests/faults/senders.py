"""Third parties at a steady pace: one POST after another over keep-alive connections, now to one api, now to another.

Owns: what a site makes of an answer. Promises: every answer is in the ledger; a refused message is sent again only with
its Idempotency-Key, or not at all: the next one is another message. Must not know: who receives.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

import httpx
import trio

from tests.faults.ledger import Ledger

ANSWER_SECONDS = 6.0
"""A site gives up waiting for an answer."""

PATIENCE_SECONDS = 20.0
"""A site gives up repeating."""

EPHEMERAL_PART = 0.15
KEYED_PART = 0.4
TTLS = (None, 3600, 86_400)
"""None: the service's maximum."""


@dataclass(frozen=True, slots=True)
class Target:
    user: str
    path: str
    """of the push URL; any api takes it"""


@dataclass(slots=True)
class Mail:
    """What all sites share."""

    apis: list[str]
    targets: list[Target]
    ledger: Ledger
    pause_seconds: float
    """Between two messages of a site, on average."""
    over: bool = False
    refusals: list[tuple[float, str]] = field(default_factory=list)
    """When a POST was not answered 201, and what it was answered."""
    answers: Counter[str] = field(default_factory=Counter)


class Site:
    def __init__(self, name: str, mail: Mail, chance: random.Random) -> None:
        self._name = name
        self._mail = mail
        self._chance = chance
        self._posts = 0

    async def run(self) -> None:
        """Until the mail is over; what was begun is finished."""
        limits = httpx.Limits(max_keepalive_connections=10, keepalive_expiry=60)
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS, limits=limits, trust_env=False) as http:
            number = 0
            while not self._mail.over:
                number += 1
                await self._send(http, f"{self._name}-{number}")
                await trio.sleep(self._chance.uniform(0, 2 * self._mail.pause_seconds))

    async def _send(self, http: httpx.AsyncClient, name: str) -> None:
        target = self._chance.choice(self._mail.targets)
        ephemeral = self._chance.random() < EPHEMERAL_PART
        ttl = 0 if ephemeral else self._chance.choice(TTLS)
        headers = {} if ttl is None else {"TTL": str(ttl)}
        keyed = not ephemeral and self._chance.random() < KEYED_PART
        if keyed:
            headers["Idempotency-Key"] = name
        self._mail.ledger.sending(name, target.user, 1 if ttl is None else ttl, trio.current_time())
        give_up = trio.current_time() + PATIENCE_SECONDS
        while (pause := await self._post(http, target, name, headers)) is not None:
            if not keyed or trio.current_time() + pause > give_up:
                return
            await trio.sleep(pause)

    async def _post(self, http: httpx.AsyncClient, target: Target, name: str, headers: dict[str, str]) -> float | None:
        """None when it was accepted, else after how many seconds one may ask again."""
        api = self._mail.apis[self._posts % len(self._mail.apis)]
        self._posts += 1
        try:
            answer = await http.post(api + target.path, json={"title": "t", "body": name}, headers=headers)
        except httpx.TransportError as error:
            self._refused(type(error).__name__)
            return self._chance.uniform(0.05, 0.3)
        self._mail.answers[str(answer.status_code)] += 1
        if answer.status_code == 201:
            id_ = answer.headers["Location"].rpartition("/")[2]
            self._mail.ledger.accepted(name, id_, trio.current_time())
            return None
        self._refused(str(answer.status_code))
        if answer.status_code != 503:
            text = f"{name} was answered {answer.status_code}: {answer.text}"
            self._mail.ledger.note("answer", text, trio.current_time())
        return float(answer.headers.get("Retry-After", 0)) + self._chance.uniform(0, 0.3)

    def _refused(self, what: str) -> None:
        self._mail.refusals.append((trio.current_time(), what))
