"""Sweeping: what expired goes, several daemons share the shards, and one that was frozen settles nothing."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from pushctl.config.model import Config
from pushctl.errors import NotGood, StoreUnavailable
from pushctl.ids import UserId
from pushctl.registry import Registry
from pushctl.registry.index import LEASE_MS
from pushctl.registry.keys import SHARDS, shard_of
from roles.gc import once, pace, sweeps
from roles.gc.serve import GcRole
from roles.gc.sweeps import Swept
from tests.metrics import values
from tests.registry.conftest import Shift
from tests.registry.test_messages import ADA, Inbox

SHARD = shard_of(ADA)


async def sweep(registry: Registry, daemon: str = "daemon") -> Swept:
    """One round; how long things had been due is of no interest here."""
    found = await sweeps.sweep(registry, daemon, limit=1000)
    return replace(sweeps.total(found.values()), oldest_ms=0)


async def entries(registry: Registry, noun: str = "due") -> int:
    """In the index, of ADA's shard."""
    size = {"due": "ZCARD", "idle": "HLEN"}[noun]
    return int(await registry.link.ask(size, registry.users._store.keys.shard(SHARD, noun)))


# --- what expired ----------------------------------------------------------------------------------------------------


async def test_gc_removes_what_expired_and_leaves_the_index_after_two_visits(registry: Registry, shift: Shift) -> None:
    inbox = Inbox(registry)
    await inbox.prepare()
    stored = await inbox.append(b"short", lifetime_ms=60_000)
    registry.index.expires(ADA, stored.ref.expires_at_ms)
    assert await sweep(registry) == Swept(0, 0, 0)
    shift.ms = 61_000
    assert await sweep(registry) == Swept(1, 1, 0)
    assert await sweep(registry) == Swept(0, 0, 0)
    assert await entries(registry) == 1
    shift.ms = 130_000
    assert await sweep(registry) == Swept(1, 0, 0)
    assert await entries(registry) == await entries(registry, "idle") == 0


async def test_a_user_who_got_mail_between_two_visits_stays_in_the_index(registry: Registry, shift: Shift) -> None:
    inbox = Inbox(registry)
    await inbox.prepare()
    registry.index.expires(ADA, 1)
    await sweep(registry)
    stored = await inbox.append(b"later", lifetime_ms=3600_000)
    registry.index.expires(ADA, stored.ref.expires_at_ms)
    shift.ms = 70_000
    assert (await sweep(registry)).users == 1
    shift.ms = 3700_000
    assert await sweep(registry) == Swept(1, 1, 0)


async def test_an_entry_set_anew_during_a_visit_is_left_as_it_is(registry: Registry) -> None:
    registry.index.expires(ADA, 2)
    fence = await registry.index.take(SHARD, "daemon")
    assert fence is not None
    due = await registry.index.due(SHARD, fence, 10)
    assert due is not None
    registry.index.expires(ADA, 1)  # a message came that expires earlier than anything the visit saw
    assert await registry.index.settle(SHARD, fence, due.entries[0], 9_999_999_999_999) == "changed"
    due = await registry.index.due(SHARD, fence, 10)
    assert due is not None
    assert due.entries[0].score == b"1"


async def test_a_long_inbox_is_swept_in_several_short_scripts(
    registry: Registry, shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "SWEEP_MESSAGES", 4)
    inbox = Inbox(registry)
    await inbox.prepare()
    for _ in range(10):
        stored = await inbox.append(b"short", lifetime_ms=60_000)
    registry.index.expires(ADA, stored.ref.expires_at_ms)
    shift.ms = 61_000
    assert [(await sweep(registry)).messages for _ in range(4)] == [4, 4, 2, 0]


# --- leases ----------------------------------------------------------------------------------------------------------


