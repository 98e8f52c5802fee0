"""A swarm: thousands of simulated devices in one process, from their logins to what became of their messages.

Owns: the phases (log in, arrive, stay, check, clear up), their pace, and who takes part.
Promises: devices arrive at the rate that was asked for, whatever becomes of those before; requests go out a bounded
number at a time, so the api is as busy as it can be and never has a queue of ours; an interrupt ends the phase at hand
and still gives a report; the accounts that were made are deleted at the end.
Must not know: terminals, how a report is shown.

One RSA key serves the whole swarm and one certificate each user: making a key costs 60 ms, and the verifier must do the
same work for every assertion whoever signed it.
"""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from random import random as uniform
from typing import TYPE_CHECKING, Final

import httpx
import trio

from pushctl.client.api import Api, LoggedIn
from pushctl.client.ledger import DeviceLedger, Heard, UserLedger, hear_nothing
from pushctl.client.login import assertion_by, dev_certificate
from pushctl.client.member import Member, Surroundings
from pushctl.client.persistence import AT_ONCE, Persistence, by_several
from pushctl.client.phase import Phase
from pushctl.client.report import Report, Tally, report
from pushctl.client.verdict import judge, lacking, unread_ids
from pushctl.clock import Clock, system_clock
from pushctl.errors import Failed
from pushctl.open_files import raise_open_file_limit
from pushctl.protocol.frames import Urgency
from pushctl.protocol.peer import Peer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

SETTLE_SECONDS: Final = 3.0
"""For messages that are on their way when the run ends."""

LEAST_BOUND_SECONDS: Final = 60.0
BOUND_SECONDS_EACH: Final = 0.05
"""Checking and clearing up may take so long, and so much longer for each user."""

