"""Use cases on one user's inbox that api and socket servers share, without HTTP and without sockets.

Every change goes the same way: one script that changes the store and appends its events, then a job that tells the
user's other devices. The job is a hint and is not waited for; a socket server that missed it finds the events in the
log (docs/architecture.md, "The way of a message").

Owns: that way; opening of push URLs and message ids. Must not know: who asks, or through what.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from pushctl.clock import rfc3339
from pushctl.errors import BodyInvalid, NotFound, QueryInvalid
from pushctl.identity.sealing import Sealer
from pushctl.ids import (
    LARGEST_SEQ,
    LARGEST_TAG,
    Cursor,
    DeviceId,
    MessageRef,
    Position,
    PushUrlId,
    UserId,
    b64url,
    new_id,
    unb64url,
)
from pushctl.inbox.render import Content, Renderer
from pushctl.points import Point, passed
from pushctl.protocol import frames, jobs
from pushctl.registry import Registry
from pushctl.registry.messages import Delta, NewMessage, SnapshotPlace
from pushctl.registry.records import Change, DroppedEntry, MessageEntry, MessageRecord, ReadEntry
from pushctl.stages import Stage
from pushctl.traces import NOTHING, Span
from pushctl.webpush.request import Push

INLINE_BYTES = 16_384
"""A larger event does not travel in its job: the socket server reads it from the log."""

HTTP_PAGE_BYTES = 262_144


class Published(msgspec.Struct, frozen=True):
    """What a 201 says: `message_id` for Location, and the lifetime that was used. `seq`: of the message in the user's
    log; 0 for TTL 0, which is stored nowhere."""

    message_id: str
    ttl_seconds: int
    user: UserId
    seq: int
    receipt: str | None = None
    """The receipt's id, if the sender asked for one."""
    again: bool = False
    """Its idempotency key had stored it before."""


class MessageState(msgspec.Struct, frozen=True):
    id: str
    state: str
    at: str


class _PageToken(msgspec.Struct, frozen=True, array_like=True):
    """Where a sync over HTTP goes on: in a delta (phase '') or a snapshot."""

    epoch: str
    seq: int
    tag: int
    phase: str
    after: str