async def test_a_shard_is_one_daemons_at_a_time_and_fences_only_rise(registry: Registry, shift: Shift) -> None:
    index = registry.index
    first = await index.take(SHARD, "one")
    assert first is not None
    assert await index.take(SHARD, "two") is None
    assert await index.take(SHARD, "one") == first  # renewed
    await index.give_back(SHARD, first)
    second = await index.take(SHARD, "two")
    assert second is not None
    assert second > first
    await index.give_back(SHARD, first)  # late: it is another's
    assert await index.take(SHARD, "one") is None
    shift.ms = LEASE_MS + 1000  # the daemon died
    third = await index.take(SHARD, "one")
    assert third is not None
    assert third > second
    await registry.link.ask("DEL", registry.users._store.keys.shard(SHARD, "lease"))  # Redis lost it
    shift.ms += 1000
    fourth = await index.take(SHARD, "two")
    assert fourth is not None
    assert fourth > third


async def test_a_daemon_that_was_frozen_past_its_lease_settles_nothing(registry: Registry, shift: Shift) -> None:
    index = registry.index
    index.expires(ADA, 1)
    fence = await index.take(SHARD, "frozen")
    assert fence is not None
    due = await index.due(SHARD, fence, 10)
    assert due is not None
    shift.ms = LEASE_MS + 1000
    other = await index.take(SHARD, "other")
    assert other is not None
    assert await index.settle(SHARD, fence, due.entries[0], None) == "fenced"
    assert await index.due(SHARD, fence, 10) is None
    await index.give_back(SHARD, fence)
    assert await index.take(SHARD, "third") is None
    assert await entries(registry, "idle") == 0
    again = await index.due(SHARD, other, 10)
    assert again is not None
    assert again.entries == due.entries
    # One whose lease ended, and was taken by nobody, may go on: nobody has seen anything else meanwhile.
    shift.ms += LEASE_MS + 1000
    assert await index.settle(SHARD, other, due.entries[0], None) == "once"
    assert await index.take(SHARD, "third") is None  # and holds it again


async def test_what_a_daemon_has_given_back_it_settles_no_more(registry: Registry) -> None:
    registry.index.expires(ADA, 1)
    fence = await registry.index.take(SHARD, "one")
    assert fence is not None
    due = await registry.index.due(SHARD, fence, 10)
    assert due is not None
    await registry.index.give_back(SHARD, fence)
    assert await registry.index.settle(SHARD, fence, due.entries[0], None) == "fenced"


async def test_a_lease_from_before_the_clock_stepped_back_is_over(registry: Registry, shift: Shift) -> None:
    shift.ms = 3_600_000
    before = await registry.index.take(SHARD, "dead")
    shift.ms = 0
    after = await registry.index.take(SHARD, "alive")
    assert before is not None
    assert after is not None
    assert after > before


async def test_daemons_share_the_shards_and_visit_nobody_twice(registry: Registry) -> None:
    for n in range(400):
        registry.index.expires(UserId(f"u{n}"), 1)
    found: dict[str, Swept] = {}

    async def run(daemon: str) -> None:
        found[daemon] = await once_round(registry, daemon)

    async with trio.open_nursery() as nursery:
        for daemon in ("one", "two", "three"):
            nursery.start_soon(run, daemon)
    assert sum(swept.users for swept in found.values()) == 400
    assert all(swept.users > 0 for swept in found.values()), found


async def once_round(registry: Registry, daemon: str) -> Swept:
    return sweeps.total((await sweeps.sweep(registry, daemon, limit=SHARDS * 1000)).values())


async def test_a_dead_daemons_shard_is_skipped_and_taken_over(registry: Registry, shift: Shift) -> None:
    registry.index.expires(ADA, 1)
    assert await registry.index.take(SHARD, "dead")
    found = await sweeps.sweep(registry, "alive", limit=1000)
    assert [shard for shard, swept in found.items() if swept is None] == [SHARD]
    shift.ms = LEASE_MS + 1000
    assert (await sweep(registry, "alive")).users == 1


