"""A router at work on real streams: what it delivers, what it drops, how several share, what it outlives.

The strategy is `broadcast`, and a listener of the tests is the socket server: it hears every job that a router brings.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from pushctl.config.model import Config
from pushctl.config.model import Redis as Settings
from pushctl.ids import ServerId, UserId
from pushctl.liveness import Liveness
from pushctl.metrics import Metrics, RouterMetrics
from pushctl.points import Point, watcher
from pushctl.protocol.jobs import Appended, Batch, Ephemeral, HintedEvent, Job, decode_hint, encode
from pushctl.registry import Registry, open_registry
from pushctl.registry import jobs as jobs_module
from pushctl.registry.jobs import Taken
from pushctl.routing.broadcast import BroadcastStrategy
from pushctl.routing.strategy import Delivered
from pushctl.runtime import run_role
from roles.router import partition as partition_module
from roles.router.partition import Partition
from roles.router.serve import RouterRole
from tests.backlogs import backlogs
from tests.faults.proxy import proxy
from tests.redises.process import RedisProcess
from tests.scenario.people import eventually

ADA = UserId("ada")
PATIENCE = 20


def lasting(n: int, user: str = ADA) -> Appended:
    return Appended(user, "e" * 16, n, 0, [HintedEvent(n + 1, 1, -1, b"frame")])


async def ephemeral(registry: Registry, n: int, *, left_ms: int = 60_000) -> Ephemeral:
    until_ms = await registry.jobs.now_ms(registry.jobs.partition_of(ADA)) + left_ms
    return Ephemeral(ADA, until_ms, 1, b"%d" % n)


def put(registry: Registry, *jobs: Job) -> None:
    for job in jobs:
        assert registry.jobs.put(UserId(job.user), encode(job))


@asynccontextmanager
async def hearing(registry: Registry) -> AsyncIterator[list[Job]]:
    """What socket servers are told from now on."""
    heard: list[Job] = []

    async def listen(number: int, *, task_status: trio.TaskStatus[None]) -> None:
        async with registry.channels.listen(ServerId("s1"), number) as listener:
            task_status.started()
            while True:
                hint = decode_hint(await listener.hear())
                assert isinstance(hint, Batch)
                heard.extend(hint.jobs)

    async with trio.open_nursery() as nursery:
        for number in range(registry.jobs.partitions):
            await nursery.start(listen, number)
        yield heard
        nursery.cancel_scope.cancel()


async def until_heard(heard: list[Job], wanted: list[Job]) -> None:
    left = {encode(job) for job in wanted}
    looked = 0
    with trio.fail_after(PATIENCE):
        while left := left - {encode(job) for job in heard[looked:]}:
            looked = len(heard)
            await trio.sleep(0.01)


def counts(metrics: Metrics) -> dict[str, float]:
    """The router's numbers: of outcomes by their word, others by their name without pushctl_job_."""
    return {
        sample.labels.get("outcome") or sample.name.removeprefix("pushctl_job_"): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name.startswith("pushctl_job") and not sample.name.endswith(("_created", "_bucket"))
    }


# --- one batch -------------------------------------------------------------------------------------------------------


class Work(Partition):
    """What a router does with ADA's partition."""

    def __init__(self, registry: Registry, config: Config) -> None:
        number = registry.jobs.partition_of(ADA)
        self.metrics = RouterMetrics("broadcast")
        self.strategy = BroadcastStrategy(registry)
        self.registry = registry
        super().__init__(
            number, registry.jobs, consumer="r1", config=config, metrics=self.metrics, draining=trio.Event()
        )

    async def take(self) -> list[Taken]:
        await self.join()
        reader = await self.registry.jobs.reader("r1", self._number)
        taken = await reader.take(100)
        await reader.aclose()
        assert taken
        return taken

    async def deliver(self, taken: list[Taken]) -> None:
        await self._deliver(self.strategy, taken)

    async def left(self) -> int:
        return (await backlogs(self.registry))[self._number][0].length


@pytest.fixture
def work(registry: Registry, config: Config) -> Work:
    return Work(registry, config)


