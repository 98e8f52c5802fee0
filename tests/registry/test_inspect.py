"""What `pushctl inspect` says of users, messages, push URLs and servers, held against what the registry does."""

import re
from dataclasses import replace

import msgspec
import pytest

from pushctl.config.model import Boxoffice, Config, Redis
from pushctl.errors import Failed, PushUrlGone, RateLimited, StoreUnavailable
from pushctl.ids import (
    START,
    ConnectionId,
    Cursor,
    DeviceId,
    Position,
    PushUrlId,
    ServerId,
    SessionHash,
    UserId,
    new_id,
)
from pushctl.inspection import (
    MessageReport,
    PushUrlReport,
    UserReport,
    inspect_message,
    inspect_push_url,
    inspect_server,
    inspect_user,
)
from pushctl.inspection.targets import MessageTarget, PushUrlTarget
from pushctl.registry import Registry, inspection, open_registry
from pushctl.registry.facts import MessageFacts, PushUrlFacts, UserFacts
from pushctl.registry.messages import Stored
from pushctl.registry.servers import Row, ServerState
from tests.conftest import RedisProcess
from tests.registry.conftest import Shift
from tests.registry.test_messages import ADA, SITE, Inbox

BOB = UserId("bob")
S1 = ServerId("s1")


@pytest.fixture
async def inbox(registry: Registry) -> Inbox:
    inbox = Inbox(registry)
    await inbox.prepare()
    await registry.sessions.begin(
        SessionHash("s1"), ADA, inbox.device, provider="browserid", expires_at_ms=1, lasts_ms=60_000
    )
    return inbox


async def device(registry: Registry, name: str) -> DeviceId:
    registered = await registry.users.register(ADA, device=None, name=name, session=SessionHash(name), identity="i")
    return registered.device


async def connect(registry: Registry, device: DeviceId, generation: int = 1, rank: int = 0) -> None:
    session = SessionHash((await registry.users.devices(ADA))[0][device].session)
    await registry.presence.claim(
        ADA, device, ConnectionId(new_id()), session=session, server=S1, generation=generation, rank=rank
    )


async def beat(
    registry: Registry, generation: int = 1, connections: int = 0, state: ServerState = "ready", server: ServerId = S1
) -> None:
    row = Row(state, f"ws://{server}/", connections, 10, generation, "0", "2026-01-01T00:00:00.000Z")
    await registry.servers.heartbeat(server, row)


def of_message(stored: Stored) -> MessageTarget:
    return MessageTarget(ADA, stored.ref.seq, stored.ref.tag, stored.ref.expires_at_ms)


def of_url(inbox: Inbox) -> PushUrlTarget:
    return PushUrlTarget(ADA, inbox.url, inbox.number)


# --- users -----------------------------------------------------------------------------------------------------------


async def test_a_users_report_adds_up(inbox: Inbox, registry: Registry, config: Config) -> None:
    await inbox.append(b"12345")
    gone = await inbox.append(b"gone")
    await registry.messages.read(ADA, [gone.ref])
    await inbox.allow("https://b.example")
    await inbox.append(b"123")
    report = await inspect_user(registry, config, ADA)
    here = await inbox.here()
    assert (report.log.last_seq, report.epoch) == (here.position.seq, here.epoch)
    assert (report.log.entries, report.log.first_seq, report.log.floor, report.log.whole) == (6, 1, 0, True)
    assert (report.unread.messages, report.unread.bytes, report.unread.complete) == (2, 8, True)
    assert [(row.site, row.unread, row.unread_bytes) for row in report.push_urls] == [
        (SITE, 1, 5),
        ("https://b.example", 1, 3),
    ]
    assert (report.dead_messages, report.push_urls_made) == (1, 2)
    assert report.bytes is not None
    assert report.log.bytes is not None
    assert report.bytes > report.log.bytes > 0
    assert report.gc.listed


