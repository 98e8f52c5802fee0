"""Users, devices, sessions, the identity index, gc's index and the key space."""

import fnmatch
import re

import pytest

from pushctl.config.model import Config
from pushctl.errors import LimitReached, NotFound
from pushctl.ids import DeviceId, SessionHash, UserId
from pushctl.registry import Registry, keys
from pushctl.registry.keys import shard_of
from roles.gc import sweeps
from tests.registry.conftest import Shift
from tests.registry.test_messages import ADA, Inbox


async def test_the_same_principal_is_the_same_user_for_ever(registry: Registry) -> None:
    assert await registry.sessions.user_of("entry", UserId("first")) == "first"
    assert await registry.sessions.user_of("entry", UserId("second")) == "first"


async def test_an_assertion_is_used_once(registry: Registry) -> None:
    assert await registry.sessions.first_use("digest", 60_000)
    assert not await registry.sessions.first_use("digest", 60_000)


async def test_a_session_that_ended_is_not_found(registry: Registry) -> None:
    one, two = SessionHash("one"), SessionHash("two")
    for session in (one, two):
        await registry.sessions.begin(session, ADA, DeviceId("d"), expires_at_ms=1, lasts_ms=60_000)
    await registry.sessions.end(one)
    assert await registry.sessions.find(one) is None
    assert await registry.sessions.live([one, two]) == [False, True]


async def test_a_device_logs_in_again_and_its_older_session_is_told(registry: Registry) -> None:
    first = await registry.users.register(ADA, device=None, name="a", session=SessionHash("1"), identity="i")
    again = await registry.users.register(ADA, device=first.device, name="b", session=SessionHash("2"), identity="i")
    assert (first.new_user, again.new_user) == (True, False)
    assert (again.device, again.older_sessions) == (first.device, ["1"])
    devices, _ = await registry.users.devices(ADA)
    assert [(device.name, device.session) for device in devices.values()] == [("b", "2")]
    with pytest.raises(NotFound):
        await registry.users.register(ADA, device=DeviceId("x"), name="c", session=SessionHash("3"), identity="i")
    with pytest.raises(NotFound):  # and makes no user
        await registry.users.register(
            UserId("bob"), device=first.device, name="c", session=SessionHash("3"), identity="j"
        )
    assert await registry.users.count(UserId("bob")) is None


async def test_a_user_has_a_bounded_number_of_devices(registry: Registry, config: Config) -> None:
    for n in range(config.limits.devices_per_user):
        await registry.users.register(ADA, device=None, name=str(n), session=SessionHash(str(n)), identity="i")
    with pytest.raises(LimitReached):
        await registry.users.register(ADA, device=None, name="more", session=SessionHash("more"), identity="i")


async def test_gc_removes_what_expired_and_leaves_the_index_after_two_visits(registry: Registry, shift: Shift) -> None:
    inbox = Inbox(registry)
    await inbox.prepare()
    stored = await inbox.append(b"short", lifetime_ms=1000)
    registry.index.expires(ADA, stored.ref.expires_at_ms)
    assert await sweeps.sweep(registry, limit=1000) == sweeps.Swept(0, 0, 0)
    shift.ms = 2000
    assert await sweeps.sweep(registry, limit=1000) == sweeps.Swept(1, 1, 0)
    assert await sweeps.sweep(registry, limit=1000) == sweeps.Swept(0, 0, 0)
    index = registry.users._store.keys.shard(shard_of(ADA), "due")
    assert await registry.link.ask("ZCARD", index) == 1
    shift.ms = 70_000
    assert await sweeps.sweep(registry, limit=1000) == sweeps.Swept(1, 0, 0)
    assert await registry.link.ask("ZCARD", index) == 0


async def test_a_user_who_got_mail_between_two_visits_stays_in_the_index(registry: Registry, shift: Shift) -> None:
    inbox = Inbox(registry)
    await inbox.prepare()
    registry.index.expires(ADA, 1)
    await sweeps.sweep(registry, limit=1000)
    stored = await inbox.append(b"later", lifetime_ms=3600_000)
    registry.index.expires(ADA, stored.ref.expires_at_ms)
    shift.ms = 70_000
    assert (await sweeps.sweep(registry, limit=1000)).users == 1
    shift.ms = 3700_000
    assert await sweeps.sweep(registry, limit=1000) == sweeps.Swept(1, 1, 0)


async def test_an_entry_set_anew_during_a_visit_is_left_as_it_is(registry: Registry) -> None:
    registry.index.expires(ADA, 2)
    (due,) = (await registry.index.due(shard_of(ADA), 10))[1]
    registry.index.expires(ADA, 1)  # a message came that expires earlier than anything the visit saw
    await registry.index.settle(shard_of(ADA), due, 9_999_999_999_999)
    assert (await registry.index.due(shard_of(ADA), 10))[1][0].score == b"1"


async def test_the_census_counts_what_is_there(registry: Registry, shift: Shift) -> None:
    inbox = Inbox(registry)
    await inbox.prepare()
    await inbox.append(b"one")
    await inbox.append(b"short", lifetime_ms=1000)
    shift.ms = 2000
    census = await sweeps.take_census(registry)
    assert (census.users, census.devices, census.push_urls, census.unread) == (1, 1, 1, 1)
    assert await registry.index.census() == census


async def test_the_census_repairs_an_index_that_lost_its_hint(registry: Registry, shift: Shift) -> None:
    inbox = Inbox(registry)
    await inbox.prepare()
    await inbox.append(b"short", lifetime_ms=1000)  # and nobody told the index
    await sweeps.take_census(registry)
    shift.ms = 2000
    assert await sweeps.sweep(registry, limit=1000) == sweeps.Swept(1, 1, 0)


async def test_one_daemon_at_a_time_takes_a_turn(registry: Registry) -> None:
    assert await registry.index.take_turn("census", 60_000)
    assert not await registry.index.take_turn("census", 60_000)


async def test_every_key_is_on_the_map_and_lives_as_long_as_it_says(registry: Registry) -> None:
    inbox = Inbox(registry)
    await inbox.prepare()
    await inbox.append(b"one", topic="t", idempotency_key="k")
    await inbox.append(b"two", topic="t")
    await inbox.allow("https://b.example")
    await registry.push_urls.revoke(ADA, inbox.url)
    await registry.sessions.begin(SessionHash("s"), ADA, inbox.device, expires_at_ms=1, lasts_ms=60_000)
    await registry.sessions.user_of("e", ADA)
    await registry.sessions.first_use("d", 60_000)
    registry.index.expires(ADA, 1)
    await sweeps.sweep(registry, limit=1000)
    await sweeps.take_census(registry)
    await registry.index.take_turn("census", 1000)
    mapped = re.findall(r"^  P:(\S+) +(\S+) +\S.*?  +(.*)$", keys.__doc__ or "", re.MULTILINE)
    assert len(mapped) > 25
    prefix = registry.users._store.keys.prefix
    found = [key for keys in (await registry.link.ask_masters("KEYS", f"{prefix}:*")).values() for key in keys]
    assert len(found) >= 18
    for key in found:
        name = key.decode().removeprefix(f"{prefix}:")
        matching = [row for row in mapped if fnmatch.fnmatchcase(name, row[0])]
        assert matching, f"{name} is not on the map"
        kind = (await registry.link.ask("TYPE", key)).decode()
        assert kind == matching[0][1], name
        lasts = await registry.link.ask("PTTL", key)
        expires = matching[0][2].startswith(("volatile", "one day", "30 min", "5 min", "the session", "the assertion"))
        assert (lasts > 0) == (expires or name.startswith("lease:")), (name, lasts)