async def test_a_batch_is_delivered_in_order_and_gone(registry: Registry, work: Work) -> None:
    jobs: list[Job] = [lasting(1), await ephemeral(registry, 2), lasting(3), await ephemeral(registry, 4)]
    async with hearing(registry) as heard:
        put(registry, *jobs)
        await work.deliver(await work.take())
        await until_heard(heard, jobs)
    assert heard == jobs
    assert await work.left() == 0
    found = counts(work.metrics)
    assert found["handed_over"] == 4
    assert found["seconds_count"] == 4
    assert 0 < found["seconds_sum"] < PATIENCE


async def test_ttl_0_is_dropped_when_its_moment_passes_between_acknowledging_and_delivering(
    registry: Registry, work: Work
) -> None:
    async def hold(point: Point) -> None:
        if point is Point.ACKNOWLEDGED:
            await trio.sleep(0.5)

    async with hearing(registry) as heard:
        put(registry, await ephemeral(registry, 1, left_ms=400), lasting(2), await ephemeral(registry, 3))
        taken = await work.take()
        watcher.set(hold)
        await work.deliver(taken)
        await until_heard(heard, [lasting(2)])
        assert [job.frame for job in heard if isinstance(job, Ephemeral)] == [b"3"]
    assert counts(work.metrics)["too_late"] == 1
    assert await work.left() == 0


async def test_ttl_0_that_two_routers_hold_is_delivered_by_one_of_them(registry: Registry, work: Work) -> None:
    """One was frozen, another took over, and the first goes on."""
    now = await ephemeral(registry, 1)
    async with hearing(registry) as heard, trio.open_nursery() as nursery:
        put(registry, now, lasting(2))
        taken = await work.take()
        for _ in range(2):
            nursery.start_soon(work.deliver, taken)

        async def both_delivered() -> bool:
            return heard.count(lasting(2)) == 2

        await eventually(both_delivered)
        assert heard.count(now) == 1
    assert counts(work.metrics)["handed_over"] == 2


async def test_a_job_that_cannot_be_read_holds_nobody_up(registry: Registry, work: Work) -> None:
    async with hearing(registry) as heard:
        registry.jobs.put(ADA, b"nonsense")
        put(registry, lasting(1))
        await work.deliver(await work.take())
        await until_heard(heard, [lasting(1)])
    assert await work.left() == 0
    assert counts(work.metrics)["invalid"] == 1


async def test_a_job_older_than_one_reconcile_is_dropped(registry: Registry, work: Work, config: Config) -> None:
    stream, _ = registry.jobs._keys(work._number)
    old_ms = await registry.jobs.now_ms(work._number) - int(config.socket.reconcile_seconds * 1000) - 1
    await registry.link.ask("XADD", stream, f"{old_ms}-0", "j", encode(lasting(1)))
    async with hearing(registry) as heard:
        put(registry, lasting(2))
        await work.deliver(await work.take())
        await until_heard(heard, [lasting(2)])
        assert lasting(1) not in heard
    assert counts(work.metrics)["too_late"] == 1
    assert await work.left() == 0


# --- whole routers ---------------------------------------------------------------------------------------------------


class Routers:
    """Routers of one configuration, each stopped when told."""

    def __init__(self, config: Config, nursery: trio.Nursery) -> None:
        quiet = replace(config.router, admin_listen="")
        self._config = replace(config, router=quiet, routing=replace(config.routing, strategy="broadcast"))
        self._nursery = nursery

    async def start(self) -> "tuple[RouterRole, Callable[[], None], trio.Event]":
        """A router, how to stop it, and when it is over."""
        role, stop, over = RouterRole(self._config), trio.Event(), trio.Event()

        async def live(*, task_status: trio.TaskStatus[object]) -> None:
            await run_role(role, until=stop.wait, task_status=task_status)
            over.set()

        await self._nursery.start(live)
        return role, stop.set, over


@asynccontextmanager
async def routers(config: Config) -> AsyncIterator[Routers]:
    async with trio.open_nursery() as nursery:
        yield Routers(config, nursery)
        nursery.cancel_scope.cancel()