async def test_a_device_that_is_behind_says_by_how_much_and_why(
    inbox: Inbox, registry: Registry, config: Config
) -> None:
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    read = await inbox.append(b"one")
    await inbox.append(b"two")
    await registry.messages.read(ADA, [read.ref])
    (laptop,) = (await inspect_user(registry, config, ADA)).devices
    assert (laptop.behind_events, laptop.behind_unread, laptop.next_sync) == (3, 1, "delta")
    assert laptop.why.startswith("laptop is behind by 3 events (1 unread message): not connected, last seen ")
    await beat(registry)
    await connect(registry, inbox.device)
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    (laptop,) = (await inspect_user(registry, config, ADA)).devices
    assert (laptop.behind_events, laptop.behind_unread, laptop.next_sync, laptop.server) == (0, 0, "nothing", "s1")
    assert laptop.why == "laptop has everything: connected to s1 (generation 1)"


async def test_what_a_filter_holds_back_is_counted_apart(inbox: Inbox, registry: Registry, config: Config) -> None:
    await connect(registry, inbox.device, rank=2)
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    await inbox.append(b"low", rank=1)
    await inbox.append(b"high", rank=3)
    (laptop,) = (await inspect_user(registry, config, ADA)).devices
    assert (laptop.behind_unread, laptop.filtered_unread, laptop.min_urgency) == (2, 1, "normal")
    assert "its filter holds back 1 message" in laptop.why


async def says_snapshot(registry: Registry, config: Config, because: str) -> UserReport:
    report = await inspect_user(registry, config, ADA)
    assert report.devices[0].next_sync == "snapshot"
    assert f"a snapshot awaits it: {because}" in report.devices[0].why
    return report


async def test_why_a_snapshot_awaits_a_device(inbox: Inbox, registry: Registry, config: Config) -> None:
    await says_snapshot(registry, config, "it has acknowledged nothing yet")
    await connect(registry, inbox.device, rank=2)
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    await connect(registry, inbox.device, rank=1)
    assert (await says_snapshot(registry, config, "it lowered its filter")).devices[0].resync_owed
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    last = (await inbox.append(b"one")).change.last
    assert (await inspect_user(registry, config, ADA)).devices[0].next_sync == "delta"
    await registry.link.ask("XDEL", registry.users._store.keys.user(ADA, "log"), str(last))
    report = await says_snapshot(registry, config, "the log's newest entries are lost")
    assert not report.log.whole
    await registry.link.ask("HSET", registry.users._store.keys.user(ADA, "meta"), "epoch", "0" * 16)
    await says_snapshot(registry, config, "what it acknowledged is of another epoch")


@pytest.mark.parametrize(("more", "promised"), [(0, "Delta"), (1, "Snapshot")])
async def test_a_place_below_the_floor_of_the_log_is_as_lost_as_sync_says(
    inbox: Inbox, registry: Registry, config: Config, shift: Shift, more: int, promised: str
) -> None:
    at = await inbox.here()
    await registry.messages.acknowledge(ADA, [(inbox.device, at)])
    for _ in range(more):
        await inbox.append(b"old")
    shift.ms = 4 * 86_400_000
    for _ in range(8):  # so often it is looked whether something is older than everything, and leaves the log
        await inbox.append(b"one")
    report = await inspect_user(registry, config, ADA)
    assert report.log.floor == at.position.seq + more
    assert report.devices[0].next_sync == promised.lower()
    assert type(await inbox.sync(at)).__name__ == promised


async def test_leases_are_judged_as_routers_judge_them(
    inbox: Inbox, registry: Registry, config: Config, shift: Shift
) -> None:
    async def states() -> list[str]:
        return [lease.state for lease in (await inspect_user(registry, config, ADA)).leases]

    await connect(registry, inbox.device, generation=2)
    assert await states() == ["unheard"]
    await beat(registry, generation=2)
    assert await states() == ["live"]
    shift.ms = 8000
    report = await inspect_user(registry, config, ADA)
    assert [lease.state for lease in report.leases] == ["dead"]
    assert report.devices[0].server is None
    assert "not connected: its lease is of s1, which is dead" in report.devices[0].why
    assert "a stale lease: s1 is dead; whoever meets it removes it" in report.why
    await connect(registry, inbox.device, generation=3)  # what is silent is not the start that the lease is of
    assert await states() == ["unheard"]
    await beat(registry, generation=4)
    assert await states() == ["replaced"]


