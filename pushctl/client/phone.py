"""One simulated device: it logs in, allows sites, stays connected, shows what comes and says what was read.

Owns: the order of things: Box Office, server, hello, sync, live, and again (protocol/peer.py decides what is next).
Promises: whatever it is told is in its store first; it asks and connects only when its peer logic says so; `run` ends
only by cancellation or with the error that says what must change.
Must not know: terminals and how events are shown.
"""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import random as uniform

import httpx
import trio

from pushctl.client import events
from pushctl.client.api import Api, DeviceRow, IdentityRow
from pushctl.client.asking import ask_box_office
from pushctl.client.connection import LEAST_PING_SECONDS, NO_CODE, Connection, Ended
from pushctl.client.dialing import NotConnected, dial
from pushctl.client.http import LoginNeeded, Refused, open_client
from pushctl.client.intake import Intake
from pushctl.client.login import account_of, account_of_token, dev_assertion
from pushctl.client.store import Session, Store
from pushctl.clock import Clock, system_clock
from pushctl.errors import Failed, PushctlError, Unreachable
from pushctl.protocol.frames import PushUrl, Urgency
from pushctl.protocol.peer import AskBoxOffice, Peer, Step, Stop, TryServer
from pushctl.webpush.encryption import Subscription

Watchers = trio.MemorySendChannel[events.Event]


@dataclass(frozen=True, slots=True)
class BoxOfficeAnswer:
    """What the Box Office last said. `servers`: how many it named, None if it did not answer with a list."""

    at_ms: int
    servers: int | None