SPARE_FILES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a swarm is to do. `arrivals`: devices a second. `site`: each user allows it; None: none.

    `read_share`: of the messages, by each device for itself.
    """

    api_url: str
    boxoffice_url: str
    users: int
    devices: int
    seconds: float
    arrivals: float
    site: str | None = None
    read_share: float = 0.0
    min_urgency: Urgency = "very-low"
    keep: bool = False
    connects: bool = True
    """False: they only log in, and nobody is there to receive."""


@dataclass(slots=True)
class User:
    name: str
    ledger: UserLedger = field(default_factory=UserLedger)
    members: list[Member] = field(default_factory=list)


def need_open_files(connections: int) -> None:
    """Raises the limit as far as it goes. Failed if that is not enough."""
    needed, limit = connections + SPARE_FILES, raise_open_file_limit()
    if limit < needed:
        raise Failed(
            f"{connections:,} connections need {needed:,} open files, and this process may have {limit:,}: run"
            f" `ulimit -Hn {needed}` as root in this shell before, or several smaller swarms"
        )


class Fleet:
    """Call `run` once, `interrupt` at any moment from another task."""

    def __init__(
        self,
        plan: Plan,
        client: httpx.AsyncClient,
        *,
        clock: Clock = system_clock,
        random: Callable[[], float] = uniform,
        ready: Callable[[list[str]], None] = lambda push_urls: None,
        meanwhile: Callable[[], Awaitable[None]] | None = None,
        heard: Heard = hear_nothing,
        moved: Callable[[Member], None] = lambda member: None,
    ) -> None:
        """`ready` is given the push URLs, one for each user who has one, when all are logged in. `meanwhile`: what is
        done once all set out; None: they stay for as long as the plan says. `heard` is told of each message that comes
        as it is sent, `moved` of each device that is up to date now, or not any more."""
        self.plan = plan
        self.tally = Tally()
        self.phase = Phase("starting", 0)
        self.on_phase: Callable[[Phase], None] = lambda phase: None
        """Called when a phase begins."""
        self.users: list[User] = []
        self._api = Api(client, plan.api_url, plan.boxoffice_url)
        self._around = Surroundings(self._api, trio.CapacityLimiter(AT_ONCE), self.tally, plan.min_urgency, self._moved)
        self._persistence = Persistence(self.tally, random)
        self._clock = clock
        self._random = random
        self._ready = ready
        self._meanwhile = meanwhile or self._stay
        self._heard = heard
        self._on_moved = moved
        self._somebody_moved = trio.Event()
        self._push_urls: list[str] = []
        self._key: RSAPrivateKey
        self._set_out_at = inf
        self.login_seconds = 0.0
        self._seconds = 0.0
        self._acting, self._checking, self._clearing = (trio.CancelScope() for _ in range(3))

    def interrupt(self) -> None:
        """Once: no more logins, arrivals or waiting, but the check. Again: neither that, nor clearing up."""
        if not self._acting.cancel_called:
            self._acting.cancel()
        else:
            self._checking.cancel()
            self._clearing.cancel()

    @property
    def was_interrupted(self) -> bool:
        return self._acting.cancel_called

    async def run(self) -> Report:
        """The whole of it. Raises Unreachable if there is no service, Failed if it lets nobody in."""
        devices = self.plan.users * self.plan.devices
        need_open_files(devices)
        async with trio.open_nursery() as nursery:
            with self._acting:
                await self._log_in()
                self._ready(self._push_urls)
                if self.plan.connects:
                    await self._arrive(nursery)
                await self._meanwhile()
            self._seconds = max(0.0, trio.current_time() - self._set_out_at)
            if self.plan.connects:
                with self._bounded(self._checking):
                    await self._check()
            found = report(self.tally, users=self.plan.users, devices=devices, seconds=self._seconds)
            # While they are connected: so they leave at the pace of deletions, not ten thousand of them at once.
            if not self.plan.keep:
                with self._bounded(self._clearing):
                    await self._clear_up()
            nursery.cancel_scope.cancel()
        return found

    async def _stay(self) -> None:
        self.begin(Phase("staying", 0, ends_at=trio.current_time() + self.plan.seconds))
        await trio.sleep(self.plan.seconds)

    def begin(self, phase: Phase) -> None:
        """Also for who does something meanwhile."""
        self.phase = phase
        self.on_phase(phase)

    def _bounded(self, phase: trio.CancelScope) -> trio.CancelScope:
        """For phases that can do without a service that is not well any more."""
        phase.deadline = trio.current_time() + LEAST_BOUND_SECONDS + BOUND_SECONDS_EACH * len(self.users)
        return phase

    # --- logging in --------------------------------------------------------------------------------------------------

    async def _log_in(self) -> None:
        from pushctl.identity.browserid_make import make_key

        self._key = await trio.to_thread.run_sync(make_key)
        self.begin(Phase("logging in", self.plan.users * self.plan.devices))
        began = trio.current_time()
        name = f"swarm-{secrets.token_hex(4)}"
        users = iter([User(f"{name}-{number}") for number in range(self.plan.users)])
        # The first alone: if nobody can log in, that is said once.
        await self._log_in_user(next(users))
        await by_several(users, self._log_in_user)
        self.login_seconds = trio.current_time() - began

    async def _log_in_user(self, user: User) -> None:
        certificate = await self._persistence.ask(lambda: dev_certificate(self._api, user.name, self._key))
        for number in range(self.plan.devices):
            opened = await self._persistence.ask(lambda number=number: self._log_in_device(certificate, number))  # type: ignore[misc]  # bound now
            ledger = DeviceLedger(
                user.ledger, number, self.tally, clock=self._clock, wants_to_read=self._wants_to_read, heard=self._heard
            )
            user.members.append(Member(self._around, Peer(self._random), ledger, opened.token))
            if number == 0:
                self.users.append(user)
            self.tally.logged_in += 1
            self.phase.done += 1
        site = self.plan.site
        if site is not None:
            push_url, _ = await self._persistence.ask(lambda: self._api.allow(user.members[0].token, site, None))
            self._push_urls.append(push_url.url)

    async def _log_in_device(self, certificate: str, number: int) -> LoggedIn:
        assertion = assertion_by(self._key, certificate, self._api.audience, self._clock)
        return await self._api.login(f"BrowserID {assertion}", f"device {number + 1}", None)

    def _wants_to_read(self) -> bool:
        share = self.plan.read_share
        return share > 0 and self._random() < share

    # --- arriving ----------------------------------------------------------------------------------------------------

    async def _arrive(self, nursery: trio.Nursery) -> None:
        """Open loop: the n-th device sets out n / rate after the first, however those before it fare."""
        members = [member for user in self.users for member in user.members]
        self.begin(Phase("arriving", len(members)))
        self._set_out_at = trio.current_time()
        for number, member in enumerate(members):
            await trio.sleep_until(self._set_out_at + number / self.plan.arrivals)
            nursery.start_soon(member.run)
            self.phase.done += 1

    def _moved(self, member: Member) -> None:
        self._somebody_moved.set()
        self._somebody_moved = trio.Event()
        self._on_moved(member)

    async def until(self, truth: Callable[[], bool]) -> None:
        """Returns when it is true; it is asked whenever a device has moved. For who does something meanwhile."""
        while not truth():
            await self._somebody_moved.wait()

    async def all_up_to_date(self) -> float:
        """Returns when all devices are: the seconds since the first set out."""
        await self.until(lambda: self.tally.connected == self.plan.users * self.plan.devices)
        return trio.current_time() - self._set_out_at

    # --- checking ----------------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        """Look at what the service holds unread of each user, and closer at those of whom a device lacks something."""
        self.begin(Phase("checking", len(self.users)))
        self.tally.unchecked = len(self.users)
        doubtful: list[tuple[User, set[str]]] = []

        async def look(user: User) -> None:
            ids = await self._persistence.ask_if_possible(self._checking, lambda: self._unread(user))
            if ids is not None and lacking(user.members, ids):
                doubtful.append((user, ids))
            elif ids is not None:
                self.tally.unchecked -= 1
            self.phase.done += 1

        async def look_closer(case: tuple[User, set[str]]) -> None:
            user, ids = case
            verdict = await self._persistence.ask_if_possible(
                self._checking, lambda: judge(self._api, user.members, ids, self.plan.min_urgency, self._clock)
            )
            if verdict is not None:
                self.tally.unchecked -= 1
                self.tally.lost += verdict.lost
                self.tally.behind += verdict.behind

        await by_several(iter(self.users), look)
        if doubtful:
            await trio.sleep(SETTLE_SECONDS)
            await by_several(iter(doubtful), look_closer)

    async def _unread(self, user: User) -> set[str]:
        return await unread_ids(self._api, user.members[0].token, self.plan.min_urgency, self._clock)

    # --- clearing up -------------------------------------------------------------------------------------------------

    async def _clear_up(self) -> None:
        """What cannot be deleted stays: it is only a matter of tidiness."""
        self.begin(Phase("clearing up", len(self.users)))

        async def delete(user: User) -> None:
            token = user.members[0].token
            await self._persistence.ask_if_possible(self._clearing, lambda: self._api.delete_account(token))
            self.phase.done += 1

        await by_several(iter(self.users), delete)