async def test_what_gc_does_not_know_or_has_not_done_is_said(
    inbox: Inbox, registry: Registry, config: Config, shift: Shift
) -> None:
    stored = await inbox.append(b"short", lifetime_ms=20_000)
    report = await inspect_user(registry, config, ADA)
    assert any("gc's index does not know" in each for each in report.why)
    registry.index.expires(ADA, stored.ref.expires_at_ms)
    shift.ms = 120_000
    report = await inspect_user(registry, config, ADA)
    assert (report.unread.messages, report.unread.past_their_moment) == (0, 1)
    assert "1 message past their moment, shown to nobody, wait for gc" in report.why
    assert any(each.startswith("gc is late: due ") for each in report.why)


async def test_a_look_at_very_many_messages_is_bounded_and_says_so(
    inbox: Inbox, registry: Registry, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "MAX_MESSAGES", 2)
    for body in (b"1", b"22", b"333"):
        await inbox.append(body)
    report = await inspect_user(registry, config, ADA)
    assert (report.unread.messages, report.unread.bytes, report.unread.complete) == (3, 5, False)


async def test_a_session_that_ended_is_not_counted_as_live(inbox: Inbox, registry: Registry, config: Config) -> None:
    assert (await inspect_user(registry, config, ADA)).devices[0].sessions_live == 1
    await registry.sessions.end(SessionHash("s1"))
    (laptop,) = (await inspect_user(registry, config, ADA)).devices
    assert (laptop.sessions, laptop.sessions_live) == (1, 0)
    assert laptop.why.endswith("its session has ended")


# --- messages --------------------------------------------------------------------------------------------------------


async def test_the_state_of_a_message_is_what_its_sender_is_told(
    inbox: Inbox, registry: Registry, config: Config, shift: Shift
) -> None:
    messages = {"read": await inbox.append(b"read"), "replaced": await inbox.append(b"old", topic="t")}
    await inbox.append(b"new", topic="t")
    messages["cancelled"] = await inbox.append(b"cancelled")
    messages["delivered"] = await inbox.append(b"delivered")
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    messages["expired"] = await inbox.append(b"expired", lifetime_ms=20_000)
    messages["stored"] = await inbox.append(b"stored")
    await registry.messages.read(ADA, [messages["read"].ref])
    await registry.messages.cancel(ADA, messages["cancelled"].ref)
    shift.ms = 22_000
    for state, stored in messages.items():
        report = await inspect_message(registry, of_message(stored))
        told = await registry.messages.state(ADA, stored.ref)
        assert told is not None
        assert (report.state, told[0]) == (state, state)
        assert report.why[0].startswith(state)
        bare = await inspect_message(registry, replace(of_message(stored), tag=None, expires_ms=None))
        assert without_clock(bare) == without_clock(report)


def without_clock(report: MessageReport) -> MessageReport:
    return msgspec.structs.replace(report, at="", expires_in_ms=None, why=[], devices=[])