class Inbox:
    def __init__(
        self,
        registry: Registry,
        sealer: Sealer,
        public_url: str,
        *,
        count: Callable[[Stage, int], None],
        ask_presence: bool = True,
    ) -> None:
        """`public_url`: of the api; `count`: told how many messages reached a stage here; `ask_presence`: nobody is
        told what concerns a user whom no socket server has leased (broadcast does not look there)."""
        self._registry = registry
        self._sealer = sealer
        self._count = count
        self._ask_presence = ask_presence
        self.render = Renderer(sealer, public_url)

    @property
    def sealing_key_id(self) -> str:
        """Of the key that seals what is new."""
        return self._sealer.key_id

    # --- third parties -----------------------------------------------------------------------------------------------

    async def publish(self, token: str, push: Push, *, only_again: bool = False, span: Span = NOTHING) -> Published:
        """Accept one message for the push URL that `token` opens. For TTL > 0 it is stored when this returns.

        `only_again`: only if its idempotency key has stored it before, else RateLimited without a `limit`. `span`: of
        the request.

        Raises PushUrlUnknown (the token does not open), PushUrlGone (proof that it is not live), VapidMissing,
        VapidForbidden, IdempotencyMismatch, RateLimited, StoreUnavailable: not promised, though it may still arrive.
        """
        address = self._sealer.open_push_url(token)
        content = Content(push.notification, push.data, push.encoding, push.headers, span.context or None)
        message = NewMessage(
            push_url=address.push_url,
            number=address.number,
            lifetime_ms=push.ttl_seconds * 1000,
            rank=frames.URGENCY_RANK[push.urgency],
            topic=push.topic,
            key_id=self._sealer.key_id,
            body=msgspec.msgpack.encode(content),
            idempotency_key=push.idempotency_key,
            # TTL 0 and a stored message are different requests: one must not answer for the other.
            fingerprint=(b"now " if push.ttl_seconds == 0 else b"store ") + push.body,
            plain=push.notification is not None,
            signed_by=push.signed_by,
            receipt=push.receipt,
            only_again=only_again,
        )
        if push.ttl_seconds == 0:
            return await self._announce(address.user, message, span)
        with span.child("store", "client") as store:
            store.set(db__system__name="redis", db__operation__name="append")
            stored = await self._registry.messages.append(address.user, message)
        if not stored.again:
            if stored.expires_first:
                self._registry.index.expires(address.user, stored.ref.expires_at_ms)
            if stored.quiet and self._ask_presence:
                await passed(Point.APPENDED)
            else:
                await self._tell(address.user, stored.change, message.body, span)
        elif stored.unread:
            self._registry.index.expires(address.user, stored.ref.expires_at_ms)
            await self._tell_to_look(address.user, stored.change)
        message_id = self.render.message_id(address.user, stored.ref)
        receipt = self._sealer.seal_receipt(address.user, address.push_url, stored.ref) if stored.receipt else None
        ttl_seconds = stored.lifetime_ms // 1000
        return Published(message_id, ttl_seconds, address.user, stored.ref.seq, receipt, stored.again)

    async def _announce(self, user: UserId, message: NewMessage, span: Span) -> Published:
        with span.child("store", "client") as store:
            store.set(db__system__name="redis", db__operation__name="announce")
            announced = await self._registry.messages.announce(user, message)
        if announced.deliver and announced.change is not None:
            await self._tell(user, announced.change)
            record = MessageRecord(
                announced.ref,
                message.rank,
                message.push_url,
                announced.now_ms,
                message.topic,
                announced.site,
                message.body,
            )
            frame = frames.encode(frames.MessageEvent(None, self.render.message(user, record)))
            if self._may_be_held(announced.change):
                with self._job_step(user, span) as step:
                    until_ms = announced.now_ms + jobs.EPHEMERAL_MS
                    held = announced.change.held
                    job = jobs.Ephemeral(user, until_ms, message.rank, frame, step.context or None, held)
                    self._registry.jobs.put(user, jobs.encode(job))
        return Published(self.render.message_id(user, announced.ref), 0, user, 0, again=not announced.deliver)

    def user_of_message(self, message_id: str) -> UserId:
        """To whom it went. Raises NotFound."""
        return self._sealer.open_message_id(message_id)[0]

    async def message_state(self, message_id: str) -> MessageState:
        """What became of a message. Raises NotFound."""
        user, ref = self._sealer.open_message_id(message_id)
        if ref.seq == 0:  # TTL 0: never stored, so the id alone knows all there is
            return MessageState(message_id, "expired", rfc3339(ref.expires_at_ms))
        found = await self._registry.messages.state(user, ref)
        if found is None:
            raise NotFound("nothing is known of this message any more")
        return MessageState(message_id, found[0], rfc3339(found[1]))

    def open_receipt(self, receipt: str) -> tuple[UserId, PushUrlId, MessageRef]:
        """Whose receipt it is, of a message to which push URL, and which. Raises NotFound."""
        return self._sealer.open_receipt(receipt)

    async def cancel(self, message_id: str) -> None:
        """Take back an unread message; the devices are told. Raises NotFound for one that is read or dead."""
        user, ref = self._sealer.open_message_id(message_id)
        change = await self._registry.messages.cancel(user, ref) if ref.seq else None
        if change is None:
            raise NotFound("this message is no longer unread")
        await self._tell(user, change)

    # --- devices -----------------------------------------------------------------------------------------------------

    async def read(self, user: UserId, *, ids: list[str] | None = None, upto: str | None = None) -> int:
        """Mark messages read: these, or all up to a cursor. Returns how many were unread. Ids that do not open or are
        another user's are passed over."""
        if upto is not None:
            try:
                cursor = Cursor.parse(upto)
            except ValueError:
                raise BodyInvalid("not a cursor of this service", field="$.upto") from None
            count, change = await self._registry.messages.read_upto(user, cursor)
        else:
            count, change = await self._registry.messages.read(user, self.own(user, ids or []))
        await self._tell(user, change)
        return count

    def own(self, user: UserId, ids: Sequence[str]) -> list[MessageRef]:
        """What these ids stand for. Those that do not open, are another user's or of messages that were never stored
        (TTL 0) are passed over."""
        refs = []
        for message_id in ids:
            try:
                owner, ref = self._sealer.open_message_id(message_id)
            except NotFound:
                continue
            if owner == user and ref.seq:
                refs.append(ref)
        return refs

    async def allow(
        self, user: UserId, site: str, icon: str | None, vapid_key: str | None
    ) -> tuple[frames.PushUrl, bool]:
        """Make a push URL for a site (True), or find the one there is (False). `site` and `icon` are checked."""
        outcome, record, change = await self._registry.push_urls.allow(
            user,
            new_id=PushUrlId(new_id()),
            site=site,
            vapid_key=vapid_key,
            icon=icon,
            key_id=self._sealer.key_id,
        )
        await self._tell(user, change)
        return self.render.push_url(user, record), outcome == "new"

    async def revoke(self, user: UserId, push_url: str) -> None:
        """Revoke a push URL: from now on it answers 410. Raises NotFound."""
        change = await self._registry.push_urls.revoke(user, PushUrlId(push_url))
        if change is None:
            raise NotFound("no such push URL")
        await self._tell(user, change)

    async def push_urls(self, user: UserId) -> list[frames.PushUrl]:
        return [self.render.push_url(user, record) for record in await self._registry.push_urls.all(user)]

    async def unread(self, user: UserId, since: str | None, limit: int) -> tuple[list[frames.Message], str | None]:
        """Unread messages, oldest first, behind `since` (a `next` of before). Raises QueryInvalid."""
        after = 0
        if since is not None:
            if not since.isdecimal() or not since.isascii() or len(since) > 16:
                raise QueryInvalid("since is a `next` of an earlier answer", field="since")
            after = int(since)
        records = await self._registry.messages.unread(user, after, limit + 1)
        page = [self.render.message(user, record) for record in records[:limit]]
        return page, str(records[limit - 1].ref.seq) if len(records) > limit else None

    async def sync(
        self, user: UserId, device: DeviceId, cursor: str | None, next_page: str | None
    ) -> tuple[frames.DeltaFrame | frames.SnapshotFrame, str | None]:
        """One page of what a device missed, and the token of the next page while there is one. Raises QueryInvalid.

        A device that comes with a cursor has everything up to there: that counts as an acknowledgement.
        """
        place = _open_page(next_page) if next_page is not None else parse_cursor(cursor)
        if next_page is None and isinstance(place, Cursor):
            await self._registry.messages.acknowledge(user, [(device, place)], came_back=True)
        page = await self._registry.messages.sync(user, place, min_rank=0, page_bytes=HTTP_PAGE_BYTES)
        frame = self.render.page(user, page)
        if page.done:
            return frame, None
        at, phase, after = (
            (page.cursor, "", "") if isinstance(page, Delta) else (page.next.pin, page.next.phase, page.next.after)
        )
        token = _PageToken(at.epoch, at.position.seq, at.position.tag, phase, after)
        return frame, b64url(msgspec.msgpack.encode(token))

    # --- telling the devices -----------------------------------------------------------------------------------------

    async def _tell(self, user: UserId, change: Change, body: bytes = b"", span: Span = NOTHING) -> None:
        """Count what was just appended and write its job. Nobody connected: no job."""
        await passed(Point.APPENDED)
        for entry in change.entries:
            if isinstance(entry, ReadEntry):
                self._count(Stage.READ, len(entry.refs))
            elif isinstance(entry, DroppedEntry):
                self._count(Stage(entry.reason), len(entry.refs))
        if not change.entries or not self._may_be_held(change):
            return
        events = []
        for entry in change.entries:
            rank, accepted_ms = -1, 0
            if isinstance(entry, MessageEntry):
                rank, accepted_ms = entry.message.rank, entry.message.sent_at_ms
                # The script hands back the header only: the body is here already.
                entry = MessageEntry(entry.position, replace(entry.message, body=body))
            frame = frames.encode(self.render.event(user, change.epoch, entry))
            if len(frame) > INLINE_BYTES:
                frame = b""
            events.append(jobs.HintedEvent(entry.position.seq, entry.position.tag, rank, frame, accepted_ms))
        with self._job_step(user, span) as step:
            at = change.previous
            job = jobs.Appended(user, change.epoch, at.seq, at.tag, events, step.context or None, change.held)
            self._registry.jobs.put(user, jobs.encode(job))
        await passed(Point.JOB_WRITTEN)

    def _job_step(self, user: UserId, span: Span) -> Span:
        step = span.child("job", "producer")
        if step:
            step.set(
                messaging__system="pushctl",
                messaging__operation__name="job",
                messaging__operation__type="send",
                messaging__destination__name="route",
                messaging__destination__partition__id=str(self._registry.jobs.partition_of(user)),
            )
        return step

    def _may_be_held(self, change: Change) -> bool:
        return bool(change.held) or not self._ask_presence

    async def _tell_to_look(self, user: UserId, change: Change) -> None:
        """A repeated request writes its job again; what it appended back then is in the log by now."""
        await passed(Point.APPENDED)
        if self._may_be_held(change):
            at = change.previous
            look = jobs.HintedEvent(at.seq, at.tag, -1, b"")
            job = jobs.Appended(user, change.epoch, 0, 0, [look], held=change.held)
            self._registry.jobs.put(user, jobs.encode(job))
            await passed(Point.JOB_WRITTEN)


def parse_cursor(text: str | None) -> Cursor | None:
    """A device's cursor; None (which gives a snapshot) for one that cannot be read."""
    try:
        return Cursor.parse(text) if text is not None else None
    except ValueError:
        return None


def _open_page(token: str) -> Cursor | SnapshotPlace:
    try:
        page = msgspec.msgpack.decode(unb64url(token), type=_PageToken)
        numbers = 0 <= page.seq <= LARGEST_SEQ and 0 <= page.tag <= LARGEST_TAG
        after = (page.after or "0").isascii() and (page.after or "0").isdecimal() and len(page.after) <= 16
        if not (numbers and after and page.phase in ("", "urls", "messages")):
            raise ValueError("out of range")
        at = Cursor(page.epoch, Position(page.seq, page.tag))
    except (ValueError, msgspec.DecodeError):
        raise QueryInvalid("next is the `next` of an earlier answer", field="next") from None
    return at if not page.phase else SnapshotPlace(at, page.phase, page.after)