class Phone:
    """A device: its store, and the service it talks to. One task at a time may `run` it; requests may be made beside.

    `random`: a number in [0, 1), for the jitter of waits.
    """

    def __init__(
        self,
        store: Store,
        client: httpx.AsyncClient,
        *,
        api_url: str,
        boxoffice_url: str,
        clock: Clock = system_clock,
        random: Callable[[], float] = uniform,
    ) -> None:
        self.store = store
        self._urls = {"api": api_url, "boxoffice": boxoffice_url}
        self._api = Api(client, api_url, boxoffice_url)
        self._clock = clock
        self._random = random
        self._connection: Connection | None = None
        self._was_connected = False
        self._token_said = ""
        self._attempt: trio.CancelScope | None = None
        self._not_before = -math.inf
        self._connected_to: str | None = None
        self.box_office: BoxOfficeAnswer | None = None

    # --- one request each --------------------------------------------------------------------------------------------

    def session(self) -> Session:
        """Raises LoginNeeded."""
        session = self.store.session()
        if session is None:
            raise LoginNeeded
        return session

    async def login(self, name: str, device_name: str) -> Session:
        """By the embedded development identity provider, as `<name>@dev-idp.localhost`.

        The profile's device is used again where the service still knows it for this user. If a connection is open, the
        server is told the new token.
        """
        assertion = await dev_assertion(self._api, name, self._clock)
        try:
            return await self.login_with(assertion, device_name)
        except Refused as refused:
            if refused.status != 404 or self.store.known_device(account_of(assertion)) is None:
                raise
        # The device was removed meanwhile. A new assertion, because one opens one session only.
        self.store.forget_device()
        return await self.login_with(await dev_assertion(self._api, name, self._clock), device_name)

    async def login_with(self, assertion: str, device_name: str) -> Session:
        """With a backed BrowserID assertion made elsewhere (or here)."""
        return await self._log_in(f"BrowserID {assertion}", account_of(assertion), device_name, None)

    async def login_with_token(self, token: str, device_name: str, provider: str | None) -> Session:
        """With an OIDC token; `provider`: its name there, needed where there are several.

        Failed if the service no longer knows the device: the token is used up then, and the next login makes a new one.
        """
        account = account_of_token(token)
        try:
            return await self._log_in(f"Bearer {token}", account, device_name, provider)
        except Refused as refused:
            if refused.status != 404 or self.store.known_device(account) is None:
                raise
        self.store.forget_device()
        raise Failed("the service does not know this device any more: log in once more, as a new one")

    async def _log_in(self, authorization: str, account: str, device_name: str, provider: str | None) -> Session:
        opened = await self._api.login(authorization, device_name, self.store.known_device(account), provider)
        session = Session(opened.token, opened.user, opened.device.id, opened.device.name, account, opened.expires_at)
        self.store.begin_session(session)
        if self._connection is not None:
            self._connection.token_changed()
        return session

    def remember_urls(self) -> None:
        """The service's URLs, for the next time this profile is used."""
        for setting, url in self._urls.items():
            self.store.set_setting(setting, url)

    async def link(self, name: str) -> IdentityRow:
        """Lets `<name>@dev-idp.localhost` log in to this account, too."""
        token = self.session().token  # before the user's key is made
        assertion = await dev_assertion(self._api, name, self._clock)
        return await self._api.link(token, f"BrowserID {assertion}", None)

    async def link_with(self, credential: str, provider: str | None) -> IdentityRow:
        """The same with a proof made elsewhere: `BrowserID <assertion>` or `Bearer <OIDC token>`."""
        return await self._api.link(self.session().token, credential, provider)

    async def identities(self) -> list[IdentityRow]:
        return await self._api.identities(self.session().token)

    async def unlink(self, identity: str) -> None:
        await self._api.unlink(self.session().token, identity)

    async def devices(self) -> list[DeviceRow]:
        return await self._api.devices(self.session().token)

    async def remove_device(self, device: str) -> None:
        await self._api.remove_device(self.session().token, device)

    async def logout(self, *, everywhere: bool = False) -> None:
        """Ends the session, or all of the user's, and forgets the inbox. One that is over already counts as ended."""
        try:
            await self._api.logout(self.session().token, everywhere=everywhere)
        except LoginNeeded:
            if self.store.session() is None:
                raise
        self.store.end_session()

    async def allow(self, site: str, icon: str | None, *, vapid_key: str | None = None) -> tuple[PushUrl, bool]:
        """The push URL for a site, and whether it is new. `vapid_key`: it takes only what this key signed."""
        push_url, created = await self._api.allow(self.session().token, site, icon, vapid_key)
        self.store.put_push_url(push_url)
        return push_url, created

    async def subscribe(self, site: str, icon: str | None, *, vapid_key: str | None = None) -> Subscription:
        """As `allow`, with keys: what comes encrypted to them this device can read, and nobody else. The same keys each
        time."""
        push_url, _ = await self.allow(site, icon, vapid_key=vapid_key)
        return Subscription(push_url.url, self.store.keys_of(push_url.id).public())

    async def revoke(self, site_or_id: str) -> list[PushUrl]:
        """Revokes the push URLs of a site, or the one with this id. Failed if there is none."""
        token = self.session().token
        found = [p for p in await self._api.push_urls(token) if site_or_id in (p.site, p.id)]
        if not found:
            raise Failed(f"there is no push URL for {site_or_id}: see `pushctl client urls`")
        for push_url in found:
            await self._api.revoke(token, push_url.id)
            self.store.remove_push_url(push_url.id)
        return found

    async def read(self, ids: Sequence[str]) -> int:
        """Marks messages read, here and for all devices; how many were unread until now.

        Here they are read even if the service cannot be reached: it is told at the next sync or connection.
        """
        self.store.mark_read(ids)
        count = await self._api.read(self.session().token, ids)
        self.store.confirm_read(ids)
        return count

    async def sync(self) -> list[events.Event]:
        """Everything missed, over HTTP. What was read here and not confirmed is said first."""
        token = self.session().token
        pending = self.store.pending_reads()
        if pending:
            await self._api.read(token, pending)
            self.store.confirm_read(pending)
        intake = Intake(self.store, "very-low")
        cursor, next_page = self.store.resume_cursor("very-low"), None
        news: list[events.Event] = []
        while True:
            page, next_page = await self._api.sync(token, cursor, next_page)
            news += intake.take(page)
            if page.done:
                return news

    # --- staying connected -------------------------------------------------------------------------------------------

    def mark_read(self, ids: Sequence[str]) -> None:
        """Marks messages read here; over the open connection, or the next one, everywhere."""
        self.store.mark_read(ids)
        if self._connection is not None:
            self._connection.reads_are_waiting()

    async def run(self, watchers: Watchers, *, min_urgency: Urgency = "very-low", keep_trying: bool = True) -> None:
        """Connects and stays connected until cancelled; `watchers` gets what happens.

        Raises LoginNeeded, Failed or Unreachable when trying again would change nothing; without `keep_trying` also
        when the first round of tries finds no server.
        """
        self._was_connected = False
        peer = Peer(self._random)
        step = peer.start()
        while True:
            with trio.CancelScope() as self._attempt:
                match step:
                    case AskBoxOffice(after_seconds):
                        await trio.sleep(after_seconds)
                        step = await self._ask(peer, watchers, keep_trying)
                    case TryServer(url):
                        step = await self._visit(peer, url, watchers, min_urgency, keep_trying)
                    case Stop():
                        if not self._has_newer_session(step):
                            raise _final(step)
                        step = peer.start()
            if self._attempt.cancel_called:
                step = await self._start_over(peer, watchers)

    def reconnect(self) -> float:
        """Leaves the connection, or the wait for the next try, and begins anew at the Box Office; nothing if not
        running. Seconds until then: not before the moment that the service asked to wait for, if it did."""
        if self._attempt is not None:
            self._attempt.cancel()
        return max(self._not_before - trio.current_time(), 0.0)

    def _hold(self, step: Step) -> None:
        """Before anybody is told of a wait: remember how much of it is not ours to shorten."""
        if isinstance(step, AskBoxOffice):
            self._not_before = trio.current_time() + step.asked_seconds

    async def _start_over(self, peer: Peer, watchers: Watchers) -> Step:
        peer.start()
        asked = max(self._not_before - trio.current_time(), 0.0)
        reason, after_ms = "reconnecting as asked here", round(asked * 1000)
        if self._connected_to is not None:
            await watchers.send(events.Disconnected(self._connected_to, None, reason, "box_office", after_ms))
            self._connected_to = None
        else:
            await watchers.send(events.Retrying(reason, after_ms))
        return AskBoxOffice(asked, asked)

    def _has_newer_session(self, stop: Stop) -> bool:
        """Somebody logged in anew with this profile (another command, perhaps) since we last said our token."""
        return stop.login_needed and self.session().token != self._token_said

    def _token(self) -> str:
        self._token_said = self.session().token
        return self._token_said

    async def _ask(self, peer: Peer, watchers: Watchers, keep_trying: bool) -> Step:
        """The Box Office, for a list of servers."""
        step, error = await ask_box_office(self._api, self._token(), peer)
        self._hold(step)
        self.box_office = BoxOfficeAnswer(self._clock(), len(peer.offer) if error is None else None)
        if error is not None:
            await self._report(watchers, error, step, keep_trying)
        return step

    async def _visit(self, peer: Peer, url: str, watchers: Watchers, min_urgency: Urgency, keep_trying: bool) -> Step:
        """One server, from connecting to the end of the connection."""
        connection: Connection | None = None
        ended: Ended | None = None
        try:
            async with dial(url) as socket:
                connection = Connection(socket, self.store, watchers, min_urgency)
                welcome = await connection.greet(self._token())
                if isinstance(welcome, Ended):
                    ended = welcome
                else:
                    peer.welcomed(trio.current_time())
                    self._was_connected = True
                    self._connected_to = url
                    await watchers.send(events.Connected(url, welcome.server, welcome.user, welcome.device))
                    self._connection = connection
                    ended = await connection.live(max(welcome.ping_ms / 1000, LEAST_PING_SECONDS))
        except NotConnected as refused:
            if self._connection is None:
                step = peer.server_failed(trio.current_time(), refused.retry_after_seconds)
                await self._report(watchers, Unreachable(f"{url}: {refused.reason}"), step, keep_trying)
                return step
            ended = ended or Ended(NO_CODE, refused.reason)
        finally:
            self._connection = None
        assert connection is not None
        assert ended is not None
        now = trio.current_time()
        if connection.leave_at is not None:
            peer.reconnect_asked(connection.leave_at - now, now)
        step = peer.closed(ended.code, now)
        self._hold(step)
        await watchers.send(_disconnected(url, ended, step))
        self._connected_to = None
        return step

    async def _report(self, watchers: Watchers, error: PushctlError, step: Step, keep_trying: bool) -> None:
        """A try that failed: told, or the end of it where the caller does not want to wait for better times."""
        if isinstance(step, AskBoxOffice) and not keep_trying and not self._was_connected:
            raise error
        if not isinstance(step, Stop):
            after_ms = round(step.after_seconds * 1000) if isinstance(step, AskBoxOffice) else 0
            await watchers.send(events.Retrying(str(error), after_ms))


