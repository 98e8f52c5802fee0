"""What is promised only when a replica has it: `redis.wait_replicas` with a real replica, frozen and thawed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio

from pushctl.errors import StoreUnavailable
from pushctl.ids import ConnectionId, DeviceId, MessageRef, PushUrlId, ServerId, SessionHash, new_id
from pushctl.protocol.jobs import Probe, encode
from pushctl.registry import Registry, open_registry
from pushctl.registry.lane import NotConfirmed
from pushctl.registry.messages import NewMessage
from pushctl.registry.servers import Row
from tests.redises.replication import Replicas
from tests.registry.people import Person, impatient, until


@pytest.fixture
async def confirmed(own_replicas: Replicas) -> AsyncIterator[Registry]:
    async with open_registry(impatient(own_replicas.url, wait_replicas=1, timeout_seconds=4), name="test") as registry:
        yield registry


async def test_what_a_frozen_replica_has_not_confirmed_is_not_promised_and_not_doubled(
    confirmed: Registry, own_replicas: Replicas
) -> None:
    ada = await Person.register(confirmed)
    with own_replicas.replica.frozen():
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await ada.post("once", key="k")
        # Another role has written nothing over its connection that a WAIT could refer to.
        other = impatient(own_replicas.url, wait_replicas=1, timeout_seconds=4)
        async with open_registry(other, name="other") as another:
            with pytest.raises(NotConfirmed):
                await ada.post("once", key="k", through=another)
    with trio.fail_after(10):
        stored = await ada.post("once", key="k")
        again = await ada.post("once", key="k")
    assert (stored.again, stored.ref) == (True, again.ref)
    assert await ada.bodies() == ["once"]
    assert own_replicas.master.ask("WAIT", 1, 1000) == 1
    own_replicas.promote(own_replicas.replica)
    async with open_registry(impatient(own_replicas.master.url), name="after") as promoted:
        assert [record.body for record in await promoted.messages.unread(ada.user, 0, 10)] == [b"once"]


async def test_what_waits_to_be_confirmed_is_told_at_once_when_the_connection_is_lost(own_replicas: Replicas) -> None:
    slow = impatient(own_replicas.url, wait_replicas=1, timeout_seconds=20)
    async with open_registry(slow, name="test") as registry:
        ada = await Person.register(registry)
        told: list[str] = []

        async def post() -> None:
            with pytest.raises(StoreUnavailable) as refusal:
                await ada.post("once")
            told.append(refusal.value.detail)

        await ada.post("Redis knows the script now")
        log = registry.users._store.keys.user(ada.user, "log")
        before = own_replicas.master.ask("XLEN", log)
        with own_replicas.replica.frozen(), trio.fail_after(8):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(post)
                # It has run and was answered, and its WAIT has begun.
                await until(lambda: own_replicas.master.ask("XLEN", log) > before)
                await until(lambda: own_replicas.master.info("clients")["blocked_clients"] != "0")
                own_replicas.master.kill()
        assert ["was lost" in each for each in told] == [True]


async def test_one_wait_confirms_a_whole_batch(confirmed: Registry, own_replicas: Replicas) -> None:
    ada = await Person.register(confirmed)

    def calls(command: str) -> int:
        stats = own_replicas.master.info("commandstats").get(f"cmdstat_{command}", "calls=0,")
        return int(stats.split(",")[0].removeprefix("calls="))

    before = calls("wait"), calls("evalsha") + calls("eval")
    async with trio.open_nursery() as nursery:
        for n in range(200):
            nursery.start_soon(ada.post, f"{n}")
    waits, scripts = calls("wait") - before[0], calls("evalsha") + calls("eval") - before[1]
    assert scripts >= 200
    assert 1 <= waits <= 20


async def test_every_change_that_is_promised_waits_for_the_replica(confirmed: Registry, own_replicas: Replicas) -> None:
    for ask in (await promises_to(await Person.register(confirmed))).values():
        await ask()  # so that Redis knows every script
    promises = await promises_to(await Person.register(confirmed))
    answered: list[str] = []

    async def see(what: str, ask: Callable[[], Awaitable[object]]) -> None:
        with suppress(NotConfirmed):
            await ask()
            answered.append(what)

    with own_replicas.replica.frozen():
        async with trio.open_nursery() as nursery:  # in one batch, behind one WAIT
            for what, ask in promises.items():
                nursery.start_soon(see, what, ask)
    assert not answered


async def promises_to(person: Person) -> dict[str, Callable[[], Awaitable[object]]]:
    """Everything that is promised to somebody, each not yet asked."""
    registry, user = person.registry, person.user
    first, second = (await person.post("first")).ref, (await person.post("second")).ref
    session = SessionHash(new_id())
    now = NewMessage(person.push_url.id, person.push_url.number, 0, 2, None, "k", b"now", None, b"now")
    new_url = {"new_id": PushUrlId(new_id()), "site": "https://b.example", "vapid_key": None, "icon": None}
    return {
        "message": partial(person.post, "third"),
        "message without a log": partial(registry.messages.announce, user, now),
        "push URL": partial(registry.push_urls.allow, user, key_id="k", **new_url),  # type: ignore[arg-type]
        "revoke": partial(registry.push_urls.revoke, user, person.push_url.id),
        "read": partial(registry.messages.read, user, [first]),
        "cancel": partial(registry.messages.cancel, user, second),
        "identity": partial(registry.sessions.user_of, new_id(), user),
        "assertion": partial(registry.sessions.first_use, new_id(), 1000),
        "device": partial(registry.users.register, user, device=None, name="n", session=session, identity="i"),
        "log-in": partial(
            registry.sessions.begin,
            session,
            user,
            person.device,
            provider="browserid",
            expires_at_ms=1,
            lasts_ms=60_000,
        ),
        "renewal": partial(registry.sessions.end_in, session, 1000),
        "sign-out": partial(registry.sessions.end, session),
        "device removal": partial(registry.users.remove_device, user, person.device),
        "deletion": partial(registry.users.delete, user),
    }


async def test_what_promises_nothing_is_answered_beside_a_frozen_replica(
    confirmed: Registry, own_replicas: Replicas
) -> None:
    ada = await Person.register(confirmed)
    ref: MessageRef = (await ada.post("first")).ref
    server, connection = ServerId("s1"), ConnectionId("c1")
    row = Row("ready", "ws://s1", 0, 10, await confirmed.servers.new_generation(server), "1", "now")
    await confirmed.jobs.join("router", 0)
    refused = 0

    async def keep_posting() -> None:
        nonlocal refused
        while True:
            try:
                await ada.post("more")
            except StoreUnavailable:
                refused += 1

    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "sync": partial(confirmed.messages.sync, ada.user, None, min_rank=0, page_bytes=65_536),
        "unread": partial(confirmed.messages.unread, ada.user, 0, 10),
        "state": partial(confirmed.messages.state, ada.user, ref),
        "devices": partial(confirmed.users.devices, ada.user),
        "push URLs": partial(confirmed.push_urls.all, ada.user),
        "session": partial(confirmed.sessions.find, SessionHash("s")),
        "claim": partial(
            confirmed.presence.claim,
            ada.user,
            ada.device,
            connection,
            session=SessionHash(f"session-{ada.user}"),
            server=server,
            generation=1,
            rank=0,
        ),
        "reconcile": partial(
            confirmed.presence.reconcile,
            {ada.user: [(connection, ada.device, SessionHash(f"session-{ada.user}"))]},
            server=server,
            generation=1,
        ),
        "acknowledge": partial(confirmed.messages.acknowledge, ada.user, []),
        "heartbeat": partial(confirmed.servers.heartbeat, server, row),
        "picture": partial(confirmed.servers.picture, "judge"),
        "jobs": partial(confirmed.jobs.take_over, "router", 0, 10),
        "publish": partial(confirmed.channels.publish, 0, [(server, encode(Probe("p")))]),
    }
    with own_replicas.replica.frozen():
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(keep_posting)
            with trio.fail_after(10):
                while not refused:  # noqa: ASYNC110 - from here on a WAIT is always on its way
                    await trio.sleep(0.01)
            for what, ask in questions.items():
                began = trio.current_time()
                await ask()
                took = trio.current_time() - began
                # A WAIT holds its lane up for half the deadline.
                assert took < 1.5, f"{what} waited {took:.2f} s behind a promise"
            nursery.cancel_scope.cancel()
    assert DeviceId(ada.device) in (await confirmed.users.devices(ada.user))[0]
