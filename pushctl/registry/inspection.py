"""One user, message, push URL or socket server in full, for a screen.

Owns: scripts inspect_user, inspect_message, inspect_push_url and inspect_server. Promises: a look leaves no trace,
holds no body, and costs Redis a bounded amount of work. Must not know: what it means (pushctl/inspection).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from pushctl.ids import DeviceId, PushUrlId, ServerId, UserId
from pushctl.registry.facts import (
    Devices,
    IndexFacts,
    LogFacts,
    MessageFacts,
    Nobody,
    PushUrlFacts,
    ServerFacts,
    UserFacts,
)
from pushctl.registry.keys import shard_of
from pushctl.registry.presence import Holder
from pushctl.registry.rates import MessageRates
from pushctl.registry.records import MessageRecord, PushUrlRecord
from pushctl.registry.script import Script
from pushctl.registry.servers import Row
from pushctl.registry.store import Store
from pushctl.registry.users import Device

INSPECT_USER = Script.load("inspect_user")
INSPECT_MESSAGE = Script.load("inspect_message")
INSPECT_PUSH_URL = Script.load("inspect_push_url")
INSPECT_SERVER = Script.load("inspect_server")

MAX_MESSAGES = 2000
"""Unread messages looked at, the newest: what is behind them is only counted."""

MAX_EVENTS = 1000
"""Entries of a log looked through, the newest."""


class Inspection:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rates = MessageRates(store.config.limits)

    async def user(self, user: UserId) -> UserFacts | Nobody:
        reply = await self._store.run_uncertain(INSPECT_USER, user, limit=MAX_MESSAGES)
        if reply[0] != b"done":
            return _nobody(reply)
        now, meta, devices, presence, presence_left, push_urls, messages, unread, log, stubs, ghosts = reply[1:12]
        of = {name.decode(): value.decode() for name, value in _pairs(meta)}
        return UserFacts(
            now_ms=int(now),
            epoch=of["epoch"],
            seq=int(of["seq"]),
            tag=int(of["tag"]),
            floor=int(of["floor"]),
            created_ms=int(of["created"]),
            push_urls_made=int(of["push_url_count"]),
            devices=_devices(devices),
            leases=_leases(presence),
            leases_last_ms=max(0, presence_left),
            push_urls=[PushUrlRecord.parse(*pair) for pair in push_urls],
            messages=_messages(messages),
            unread=unread,
            log=LogFacts(log[0], _place(log[1], log[2]), _place(log[3], log[4]), reply[12] or None),
            stubs=stubs,
            ghosts=ghosts,
            bytes=reply[13] or None,
        )

    async def index(self, user: UserId) -> IndexFacts:
        """What the shards hold of a user: hints, apart from the user's own keys."""
        keys, shard = self._store.keys, shard_of(user)
        due, idle, listed = await self._store.link.ask_all(
            [
                ("ZSCORE", keys.shard(shard, "due"), user),
                ("HEXISTS", keys.shard(shard, "idle"), user),
                ("SISMEMBER", keys.shard(shard, "users"), user),
            ]
        )
        return IndexFacts(None if due is None else int(float(due)), bool(idle), bool(listed))

    async def message(self, user: UserId, seq: int, tag: int | None, expires_ms: int | None) -> MessageFacts | Nobody:
        """Without `tag`: whichever message has this number."""
        reply = await self._store.run_uncertain(
            INSPECT_MESSAGE,
            user,
            seq=seq,
            message_tag="" if tag is None else tag,
            expires="" if expires_ms is None else expires_ms,
        )
        if reply[0] != b"done":
            return _nobody(reply)
        epoch, last_seq, floor, state, at, found_tag, expires, header, kind, kind_at, push_url, life = reply[2:14]
        message = MessageRecord.parse(b"%d" % seq, header) if header else None
        return MessageFacts(
            now_ms=int(reply[1]),
            epoch=epoch.decode(),
            last_seq=int(last_seq),
            floor=int(floor),
            state=state.decode(),
            state_ms=_number(at),
            seq=seq,
            tag=_number(found_tag),
            expires_ms=_number(expires),
            message=message,
            entry=(kind.decode(), int(kind_at)) if kind else None,
            push_url=PushUrlRecord.parse(message.push_url.encode(), push_url) if message and push_url else None,
            life=life.decode() if push_url else "",
            devices=_devices(reply[14]),
            leases=_leases(reply[15]),
        )

    async def push_url(self, user: UserId, push_url: PushUrlId) -> PushUrlFacts | Nobody:
        reply = await self._store.run_uncertain(
            INSPECT_PUSH_URL, user, push_url=push_url, limit=MAX_MESSAGES, scan=MAX_EVENTS
        )
        if reply[0] != b"done":
            return _nobody(reply)
        now, epoch, made, life, record, icon_bytes, messages, unread, events, looked, entries, devices = reply[1:13]
        of_url, of_user = reply[13:]
        return PushUrlFacts(
            now_ms=int(now),
            epoch=epoch.decode(),
            push_urls_made=int(made),
            life=life.decode(),
            record=PushUrlRecord.parse(push_url.encode(), record) if record else None,
            icon_bytes=icon_bytes,
            messages=_messages(messages),
            unread=unread,
            events=[(int(seq), kind.decode(), int(at)) for seq, kind, at in events],
            looked=looked,
            log_entries=entries,
            devices=_devices(devices),
            rate=self._rates.state("push_url", of_url, int(now)),
            user_rate=self._rates.state("user", of_user, int(now)),
        )

    async def server(self, server: ServerId) -> ServerFacts:
        keys = [self._store.keys.servers(noun) for noun in ("seen", "rows", "generations", "judges")]
        now, seen, row, generation, judges = await self._store.run_on(INSPECT_SERVER, keys, server=server)
        flat = iter(judges)
        return ServerFacts(
            now_ms=int(now),
            seen_ms=_number(seen),
            row=msgspec.msgpack.decode(row, type=Row) if row else None,
            newest_generation=_number(generation),
            judges=[
                (name.decode(), int(asked), int(grace)) for name, asked, grace in zip(flat, flat, flat, strict=True)
            ],
        )


def _nobody(reply: Sequence[Any]) -> Nobody:
    now_ms, what = int(reply[1]), int(reply[2])
    return Nobody(now_ms, now_ms + what, 0) if reply[0] == b"gone" else Nobody(now_ms, None, what)


def _pairs(flat: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _devices(flat: Sequence[bytes]) -> Devices:
    """Oldest first."""
    found = {DeviceId(id_.decode()): msgspec.msgpack.decode(raw, type=Device) for id_, raw in _pairs(flat)}
    return dict(sorted(found.items(), key=lambda item: item[1].created))


def _leases(flat: Sequence[bytes]) -> list[Holder]:
    return [Holder.parse(connection, value) for connection, value in _pairs(flat)]


def _messages(pairs: Sequence[Sequence[bytes]]) -> list[MessageRecord]:
    return [MessageRecord.parse(seq, header) for seq, header in pairs]


def _place(id_: bytes, at: bytes) -> tuple[int, int, int] | None:
    seq, _, tag = id_.partition(b"-")
    return (int(seq), int(tag), int(at)) if id_ else None


def _number(raw: bytes) -> int | None:
    return int(raw) if raw else None
