"""Messages and the event log of a user: append, read, cancel, sync.

Owns: the questions asked of scripts append, announce, read, cancel, message_state, await_receipt, unread, sync and
acknowledge; one round trip each. Promises: docs/architecture.md, "What is promised". Must not know: frames, HTTP, who
is connected.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec

from pushctl.errors import (
    EncodingInvalid,
    IdempotencyMismatch,
    PushUrlGone,
    StoreUnavailable,
    VapidForbidden,
    VapidMissing,
    VapidRefused,
)
from pushctl.ids import START, Cursor, DeviceId, MessageRef, Position, PushUrlId, UserId, b64url, new_tag
from pushctl.registry.rates import MessageRates
from pushctl.registry.records import Change, Entry, MessageEntry, MessageRecord, PushUrlRecord, held_by, parse_entry
from pushctl.registry.script import Script
from pushctl.registry.store import Store

APPEND = Script.load("append")
ANNOUNCE = Script.load("announce")
READ = Script.load("read")
CANCEL = Script.load("cancel")
STATE = Script.load("message_state")
AWAIT_RECEIPT = Script.load("await_receipt")
UNREAD = Script.load("unread")
SYNC = Script.load("sync")
ACKNOWLEDGE = Script.load("acknowledge")

_APPENDED = (
    *("tag", "push_url", "number", "lifetime_ms", "urgency", "topic", "key_id", "body", "signed_by", "plain"),
    *("fingerprint", "receipt", "only_again"),
)
"""What append is told of a message, in the order of its arguments."""

IDEMPOTENCY_MS = 300_000
PAGE_COUNT = 200
"""Events or objects in one page of a sync, at most; `page_bytes` bounds it too."""


class NewMessage(msgspec.Struct):
    """A message to store or announce. `rank`: urgency 0-3; `body`: opaque bytes."""

    push_url: PushUrlId
    number: int
    lifetime_ms: int
    rank: int
    topic: str | None
    key_id: str
    body: bytes
    idempotency_key: str | None
    fingerprint: bytes
    """Of what must be the same when an idempotency key comes again."""
    plain: bool = False
    """Something is said, and everybody on the way can read it."""
    signed_by: str | None = None
    """The VAPID key whose signature was checked, as the push URL spells it."""
    receipt: bool = False
    """Its sender is promised to hear what becomes of it."""
    only_again: bool = False
    """A limit refuses it, unless its idempotency key has stored it before."""


class Stored(msgspec.Struct, frozen=True):
    """`again`: this idempotency key had stored it before, and `change` holds no entries; `unread`: it still is.
    `lifetime_ms`, `receipt`: what its sender was told when it was stored. `expires_first`: nothing of the user's
    expires before it, so the gc index must hear of it. `quiet`: nobody is connected, and nothing had to go for it. In
    `change`, which is made when it is asked for, its body is left out."""

    ref: MessageRef
    parse_change: Callable[[], Change]
    again: bool
    unread: bool
    lifetime_ms: int
    receipt: bool
    expires_first: bool = True
    quiet: bool = False

    @property
    def change(self) -> Change:
        return self.parse_change()


class Announced(msgspec.Struct, frozen=True):
    """A TTL 0 message is accepted. `ref` has sequence number 0: it is in no log; it expired
    when it was accepted. `deliver`: False when repeated."""

    ref: MessageRef
    site: str
    now_ms: int
    change: Change | None
    deliver: bool


State = Literal["stored", "delivered", "read", "replaced", "cancelled", "evicted", "expired"]


class Awaited(msgspec.Struct, frozen=True):
    """The state of a message since `at_ms`; it expires in `left_ms` by the registry's clock."""

    state: State
    at_ms: int
    left_ms: int


class Delta(msgspec.Struct, frozen=True):
    """A page of what came after a cursor. `cursor`: the place after it."""

    cursor: Cursor
    entries: list[Entry]
    done: bool


class SnapshotPlace(msgspec.Struct, frozen=True):
    """Where a snapshot continues: pinned at `pin`, in `phase` (urls, messages), behind `after`."""

    pin: Cursor
    phase: str
    after: str


class Snapshot(msgspec.Struct, frozen=True):
    push_urls: list[PushUrlRecord]
    messages: list[MessageRecord]
    next: SnapshotPlace
    done: bool


class SnapshotLost(StoreUnavailable):
    """The log a snapshot was pinned to is no more (another epoch): start over."""

    close_code = 4003


def _proved(reply: Sequence[bytes], signed_by: str | None = None) -> None:
    """For scripts a third party's push URL leads to: what is gone, and what merely cannot be seen."""
    if reply[0] == b"gone":
        raise PushUrlGone("the user revoked this push URL or deleted the account; forget it")
    if reply[0] == b"unknown":
        raise StoreUnavailable("the store cannot tell whether this push URL is live")
    if reply[0] == b"unsigned":
        raise _unsigned(reply[1].decode(), signed_by)
    if reply[0] == b"plain":
        raise EncodingInvalid(
            "this push URL is a browser's, which reads encrypted messages (aes128gcm, aesgcm) and empty ones only",
            field="Content-Encoding",
        )
    if reply[0] == b"mismatch":
        raise IdempotencyMismatch(
            "this Idempotency-Key came with another body before; use a new one", field="Idempotency-Key"
        )