async def test_each_device_says_whether_it_has_the_message(inbox: Inbox, registry: Registry) -> None:
    phone, watch, tablet = [await device(registry, name) for name in ("phone", "watch", "tablet")]
    await beat(registry)
    await connect(registry, watch, rank=3)
    before = await inbox.here()
    await registry.messages.acknowledge(ADA, [(phone, before), (watch, before)])
    stored = await inbox.append(b"one")
    await registry.messages.acknowledge(ADA, [(watch, stored_at(stored))])
    assert (await inspect_message(registry, of_message(stored))).state == "stored"  # the watch was not shown it
    await registry.messages.acknowledge(ADA, [(inbox.device, stored_at(stored))])
    report = await inspect_message(registry, of_message(stored))
    assert {device.id: (device.status, device.server) for device in report.devices} == {
        inbox.device: ("acknowledged", None),
        phone: ("waiting", None),
        watch: ("filtered", "s1"),
        tablet: ("snapshot", None),
    }
    of_phone = next(device for device in report.devices if device.id == phone)
    assert of_phone.behind_events == 1
    assert of_phone.why.startswith("phone: not acknowledged: stands 1 event before it; not connected, last seen ")
    assert report.why == ["delivered, unread: acknowledged by 1 of 4 devices"]


def stored_at(stored: Stored) -> Cursor:
    return Cursor(stored.change.epoch, stored.change.last)


async def test_a_message_whose_log_was_taken_back_is_never_taken_for_another(inbox: Inbox, registry: Registry) -> None:
    stored = await inbox.append(b"one")
    target = of_message(stored)
    other = replace(target, tag=stored.ref.tag ^ 1)
    with pytest.raises(Failed, match=r"how it ended is not known any more.*404"):
        await inspect_message(registry, other)
    await registry.messages.read(ADA, [stored.ref])
    assert (await inspect_message(registry, target)).state == "read"
    with pytest.raises(Failed, match=r"how it ended is not known any more.*404"):
        await inspect_message(registry, other)
    with pytest.raises(Failed, match=r"above the end of the log, 3: Redis has lost it.*404"):
        await inspect_message(registry, replace(target, seq=4))
    with pytest.raises(Failed, match="entry 1 of the log is a push URL"):
        await inspect_message(registry, MessageTarget(ADA, 1, None, None))
    with pytest.raises(Failed, match="TTL 0"):
        await inspect_message(registry, replace(target, seq=0))


async def test_of_an_expired_message_of_another_log_no_device_says_anything(
    inbox: Inbox, registry: Registry, shift: Shift
) -> None:
    stored = await inbox.append(b"one", lifetime_ms=20_000)
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    shift.ms = 22_000
    assert len((await inspect_message(registry, of_message(stored))).devices) == 1
    other = replace(of_message(stored), tag=1)
    report = await inspect_message(registry, other)
    assert (report.state, report.devices, report.in_log) == ("expired", [], False)


# --- push URLs -------------------------------------------------------------------------------------------------------


async def sender_gets(inbox: Inbox, user: UserId = ADA, **changes: object) -> int:
    try:
        await inbox.registry.messages.append(user, inbox.message(b"hi", **changes))
    except PushUrlGone:
        return 410
    except StoreUnavailable:
        return 503
    except RateLimited:
        return 429
    return 201


async def agreed(inbox: Inbox, config: Config, target: PushUrlTarget) -> PushUrlReport:
    """The report, which says what a sender gets: that is tried, too."""
    report = await inspect_push_url(inbox.registry, config, target)
    got = await sender_gets(inbox, target.user, push_url=target.push_url, number=target.number)
    assert report.sender_gets == got
    return report


async def test_what_a_sender_gets_is_what_it_gets(inbox: Inbox, registry: Registry, config: Config) -> None:
    await inbox.append(b"1234")
    report = await agreed(inbox, config, of_url(inbox))
    assert (report.state, report.site, report.unread, report.unread_bytes) == ("live", SITE, 1, 4)
    assert [event.kind for event in report.events] == ["push_url"]
    lost = await agreed(inbox, config, PushUrlTarget(ADA, PushUrlId("lost"), 7))
    assert (lost.state, lost.sender_gets) == ("unknown", 503)
    await registry.push_urls.revoke(ADA, inbox.url)
    report = await agreed(inbox, config, of_url(inbox))
    assert (report.state, report.site, report.unread) == ("revoked", SITE, 2)
    assert report.why[0] == "revoked: its number 1 was given out, the user's counter stands at 1"
    assert [event.kind for event in report.events] == ["revoked", "push_url"]
    unheard = await agreed(inbox, config, PushUrlTarget(BOB, inbox.url, 1))
    assert (unheard.state, unheard.sender_gets) == ("unknown", 503)
    await registry.users.delete(ADA)
    report = await agreed(inbox, config, of_url(inbox))
    assert (report.state, report.sender_gets) == ("account_deleted", 410)


