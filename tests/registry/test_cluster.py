"""A Cluster that moves slots, loses masters and freezes: nothing answered is lost, nothing is doubled, others go on."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import PushUrlId, UserId, b64url, new_id
from pushctl.registry import Registry, open_registry
from pushctl.registry.connection import ConnectionLost
from pushctl.registry.jobs import JobReader, Taken
from pushctl.registry.keys import SHARDS, SLOTS, Keys, shard_of, slot_of
from pushctl.registry.messages import Delta
from tests.redises.cluster import RedisCluster
from tests.registry.people import Person, Writer, impatient, in_thread, patiently, unhurried, until, user_in


class Tail:
    """A device that reads the log on and on from its own cursor."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self.seqs: list[int] = []
        self.reasons: Counter[str] = Counter()

    async def follow(self) -> None:
        sync = self._person.registry.messages.sync
        first = await sync(self._person.user, None, min_rank=0, page_bytes=1_000_000)
        assert not isinstance(first, Delta)
        cursor = first.next.pin
        while True:
            try:
                page = await sync(self._person.user, cursor, min_rank=0, page_bytes=1_000_000)
            except StoreUnavailable as error:
                self.reasons[error.detail] += 1
                continue
            assert isinstance(page, Delta), "a slot that moves is no loss: nobody needs a snapshot"
            self.seqs += [entry.position.seq for entry in page.entries]
            cursor = page.cursor
            await trio.sleep(0.005)


@pytest.mark.slow
async def test_a_slot_that_moves_under_traffic_loses_and_doubles_nothing(own_cluster: RedisCluster) -> None:
    async with open_registry(unhurried(own_cluster.url), name="test") as registry:
        ada = await Person.register(registry)
        slot = slot_of(f"u:{ada.user}")
        writers, tail = [Writer(ada, f"w{n}") for n in range(4)], Tail(ada)
        home = own_cluster.owner(slot)
        away = [master for master in own_cluster.masters if master is not home]
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(writer.write)
            nursery.start_soon(tail.follow)
            for target in (*away, home):
                await trio.sleep(0.1)
                steps = own_cluster.migration(slot, target)
                while await in_thread(next, steps, None):  # noqa: ASYNC110
                    await trio.sleep(0.03)  # half-moved: some scripts find all keys here, some there, some neither
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        assert own_cluster.owner(slot) is home
        bodies = await ada.bodies()
        for writer in writers:
            writer.check(bodies)
            assert len(writer.answered) > 20
        assert tail.reasons["Redis refused"] == 0
        assert tail.seqs == list(range(tail.seqs[0], tail.seqs[-1] + 1))
        print(f"answered {sum(len(w.answered) for w in writers)}, {sum((w.reasons for w in writers), Counter())}")


@pytest.mark.slow
async def test_a_key_that_has_moved_ahead_of_its_slot_is_found_there(own_cluster: RedisCluster) -> None:
    async with open_registry(unhurried(own_cluster.url), name="test") as registry:
        ada = await Person.register(registry)
        meta = Keys("pushctl").user(ada.user, "meta")
        source = own_cluster.owner(slot_of(meta))
        target = next(master for master in own_cluster.masters if master is not source)
        for key in own_cluster.migration(slot_of(meta), target):
            # A pipeline of them: each goes behind an ASKING of its own.
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(exists, registry, meta)
            if key == meta.encode():
                break
        else:
            pytest.fail("meta has not moved")
        assert own_cluster.owner(slot_of(meta)) is source
        assert await registry.link.ask_all([("HEXISTS", meta, "epoch"), ("TYPE", meta)]) == [1, b"hash"]


async def exists(registry: Registry, key: str) -> None:
    assert await registry.link.ask("EXISTS", key) == 1


@pytest.mark.slow
async def test_a_job_stream_that_moves_takes_its_reader_along(own_cluster: RedisCluster) -> None:
    config = impatient(own_cluster.url, timeout_seconds=2)
    async with open_registry(config, name="router") as registry, open_registry(config, name="api") as writer:
        jobs = registry.jobs
        user = user_in(0, jobs.partitions)
        stream = Keys("pushctl").route(0, jobs.partitions)
        slot = slot_of(stream)
        read: list[bytes] = []
        lost = 0

        async def keep_reading(readers: Callable[[], Awaitable[JobReader]]) -> None:
            """As a router does."""
            nonlocal lost
            while True:
                try:
                    reader = await readers()
                    try:
                        while True:
                            taken = await reader.take(10)
                            await note(taken)
                    finally:
                        with trio.CancelScope(shield=True):
                            await reader.aclose()
                except ConnectionLost:
                    lost += 1
                    await trio.sleep(0.05)

        async def note(taken: list[Taken] | None) -> None:
            if taken is None:
                await jobs.join("r", 0)
            elif taken:
                read.extend(job.payload for job in taken)
                await jobs.hand_over(taken)

        await jobs.join("r", 0)
        writer.jobs.put(user, b"before")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_reading, lambda: jobs.reader("r", 0))
            await until(lambda: read == [b"before"])
            target = next(master for master in own_cluster.masters if master is not own_cluster.owner(slot))
            await in_thread(own_cluster.migrate_slot, slot, target)

            async def told() -> None:
                writer.jobs.put(user, b"after")  # a hint: it may be lost while nobody knows of the new owner
                await trio.sleep(0.2)
                if b"after" not in read:
                    raise StoreUnavailable("not yet")

            seconds = await patiently(told)
            nursery.cancel_scope.cancel()
        assert lost >= 1
        assert seconds < 10  # the map would be read again after a quarter of a minute
        assert target.ask("EXISTS", stream) == 1
        print(f"the reader found the new owner after {seconds:.1f} s")