async def test_a_shard_that_does_not_answer_keeps_nobody_from_the_others(registry: Registry) -> None:
    keys, other = registry.users._store.keys, (SHARD + 1) % SHARDS
    user = next(user for n in range(1000) if shard_of(user := UserId(f"u{n}")) == other)
    registry.index.expires(user, 1)
    await registry.link.ask("SET", keys.shard(SHARD, "lease"), "of another kind")  # every question of it fails
    for _ in range(2):
        found = await sweeps.sweep(registry, "daemon", limit=1000)
        assert found.pop(SHARD) is None
        assert all(swept is not None for swept in found.values())
    assert await overdue(registry) == 0
    with pytest.raises(StoreUnavailable):
        await sweeps.sweep(registry, "daemon", limit=1000, shards=[SHARD])


# --- the pace --------------------------------------------------------------------------------------------------------


async def test_gc_rests_as_long_as_it_works(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    async with pace.sharing():
        await trio.sleep(3)
    assert trio.current_time() - started == pytest.approx(6)


async def test_a_backlog_is_worked_off_without_waiting_for_the_next_tick(registry: Registry, config: Config) -> None:
    behind = replace(config, gc=replace(config.gc, tick_seconds=3600, batch=SHARDS))  # one user of a shard in a round
    for n in range(100):
        registry.index.expires(UserId(f"u{n}"), 1)
    role = GcRole(behind)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: role.serve(task_status=task_status))
        with trio.fail_after(20):
            while await overdue(registry):  # noqa: ASYNC110 - it works on the same Redis, and tells nobody
                await trio.sleep(0.01)
        role._sweeping.tick(1800)
        with trio.fail_after(20):
            while role._sweeping.still_for:  # noqa: ASYNC110 - half a tick is no standstill
                await trio.sleep(0.01)
        await role.drain()
    assert values(role.metrics)["pushctl_gc_backlog", ()] == 0
    # What a daemon had when it stopped is free at once.
    assert [shard for shard in registry.index.shards if await registry.index.take(shard, "next") is None] == []
    assert await registry.index.take_repair("next") is not None


async def test_every_shard_and_every_user_is_a_step_however_slow_redis_makes_a_round(registry: Registry) -> None:
    for n in range(10):
        registry.index.expires(UserId(f"u{n}"), 1)
    steps: list[float] = []
    await sweeps.sweep(registry, "daemon", limit=1000, step=lambda: steps.append(trio.current_time()))
    assert len(steps) == SHARDS + 10


async def overdue(registry: Registry) -> int:
    """Users that are due, in all shards."""
    now_ms, shard = await registry.now_ms(), registry.users._store.keys.shard
    counts = await registry.link.ask_all([("ZCOUNT", shard(n, "due"), "-inf", now_ms) for n in registry.index.shards])
    return sum(counts)


async def test_what_waits_is_measured(registry: Registry) -> None:
    now_ms = await registry.now_ms()
    same_shard = [user for n in range(1000) if shard_of(user := UserId(f"u{n}")) == SHARD][:3]
    for n, user in enumerate(same_shard):
        registry.index.expires(user, now_ms - 60_000 + n)
    visited = await sweeps.visit(registry, "daemon", SHARD, limit=1)
    assert visited is not None
    assert (visited.users, visited.backlog) == (1, 2)
    assert visited.oldest_ms == pytest.approx(60_000, abs=5000)
    assert sweeps.total([visited, None, Swept(1, 1, 1, 70_000)]) == Swept(2, 1, 3, 70_000)


# --- once ------------------------------------------------------------------------------------------------------------


async def test_once_sweeps_everything_that_is_due(registry: Registry) -> None:
    for n in range(100):
        registry.index.expires(UserId(f"u{n}"), 1)
    swept = await once.sweep_all(registry, limit=SHARDS)
    assert (swept.users, swept.backlog) == (100, 0)
    assert await overdue(registry) == 0


async def test_once_is_not_good_if_others_hold_a_shard_all_the_time(registry: Registry) -> None:
    assert await registry.index.take(SHARD, "stubborn")
    with pytest.raises(NotGood, match="1 of 16 shards"):
        await once.sweep_all(registry, limit=1000, patience_seconds=0)