@pytest.mark.parametrize("whose", ["push_url", "user"])
async def test_a_rate_is_told_as_it_is_and_when_it_is_used_up(config: Config, shift: Shift, whose: str) -> None:
    slow = {f"{whose}_per_second": 0.01, f"{whose}_burst": 2}
    config = replace(config, limits=replace(config.limits, **slow))  # type: ignore[arg-type]  # numbers
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        inbox = Inbox(registry)
        await inbox.prepare()

        async def told() -> tuple[int | None, int | None, int | None]:
            report = await inspect_push_url(registry, config, of_url(inbox))
            left = {"push_url": report.rate_left, "user": report.user_rate_left}
            return (
                left[whose],
                {"push_url": report.rate_burst, "user": report.user_rate_burst}[whose],
                report.sender_gets,
            )

        assert await told() == (2, 2, 201)
        await inbox.append(b"one")
        assert await told() == (1, 2, 201)
        await inbox.append(b"two")
        assert await told() == (0, 2, 429)
        report = await agreed(inbox, config, of_url(inbox))
        named = {"push_url": "its own rate", "user": "the rate of its user"}[whose]
        assert re.match(f"live, but {named} is used up: there is a turn in (100|9\\d(\\.\\d)?) s", report.why[0])
        shift.ms += 100_000
        assert await told() == (1, 2, 201)
        shift.ms -= 200_000
        assert await told() == (0, 2, 429), "a clock that steps back earns nothing"


async def test_without_limits_no_rate_is_told(config: Config) -> None:
    config = replace(config, limits=replace(config.limits, push_url_per_second=0, user_per_second=0))
    async with open_registry(config, name="test") as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        report = await agreed(inbox, config, of_url(inbox))
    assert (report.rate_left, report.rate_burst, report.user_rate_left, report.user_rate_burst) == (None,) * 4


async def test_a_push_url_is_found_by_its_id_alone_as_far_as_that_goes(
    inbox: Inbox, registry: Registry, config: Config
) -> None:
    report = await inspect_push_url(registry, config, PushUrlTarget(ADA, inbox.url, None))
    assert (report.state, report.number) == ("live", 1)
    report = await inspect_push_url(registry, config, PushUrlTarget(ADA, PushUrlId("x"), None))
    assert (report.state, report.sender_gets) == ("unknown", None)
    await registry.push_urls.revoke(ADA, inbox.url)
    report = await inspect_push_url(registry, config, PushUrlTarget(ADA, inbox.url, None))
    assert (report.state, report.sender_gets) == ("revoked", 410)


async def test_a_push_url_is_not_taken_for_its_neighbours(inbox: Inbox, registry: Registry, config: Config) -> None:
    ids = [PushUrlId(name) for name in ("a", "b", "c")]
    for id_ in ids:
        _, record, _ = await registry.push_urls.allow(
            ADA, new_id=id_, site=f"https://{id_}.example", vapid_key=None, icon=None, key_id="k1"
        )
        await inbox.append(id_.encode(), push_url=id_, number=record.number)
    for id_ in ids:
        report = await inspect_push_url(registry, config, PushUrlTarget(ADA, id_, None))
        assert (report.site, report.unread, len(report.messages), len(report.events)) == (
            f"https://{id_}.example",
            1,
            1,
            1,
        )