async def names(registry: Registry) -> set[str]:
    return {consumer.name for _, consumers in await backlogs(registry) for consumer in consumers}


async def nothing_left(registry: Registry) -> bool:
    return not any(backlog.length for backlog, _ in await backlogs(registry))


async def test_routers_share_the_work_and_come_and_go_without_ceremony(registry: Registry, config: Config) -> None:
    """Under traffic: everything is delivered, once, and whoever leaves leaves nothing."""
    few = replace(config, router=replace(config.router, batch=5))
    users = [f"user {n}" for n in range(10)]
    async with hearing(registry) as heard, routers(few) as many, trio.open_nursery() as sending:
        sent: list[Job] = []
        enough = trio.Event()

        async def send() -> None:
            """As fast as they keep up: whoever sends faster on a busy machine has the routers catch up for minutes."""
            while not enough.is_set():
                if len(sent) - len(heard) > 200:
                    await trio.sleep(0.002)
                    continue
                sent.extend(some := [lasting(len(sent) + n, users[n]) for n in range(10)])
                put(registry, *some)
                await trio.sleep(0.002)

        first, stop_first, first_over = await many.start()
        second, _, _ = await many.start()
        sending.start_soon(send)

        async def both_had_some() -> bool:
            return min(counts(role.metrics).get("handed_over", 0) for role in (first, second)) > 50

        await eventually(both_had_some)
        assert await names(registry) == {first._consumer, second._consumer}
        stop_first()
        with trio.fail_after(PATIENCE):
            await first_over.wait()
        assert await names(registry) == {second._consumer}
        third, _, _ = await many.start()

        async def third_had_some() -> bool:
            return counts(third.metrics).get("handed_over", 0) > 50

        await eventually(third_had_some)
        enough.set()
        await until_heard(heard, sent)
        await eventually(partial(nothing_left, registry))
    assert len(heard) == len(sent)


async def test_a_router_reads_as_many_partitions_as_there_are(config: Config) -> None:
    config = replace(config, routing=replace(config.routing, partitions=24))
    jobs: list[Job] = [lasting(n, f"user {n}") for n in range(200)]
    async with open_registry(config, name="test") as registry, hearing(registry) as heard, routers(config) as many:
        role, stop, over = await many.start()
        put(registry, *jobs)
        await until_heard(heard, jobs)
        assert await names(registry) == {role._consumer}
        stop()
        with trio.fail_after(PATIENCE):
            await over.wait()
        assert await names(registry) == set()
        assert await nothing_left(registry)


async def test_the_backlog_and_its_age_are_measured_whoever_holds_it(
    registry: Registry, config: Config, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "TAKE_OVER_SECONDS", 0.1)
    put(registry, lasting(1))
    taken = await work.take()
    async with routers(config) as many:
        role, _, _ = await many.start()
        number = str(work._number)

        def shown(name: str) -> float | None:
            families = text_string_to_metric_families(role.metrics.render().decode())
            samples = [sample for family in families for sample in family.samples if sample.name == name]
            return next((sample.value for sample in samples if sample.labels == {"partition": number}), None)

        async def waits() -> bool:
            return shown("pushctl_job_backlog") == 1 and (shown("pushctl_job_lag_seconds") or 0) > 0.2

        await eventually(waits)
        await registry.jobs.hand_over(taken)

        async def done() -> bool:
            return (shown("pushctl_job_backlog"), shown("pushctl_job_lag_seconds")) == (0, 0)

        await eventually(done)


# --- a Redis that is not well ----------------------------------------------------------------------------------------


def lost_scripts(redis: RedisProcess) -> None:
    redis.ask("SCRIPT", "FLUSH")


def lost_group(redis: RedisProcess) -> None:
    redis.ask("FLUSHALL")


def cut_connections(redis: RedisProcess) -> None:
    redis.ask("CLIENT", "KILL", "TYPE", "normal")