@pytest.mark.slow
async def test_a_failover_loses_nothing_that_a_replica_has_confirmed(own_cluster_with_replicas: RedisCluster) -> None:
    cluster = own_cluster_with_replicas
    async with open_registry(impatient(cluster.url, wait_replicas=1, timeout_seconds=2), name="test") as registry:
        people = [await Person.register(registry, user_in(n % 3, 3)) for n in range(20)]
        writers = [Writer(person, f"w{n}") for n, person in enumerate(people)]
        victim, replica = cluster.masters[0], cluster.replicas[0]
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(writer.write)
            await until(lambda: all(len(writer.answered) > 20 for writer in writers))
            victim.kill()
            killed_at = trio.current_time()
            await in_thread(cluster.until_promoted, replica)
            promoted_after = trio.current_time() - killed_at
            await patiently(people[0].bodies)
            print(
                f"promoted after {promoted_after:.1f} s, asked {trio.current_time() - killed_at:.1f} s after the kill"
            )
            victim.start()  # as the promoted one's replica: without any, nothing could be confirmed
            before = [len(writer.answered) for writer in writers]
            with trio.fail_after(20):
                while any(len(w.answered) <= n for w, n in zip(writers, before, strict=True)):  # noqa: ASYNC110
                    await trio.sleep(0.05)
            print(f"confirmed again {trio.current_time() - killed_at:.1f} s after the kill")
            nursery.cancel_scope.cancel()
        for writer in writers:
            writer.check(await writer.person.bodies())
        assert cluster.owner(0) is replica


@pytest.mark.slow
async def test_a_wait_for_a_dead_masters_users_ends_when_another_has_taken_its_place(
    own_cluster_with_replicas: RedisCluster,
) -> None:
    cluster = own_cluster_with_replicas
    async with open_registry(impatient(cluster.url), name="test") as registry:
        ada = await Person.register(registry, user_in(1, 3))
        came_back = 0

        def back() -> None:
            nonlocal came_back
            came_back += 1

        registry.link.when_back.append(back)

        cluster.masters[1].kill()
        await until(lambda: not registry.connected)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.wait_for, ada.user)
            await in_thread(cluster.until_promoted, cluster.replicas[1])
            # The map is looked at every second while a master is away, every quarter of a minute otherwise.
            nursery.cancel_scope.deadline = trio.current_time() + 10
        assert not nursery.cancel_scope.cancelled_caught
        assert came_back  # whoever holds connections is told to look
        assert await patiently(ada.bodies) < 10


@pytest.mark.slow
async def test_after_a_failover_that_lost_events_nobody_is_silently_behind(
    own_cluster_with_replicas: RedisCluster,
) -> None:
    cluster = own_cluster_with_replicas
    async with open_registry(impatient(cluster.url), name="test") as registry:
        ada = await Person.register(registry, user_in(2, 3))
        master, replica = cluster.masters[2], cluster.replicas[2]
        kept = await ada.post("kept")
        await in_thread(cluster.cut_off, replica)
        lost = [await ada.post(f"lost-{n}") for n in range(5)]
        position = lost[-1].change.entries[-1].position
        _, forgotten, _ = await registry.push_urls.allow(
            ada.user, new_id=PushUrlId(new_id()), site="https://b.example", vapid_key=None, icon=None, key_id="k"
        )
        seen = await registry.messages.sync(ada.user, None, min_rank=0, page_bytes=1_000_000)
        assert not isinstance(seen, Delta)
        master.kill()
        await in_thread(cluster.until_promoted, replica)
        await patiently(ada.bodies)
        new = [await ada.post(f"new-{n}") for n in range(6)]
        assert position.seq in [stored.ref.seq for stored in new], "sequence numbers are used again"
        truth = ["kept", *(f"new-{n}" for n in range(6))]
        assert await ada.bodies() == truth

        page = await registry.messages.sync(ada.user, seen.next.pin, min_rank=0, page_bytes=1_000_000)
        assert not isinstance(page, Delta), "the old cursor is no ancestor of this log"
        assert [record.body.decode() for record in page.messages] == truth

        for stored in lost:
            assert await registry.messages.cancel(ada.user, stored.ref) is None
        assert (await registry.messages.read(ada.user, [stored.ref for stored in lost]))[0] == 0
        assert await ada.bodies() == truth
        ada.push_url = forgotten
        with pytest.raises(StoreUnavailable):  # not PushUrlGone: nobody revoked it
            await ada.post("to a push URL that the failover took back")
        assert (await registry.messages.read(ada.user, [kept.ref]))[0] == 1