async def test_the_messages_that_wait_say_who_has_them(inbox: Inbox, registry: Registry, config: Config) -> None:
    one = await inbox.append(b"one", topic="t", rank=3)
    await registry.messages.acknowledge(ADA, [(inbox.device, await inbox.here())])
    two = await inbox.append(b"two")
    url = inbox.url
    await inbox.allow("https://b.example")
    await inbox.append(b"elsewhere")
    report = await inspect_push_url(registry, config, PushUrlTarget(ADA, url, 1))
    assert [(each.seq, each.topic, each.urgency, each.acknowledged_by) for each in report.messages] == [
        (two.ref.seq, None, "normal", 0),
        (one.ref.seq, "t", "high", 1),
    ]


# --- servers ---------------------------------------------------------------------------------------------------------


async def test_a_server_says_why_it_counts_as_it_does(registry: Registry, config: Config, shift: Shift) -> None:
    with pytest.raises(Failed, match="no socket server s1 has ever started here; known: none"):
        await inspect_server(registry, config, S1)
    generation = await registry.servers.new_generation(S1)
    await beat(registry, generation, connections=4)
    await beat(registry, 1, connections=1, server=ServerId("s2"))
    await registry.servers.picture("judge")
    report = await inspect_server(registry, config, S1)
    assert (report.state, report.alive, report.box_office, report.place) == ("ready", True, "names it", 2)
    assert [(judge.name, judge.alive) for judge in report.judges] == [("judge", True)]
    await beat(registry, generation, connections=10)
    assert (
        "the Box Office leaves it out: full, 10 of 10 connections" in (await inspect_server(registry, config, S1)).why
    )
    await beat(registry, generation, state="draining")
    report = await inspect_server(registry, config, S1)
    assert (report.state, report.box_office) == ("draining", "leaves it out")
    await registry.servers.new_generation(S1)
    report = await inspect_server(registry, config, S1)
    assert "generation 2 has started and not been heard of: generation 1 is fenced" in report.why
    shift.ms = 5000
    (late, *_) = (await inspect_server(registry, config, S1)).why
    assert re.match(r"alive, but late: its last heartbeat was \d s ago", late)
    shift.ms = 8000
    report = await inspect_server(registry, config, S1)
    assert (report.state, report.alive) == ("dead", False)
    assert re.match(r"dead: silent for \d+ s, and 7 s of silence is death", report.why[0])


async def test_the_place_of_a_server_is_the_one_that_the_box_office_gives_it(
    registry: Registry, config: Config
) -> None:
    """By the share that is free, and those of the Box Office's zone first."""

    async def place(zone: str) -> tuple[int | None, str]:
        report = await inspect_server(registry, replace(config, boxoffice=Boxoffice(zone=zone)), S1)
        return report.place, report.zone

    for name, connections, capacity, row_zone in (("s1", 2, 10, "east"), ("s2", 100, 1000, ""), ("s3", 5, 10, "west")):
        generation = await registry.servers.new_generation(ServerId(name))
        row = Row("ready", "ws://x/", connections, capacity, generation, "0", "now", zone=row_zone)
        await registry.servers.heartbeat(ServerId(name), row)
    assert [await place(zone) for zone in ("", "east", "west")] == [(2, "east"), (1, "east"), (3, "east")]


async def test_a_judge_that_was_away_is_said_to_be_generous(registry: Registry, config: Config, shift: Shift) -> None:
    await beat(registry)
    shift.ms = 8000
    await registry.servers.picture("late")  # its first look: everybody gets a fresh 7 s
    report = await inspect_server(registry, config, S1)
    assert not report.alive
    assert [judge.alive for judge in report.judges] == [True]
    assert "still counted as alive by late: not watching for 7 s yet" in report.why
    assert (await registry.servers.picture("late"))[0].alive


async def test_a_server_that_said_goodbye_is_not_one_that_never_was(registry: Registry, config: Config) -> None:
    generation = await registry.servers.new_generation(S1)
    await beat(registry, generation)
    await registry.servers.goodbye(S1, generation)
    with pytest.raises(Failed, match="socket server s1 has no row: 1 start, it said goodbye"):
        await inspect_server(registry, config, S1)


# --- no traces -------------------------------------------------------------------------------------------------------