def read_only_for_a_while(redis: RedisProcess) -> None:
    redis.ask("REPLICAOF", "127.0.0.1", 1)
    redis.ask("REPLICAOF", "NO", "ONE")


def restart(redis: RedisProcess) -> None:
    redis.kill()
    redis.start()


@pytest.fixture
def alone(own_redis: RedisProcess) -> Config:
    """On a Redis that the test may harm."""
    return replace(Config(), redis=Settings(url=own_redis.url, prefix="t", connect_seconds=5, timeout_seconds=5))


@pytest.mark.parametrize("trouble", [lost_scripts, lost_group, cut_connections, read_only_for_a_while, restart])
async def test_a_router_goes_on_after(
    alone: Config, own_redis: RedisProcess, trouble: Callable[[RedisProcess], None]
) -> None:
    async with open_registry(alone, name="test") as registry, routers(alone) as many:
        role, stop, over = await many.start()
        for n in (1, 100):
            if n > 1:
                trouble(own_redis)
            async with hearing_again(registry) as heard:

                async def told(n: int = n, heard: list[Job] = heard) -> bool:
                    registry.jobs.put(ADA, encode(lasting(n)))  # a hint: it may be lost meanwhile
                    await trio.sleep(0.1)
                    return lasting(n) in heard

                await eventually(told)
        await eventually(partial(nothing_left, registry))
        assert await names(registry) == {role._consumer}
        stop()
        with trio.fail_after(PATIENCE):
            await over.wait()
        assert await names(registry) == set()


@asynccontextmanager
async def hearing_again(registry: Registry) -> AsyncIterator[list[Job]]:
    """As `hearing`, once Redis can be asked again."""
    with trio.fail_after(PATIENCE):
        await trio.sleep(0.2)
        await registry.jobs.wait_connected(0)
    async with hearing(registry) as heard:
        yield heard


@pytest.mark.parametrize(("timeout_seconds", "drain_seconds"), [(0.3, 30), (30, 1)])
async def test_a_router_whose_redis_is_frozen_stops_in_time(
    alone: Config, own_redis: RedisProcess, timeout_seconds: float, drain_seconds: int
) -> None:
    """By itself, as all it asks has a deadline; at the latest when its time is over."""
    config = replace(
        alone,
        redis=replace(alone.redis, timeout_seconds=timeout_seconds),
        router=replace(alone.router, drain_seconds=drain_seconds),
    )
    async with routers(config) as many:
        _, stop, over = await many.start()
        with own_redis.frozen():
            await trio.sleep(0.1)
            stop()
            with trio.fail_after(15):
                await over.wait()