@pytest.mark.slow
async def test_one_frozen_master_of_three_leaves_the_others_users_alone(own_cluster: RedisCluster) -> None:
    async with open_registry(impatient(own_cluster.url, timeout_seconds=2), name="test") as registry:
        people = [await Person.register(registry, user_in(n % 3, 3)) for n in range(30)]

        async def load(seconds: float) -> list[Writer]:
            writers = [Writer(person, f"w{n}") for n, person in enumerate(people)]
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for writer in writers:
                        nursery.start_soon(partial(writer.write, pause=0.02))
            return writers

        before = [writer for n, writer in enumerate(await load(3)) if n % 3]
        with own_cluster.masters[0].frozen():
            during = await load(7)  # it is given up after four
            began = trio.current_time()
            with pytest.raises(StoreUnavailable):
                await people[0].post("to the frozen master")
            assert trio.current_time() - began < 1
        others = [writer for n, writer in enumerate(during) if n % 3]
        assert not any(writer.reasons for writer in others)
        assert not any(writer.answered for n, writer in enumerate(during) if not n % 3)
        p90s = [quantile([s for writer in writers for s in writer.seconds], 0.9) for writers in (before, others)]
        print("p90 of appends, before and while frozen: " + ", ".join(f"{p90 * 1000:.1f} ms" for p90 in p90s))
        assert p90s[1] < 5 * p90s[0] + 0.1  # who waits for the frozen one waits for two seconds
        assert await patiently(people[0].bodies) < 10


def quantile(values: list[float], part: float) -> float:
    return sorted(values)[int(len(values) * part)]


@pytest.mark.slow
@pytest.mark.parametrize("thaw", ["before the link gave the master up", "after"])
async def test_nothing_whose_outcome_is_unknown_is_repeated_on_a_cluster(own_cluster: RedisCluster, thaw: str) -> None:
    async with open_registry(impatient(own_cluster.url, timeout_seconds=1), name="test") as registry:
        ada = await Person.register(registry, user_in(1, 3))
        before = (await ada.post("first")).ref.seq
        refused = 0

        async def post(n: int) -> None:
            nonlocal refused
            try:
                await ada.post(f"{n}")
            except StoreUnavailable:
                refused += 1

        with own_cluster.masters[1].frozen():
            async with trio.open_nursery() as nursery:
                for n in range(50):
                    nursery.start_soon(post, n)
            assert refused == 50
            assert registry.connected
            if thaw == "after":
                await until(lambda: not registry.connected)
        await patiently(ada.bodies)
        last = await ada.post("last")
        records = await registry.messages.unread(ada.user, 0, 500)
        assert last.ref.seq <= before + 50 + 1
        bodies = [record.body for record in records]
        assert len({record.ref.tag for record in records}) == len(set(bodies)) == len(bodies)


async def test_users_spread_evenly_and_their_streams_and_shards_lie_with_them(cluster: RedisCluster) -> None:
    chance = random.Random(2012)
    users = [UserId(b64url(chance.randbytes(9))) for _ in range(10_000)]
    keys = Keys(f"t-{new_id()}")
    for parts in (3, SHARDS, 64):
        counts = Counter(shard_of(user, parts) for user in users)
        chi_square = sum((counts[part] - len(users) / parts) ** 2 / (len(users) / parts) for part in range(parts))
        # Mean parts-1, deviation sqrt(2*(parts-1)): six of them are no chance.
        assert chi_square < parts - 1 + 6 * (2 * (parts - 1)) ** 0.5
    owners = {slot: cluster.owner(slot) for slot in (0, 5462, 10_923)}
    for user in users[:200]:
        part = shard_of(user, 3)
        home = owners[sorted(owners)[part]]
        # Redis itself says where they are: a node tells of what it does not hold.
        for key in (keys.user(user, "meta"), keys.route(part, 3)):
            assert home.ask("EXISTS", key) == 0
        low, high = (SLOTS * n // SHARDS for n in (shard_of(user), shard_of(user) + 1))
        assert low <= slot_of(keys.shard(shard_of(user), "due")) < high
        assert low <= slot_of(keys.user(user, "meta")) < high


@pytest.mark.slow
async def test_it_starts_while_one_master_is_away_for_the_users_of_the_others(own_cluster: RedisCluster) -> None:
    config = impatient(own_cluster.url, connect_seconds=2)
    async with open_registry(config, name="first", installation="i-1") as registry:
        ada = await Person.register(registry, user_in(0, 3))
        bob = await Person.register(registry, user_in(1, 3))
    own_cluster.masters[1].stop()
    began = trio.current_time()
    async with open_registry(config, name="second", installation="i-1") as registry:
        assert trio.current_time() - began < 6
        ada.registry = bob.registry = registry
        await ada.post("hello")
        with pytest.raises(StoreUnavailable):
            await bob.post("hello")
        assert await registry.check() == []
        own_cluster.masters[1].start()
        await patiently(bob.bodies)
        await bob.post("hello again")