def _disconnected(url: str, ended: Ended, step: Step) -> events.Disconnected:
    code = None if ended.code == NO_CODE else ended.code
    match step:
        case AskBoxOffice(after_seconds):
            return events.Disconnected(url, code, ended.reason, "box_office", round(after_seconds * 1000))
        case TryServer():
            return events.Disconnected(url, code, ended.reason, "server", 0)
        case Stop(login_needed=login_needed):
            return events.Disconnected(url, code, ended.reason, "login" if login_needed else "stop", None)


def _final(stop: Stop) -> PushctlError:
    """What a user can do about it."""
    if stop.login_needed:
        return LoginNeeded(f"{stop.reason} ({stop.code}): run `pushctl client login NAME`")
    error = Unreachable if stop.code == 4505 else Failed
    return error(f"{stop.reason} ({stop.code})")


@asynccontextmanager
async def open_phone(
    store: Store,
    *,
    api_url: str,
    boxoffice_url: str,
    clock: Clock = system_clock,
    random: Callable[[], float] = uniform,
) -> AsyncIterator[Phone]:
    """A phone with an HTTP client of its own, closed at the end."""
    async with open_client(api_url, boxoffice_url) as client:
        yield Phone(store, client, api_url=api_url, boxoffice_url=boxoffice_url, clock=clock, random=random)