async def test_a_reader_whose_connection_fell_silent_is_built_anew(
    alone: Config, own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only that one connection: Redis answers every other question."""
    monkeypatch.setattr(jobs_module, "IDLE_MS", 500)
    monkeypatch.setattr(partition_module, "TAKE_OVER_SECONDS", 0.2)
    async with proxy(str(own_redis.path), b"\r\nXREADGROUP\r\n") as between:
        config = replace(alone, redis=replace(alone.redis, url=between.url, timeout_seconds=0.3))
        async with open_registry(alone, name="test") as registry, hearing(registry) as heard, routers(config) as many:
            await many.start()
            put(registry, lasting(1))
            await until_heard(heard, [lasting(1)])
            between.deaf = True
            put(registry, lasting(2))
            with trio.fail_after(PATIENCE):
                while between.connections < 2:  # noqa: ASYNC110 - nobody here can be told
                    await trio.sleep(0.01)
            between.deaf = False
            put(registry, lasting(3))
            await until_heard(heard, [lasting(2), lasting(3)])
            await eventually(partial(nothing_left, registry))


@pytest.mark.slow
async def test_a_redis_that_stalls_again_and_again_costs_only_time(
    alone: Config, own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stalls below the deadline, and one that is longer than a router waits for anything."""
    monkeypatch.setattr(jobs_module, "IDLE_MS", 2500)
    monkeypatch.setattr(partition_module, "TAKE_OVER_SECONDS", 0.2)
    patient = replace(alone, redis=replace(alone.redis, timeout_seconds=30))
    impatient = replace(alone, redis=replace(alone.redis, timeout_seconds=0.4))
    sent: list[Job] = []
    async with (
        open_registry(patient, name="test") as registry,
        hearing(registry) as heard,
        routers(impatient) as many,
        trio.open_nursery() as sending,
    ):

        async def send() -> None:
            while True:
                sent.append(job := lasting(len(sent)))
                put(registry, job)
                await trio.sleep(0.003)

        role, _, _ = await many.start()
        sending.start_soon(send)
        for seconds in (0.2, 0.2, 0.2, 1.5):
            await trio.sleep(0.2)
            with own_redis.frozen():
                await trio.sleep(seconds)
        await trio.sleep(0.2)
        sending.cancel_scope.cancel()
        await until_heard(heard, sent)
        await eventually(partial(nothing_left, registry))
        assert await names(registry) == {role._consumer}
        assert counts(role.metrics).get("given_up", 0) == 0


async def test_a_router_whose_redis_is_away_stops_at_once(alone: Config, own_redis: RedisProcess) -> None:
    config = replace(alone, router=replace(alone.router, drain_seconds=1000))
    async with routers(config) as many:
        role, stop, over = await many.start()
        own_redis.kill()

        async def noticed() -> bool:
            return bool(await role.not_ready())

        await eventually(noticed)
        await trio.sleep(partition_module.PAUSE_SECONDS)  # it waits for its master by now, not for its next attempt
        stop()
        with trio.fail_after(15):
            await over.wait()


class Endless:
    """A strategy that never comes back."""

    def __init__(self) -> None:
        self.asked = trio.Event()

    async def deliver(self, jobs: Sequence[Job], done: Sequence[Taken] = ()) -> Delivered:
        self.asked.set()
        await trio.sleep_forever()


@pytest.mark.slow
async def test_a_partition_that_makes_no_progress_though_jobs_wait_is_found_out(
    registry: Registry, config: Config
) -> None:
    work, liveness, strategy = Work(registry, config), Liveness(patience_seconds=1.5), Endless()
    async with trio.open_nursery() as nursery:
        await work.join()
        liveness.watch(work.loops[0])
        nursery.start_soon(liveness.run)
        nursery.start_soon(work.run, strategy)
        await trio.sleep(3.5)  # nothing to do is no standstill
        assert liveness.stuck() == []
        put(registry, lasting(1))
        await strategy.asked.wait()
        with trio.fail_after(10):
            while not liveness.stuck():  # noqa: ASYNC110 - nobody here can be told
                await trio.sleep(0.1)
        assert "the reader of partition" in liveness.stuck()[0].detail
        nursery.cancel_scope.cancel()


async def test_a_router_whose_redis_takes_no_more_connections_is_alive(
    alone: Config, own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has those that it had, and cannot have one to read with: a restart would lose it the others, too."""
    monkeypatch.setattr(partition_module, "PAUSE_SECONDS", 0.01)
    async with open_registry(alone, name="test") as registry, trio.open_nursery() as nursery:
        work, liveness = Work(registry, alone), Liveness()
        await work.join()
        await registry.link.ask("CONFIG", "SET", "maxclients", 1)
        nursery.start_soon(work.run, work.strategy)
        reader = work.loops[0]
        liveness.watch(reader)
        for turned in (100, 200, 300):
            reader.tick(turned)
            with trio.fail_after(PATIENCE):
                while reader.still_for:  # noqa: ASYNC110 - nobody here can be told
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_a_router_whose_jobs_wait_too_long_is_not_ready(
    registry: Registry, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_module, "LATE_SECONDS", 0.05)
    work = Work(registry, config)
    put(registry, lasting(1))
    assert await work.left() == 1  # a question behind the hint: from here on the job waits
    await trio.sleep(0.06)
    work._note((await backlogs(registry))[work._number][0])
    (reason,) = work.not_ready()
    assert reason.code == "jobs_late"
    await work.deliver(await work.take())
    work._note((await backlogs(registry))[work._number][0])
    assert work.not_ready() == []