async def everything(registry: Registry) -> dict[bytes, bytes]:
    found = await registry.link.ask_masters("KEYS", f"{registry.users._store.keys.prefix}:*")
    return {key: await registry.link.ask("DUMP", key) for keys in found.values() for key in keys}


async def look_at_all(registry: Registry, config: Config, inbox: Inbox, stored: Stored, user: UserId) -> list[str]:
    """All that is said, of whatever is there and what is not."""
    said = []
    for look in (
        inspect_user(registry, config, user),
        inspect_push_url(registry, config, replace(of_url(inbox), user=user)),
        inspect_message(registry, replace(of_message(stored), user=user)),
        inspect_message(registry, MessageTarget(user, stored.ref.seq, None, None)),
        inspect_server(registry, config, S1),
    ):
        try:
            said.append(msgspec.json.encode(await look).decode())
        except Failed as error:
            said.append(str(error))
    return said


async def test_a_look_leaves_nothing_behind_and_shows_no_body(inbox: Inbox, registry: Registry, config: Config) -> None:
    body = b"between the two of us"
    stored = await inbox.append(body, topic="t", idempotency_key="k")
    await connect(registry, inbox.device)
    await beat(registry)
    before = await everything(registry)
    for user in (ADA, BOB):
        said = await look_at_all(registry, config, inbox, stored, user)
        assert len(said) == 5
        assert body.decode() not in " ".join(said)
    assert await everything(registry) == before
    await registry.users.delete(ADA)
    before = await everything(registry)
    said = await look_at_all(registry, config, inbox, stored, ADA)
    assert "the account was deleted; its tombstone stays until" in said[0]
    assert await everything(registry) == before


async def test_no_body_and_no_picture_leaves_redis(inbox: Inbox, registry: Registry) -> None:
    await inbox.allow(SITE, "data:image/png;base64,AAAA")
    stored = await inbox.append(b"between the two of us")
    user = await registry.inspection.user(ADA)
    message = await registry.inspection.message(ADA, stored.ref.seq, None, None)
    push_url = await registry.inspection.push_url(ADA, inbox.url)
    assert isinstance(user, UserFacts)
    assert isinstance(message, MessageFacts)
    assert isinstance(push_url, PushUrlFacts)
    assert message.message is not None
    for record in (*user.messages, message.message, *push_url.messages):
        assert (record.body, record.size) == (b"", len(b"between the two of us"))
    for url in (*user.push_urls, message.push_url, push_url.record):
        assert url is not None
        assert url.icon is None
    assert push_url.icon_bytes == len("data:image/png;base64,AAAA")


async def test_a_user_without_meta_is_not_known_whatever_else_is_left(
    inbox: Inbox, registry: Registry, config: Config
) -> None:
    await registry.link.ask("DEL", registry.users._store.keys.user(ADA, "meta"))
    with pytest.raises(Failed, match=r"never there, or lost; senders get 503; 6 keys of it are left without its meta"):
        await inspect_user(registry, config, ADA)
    with pytest.raises(Failed, match=r"never there, or lost; senders get 503$"):
        await inspect_user(registry, config, BOB)


async def test_an_empty_log_is_whole(registry: Registry, config: Config) -> None:
    await device(registry, "laptop")
    report = await inspect_user(registry, config, ADA)
    assert (report.log.entries, report.log.last_seq, report.log.whole) == (0, START.seq, True)
    assert Position(report.log.last_seq, 0) == START


async def test_a_redis_that_does_not_say_sizes_says_everything_else(own_redis: RedisProcess) -> None:
    config = replace(Config(), redis=Redis(url=own_redis.url))
    async with open_registry(config, name="test") as registry:
        await device(registry, "laptop")
        await registry.link.ask_masters("ACL", "SETUSER", "default", "-memory")
        report = await inspect_user(registry, config, ADA)
    assert (report.bytes, report.log.bytes, len(report.devices)) == (None, None, 1)