def _unsigned(expected: str, signed_by: str | None) -> VapidRefused:
    """The key is no secret: the site's own page hands it to every browser."""
    if signed_by is None:
        detail = f"this push URL takes only messages signed by its VAPID key {expected}"
        return VapidMissing(detail, claim="k", expected=expected)
    detail = f"this push URL takes only messages signed by another VAPID key: `k` is {signed_by}, expected {expected}"
    return VapidForbidden(detail, claim="k", expected=expected, got=signed_by)


class Messages:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rates = MessageRates(store.config.limits)
        limits = store.config.limits
        self._append = store.bound(
            APPEND,
            idem_ms=IDEMPOTENCY_MS,
            max_unread=limits.unread_per_user,
            max_unread_url=limits.unread_per_push_url,
            max_bytes=limits.unread_bytes_per_user,
            max_bytes_url=limits.unread_bytes_per_push_url,
            **self._rates.arguments,
        )
        assert self._append.args[-len(_APPENDED) :] == _APPENDED
        self._announce = ANNOUNCE.bind(idem_ms=IDEMPOTENCY_MS, **self._rates.arguments)

    def _idempotency(self, user: UserId, message: NewMessage) -> tuple[dict[str, str], str]:
        """(special key, fingerprint) of a message; without a key of its own, a key that is never touched."""
        if message.idempotency_key is None:
            return {}, ""
        name = hashlib.sha256(f"{message.push_url} {message.idempotency_key}".encode()).digest()[:16]
        return {"idem": self._store.keys.idempotency(user, b64url(name))}, b64url(
            hashlib.sha256(message.fingerprint).digest()[:16]
        )

    async def append(self, user: UserId, message: NewMessage) -> Stored:
        """Store a message and append its event. Raises PushUrlGone, IdempotencyMismatch, RateLimited (`limit` is
        push_url or user; empty for `only_again`), StoreUnavailable."""
        tag = new_tag()
        special, fingerprint = self._idempotency(user, message) if message.idempotency_key else (None, "")
        reply = await self._store.run_often(
            self._append,
            user,
            (
                *self._store.shift,
                tag,
                message.push_url,
                message.number,
                message.lifetime_ms,
                message.rank,
                message.topic or "",
                message.key_id,
                message.body,
                message.signed_by or "",
                "1" if message.plain else "0",
                fingerprint,
                "1" if message.receipt else "0",
                "1" if message.only_again else "",
            ),
            special,
        )
        self._rates.check(reply)
        _proved(reply, message.signed_by)
        if reply[0] == b"again":
            return Stored(
                MessageRef.parse(reply[1].decode()),
                partial(Change.parse, reply[3]),
                again=True,
                unread=bool(reply[2]),
                lifetime_ms=int(reply[4]),
                receipt=reply[5] == b"1",
            )
        _, seq, now_ms, expires_ms, first, epoch, previous_seq, previous_tag, leases, site, dropped = reply
        ref = MessageRef(seq, tag, message.key_id, expires_ms)

        def parse_change() -> Change:
            record = MessageRecord(
                ref, message.rank, message.push_url, now_ms, message.topic, site.decode(), b"", len(message.body)
            )
            entries = [*map(parse_entry, dropped), MessageEntry(Position(seq, tag), record)]
            return Change(epoch.decode(), Position(int(previous_seq), int(previous_tag)), held_by(leases), entries)

        return Stored(
            ref,
            parse_change,
            again=False,
            unread=True,
            lifetime_ms=message.lifetime_ms,
            receipt=message.receipt,
            expires_first=first == 1,
            quiet=not leases and not dropped,
        )

    async def announce(self, user: UserId, message: NewMessage) -> Announced:
        """Accept a TTL 0 message: nothing is stored. Raises as `append`."""
        special, fingerprint = self._idempotency(user, message)
        tag = new_tag()
        reply = await self._store.run_uncertain(
            self._announce,
            user,
            special=special,
            push_url=message.push_url,
            number=message.number,
            topic=message.topic or "",
            signed_by=message.signed_by or "",
            plain=int(message.plain),
            fingerprint=fingerprint,
            mark=f"0:{tag}:{message.key_id}",
            only_again="1" if message.only_again else "",
        )
        self._rates.check(reply)
        _proved(reply, message.signed_by)
        if reply[0] == b"again":
            return Announced(MessageRef.parse(reply[1].decode()), "", 0, None, deliver=False)
        now_ms = int(reply[2])
        ref = MessageRef(0, tag, message.key_id, now_ms)
        return Announced(ref, reply[1].decode(), now_ms, Change.parse(reply[3]), deliver=True)

    async def read(self, user: UserId, refs: Sequence[MessageRef]) -> tuple[int, Change]:
        """Mark these messages read; those not unread are passed over. (how many, what it appended)"""
        named = [f"{ref.seq}:{ref.tag}" for ref in refs]
        reply = await self._store.run(READ, user, rest=named, epoch="", upto_seq="", upto_tag="")
        return int(reply[1]), Change.parse(reply[2])

    async def read_upto(self, user: UserId, cursor: Cursor) -> tuple[int, Change]:
        """Mark all messages up to a cursor read, never what came since."""
        at = cursor.position
        reply = await self._store.run(READ, user, epoch=cursor.epoch, upto_seq=at.seq, upto_tag=at.tag)
        return int(reply[1]), Change.parse(reply[2])

    async def cancel(self, user: UserId, ref: MessageRef) -> Change | None:
        """Take back an unread message; None when it is not unread."""
        reply = await self._store.run_uncertain(CANCEL, user, seq=ref.seq, message_tag=ref.tag)
        if reply[0] in (b"dead", b"gone"):
            return None
        _proved(reply)
        return Change.parse(reply[1])

    async def state(self, user: UserId, ref: MessageRef) -> tuple[State, int] | None:
        """(state, since when in ms) of a message; None when nothing is known of it any more."""
        reply = await self._store.run_uncertain(
            STATE, user, seq=ref.seq, message_tag=ref.tag, expires=ref.expires_at_ms
        )
        if reply[0] in (b"none", b"gone"):
            return None
        _proved(reply)
        return reply[0].decode(), int(reply[1])

    async def awaited_state(self, user: UserId, ref: MessageRef, channel: str, lasts_ms: int) -> Awaited | None:
        """As `state`; while that is `stored`, whoever listens to this channel (receipts.py) is told for `lasts_ms` when
        something became of any of the user's messages."""
        reply = await self._store.run_uncertain(
            AWAIT_RECEIPT,
            user,
            seq=ref.seq,
            message_tag=ref.tag,
            expires=ref.expires_at_ms,
            channel=channel,
            lasts_ms=lasts_ms,
        )
        if reply[0] in (b"none", b"gone"):
            return None
        _proved(reply)
        return Awaited(reply[0].decode(), int(reply[1]), int(reply[2]))

    async def unread(self, user: UserId, after_seq: int, limit: int) -> list[MessageRecord]:
        """Unread messages after a sequence number, oldest first."""
        reply = await self._store.run(UNREAD, user, after=after_seq, limit=limit)
        return [MessageRecord.parse(seq, record) for seq, record in reply[1:]]

    async def sync(
        self, user: UserId, place: Cursor | SnapshotPlace | None, *, min_rank: int, page_bytes: int
    ) -> Delta | Snapshot:
        """One page of what a device has to learn: a delta from its cursor when that is provable, else a snapshot.

        `place` None or a cursor begins (or continues a delta); a SnapshotPlace continues a snapshot, and raises
        SnapshotLost when its log is no more.
        """
        pin = place.pin if isinstance(place, SnapshotPlace) else place or Cursor("", START)
        reply = await self._store.run(
            SYNC,
            user,
            mode="snapshot" if isinstance(place, SnapshotPlace) else "tail",
            at_epoch=pin.epoch,
            at_seq=pin.position.seq,
            at_tag=pin.position.tag,
            phase=place.phase if isinstance(place, SnapshotPlace) else "",
            after=place.after if isinstance(place, SnapshotPlace) else "",
            min_rank=min_rank,
            page_bytes=page_bytes,
            page_count=PAGE_COUNT,
        )
        if reply[0] == b"lost":
            raise SnapshotLost("the log this snapshot began with is no more; start over")
        at = Cursor(reply[1].decode(), Position(int(reply[2]), int(reply[3])))
        if reply[0] == b"delta":
            return Delta(at, [parse_entry(entry) for entry in reply[5]], done=reply[4] == 1)
        return Snapshot(
            [PushUrlRecord.parse(*pair) for pair in reply[5]],
            [MessageRecord.parse(*pair) for pair in reply[6]],
            SnapshotPlace(at, reply[7].decode(), reply[8].decode()),
            done=reply[4] == 1,
        )

    async def acknowledge(
        self, user: UserId, positions: Sequence[tuple[DeviceId, Cursor]], *, came_back: bool = False
    ) -> None:
        """Devices of one user say how far they have everything safe; `came_back`: by asking for what is behind."""
        await self._store.run(ACKNOWLEDGE, user, rest=_spelled(positions), came_back=int(came_back))

    async def acknowledge_all(self, positions: Mapping[UserId, Sequence[tuple[DeviceId, Cursor]]]) -> None:
        """As `acknowledge`, for many users of one partition in one round trip; who is gone is passed over. Raises
        StoreUnavailable: some of it may not be written, and all of it may be repeated."""
        rest_of = {user: _spelled(theirs) for user, theirs in positions.items()}
        await self._store.run_for_all(ACKNOWLEDGE, rest_of, came_back=0)


def _spelled(positions: Sequence[tuple[DeviceId, Cursor]]) -> list[str]:
    """As acknowledge.lua takes them: numbers as text, for 64 bits do not fit a number of Lua."""
    spelled: list[str] = []
    for device, cursor in positions:
        at = cursor.position
        spelled += (device, cursor.epoch, str(at.seq), str(at.tag))
    return spelled
