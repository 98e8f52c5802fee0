"""Whose registry it is: an empty or foreign Redis is never taken for proof that something is gone."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from pushctl.errors import PushUrlGone, StoreUnavailable, Unreachable
from pushctl.ids import SessionHash, UserId, new_id
from pushctl.registry import Registry, open_registry
from pushctl.registry.installation import FORMAT, Installation
from pushctl.registry.keys import Keys, slot_of
from pushctl.registry.link import MARKER_SECONDS
from pushctl.registry.users import Users
from tests.redises.cluster import RedisCluster
from tests.redises.process import RedisProcess
from tests.registry.people import Person, patiently, unhurried, until, user_in


def found_nothing(registry: Registry, ada: Person) -> dict[str, Callable[[], Awaitable[object]]]:
    """Questions whose answer would be 401, 404, 410, a new UAID, or a user who starts from nothing."""
    nobodys = SessionHash("no such session")
    register = partial(Users.register, registry.users, device=None, name="n", session=SessionHash("s"), identity="i")
    return {
        "session": partial(registry.sessions.find, nobodys),
        "sessions": partial(registry.sessions.live, [nobodys]),
        "push URL": partial(ada.post, "hello", through=registry),
        "log-in": partial(register, ada.user),
        "unread": partial(registry.messages.unread, ada.user, 0, 10),
        "deletion": partial(registry.users.delete, ada.user),
        "browser": partial(registry.browsers.find, ada.user),
        "principal": partial(registry.sessions.find_user, "no entry"),
    }


async def answered(questions: dict[str, Callable[[], Awaitable[object]]]) -> list[str]:
    """Those of the questions that were not refused."""
    done = []
    for what, ask in questions.items():
        try:
            await ask()
        except StoreUnavailable:
            continue
        done.append(what)
    return done


@pytest.mark.parametrize(
    "first", ["session", "sessions", "push URL", "log-in", "unread", "deletion", "browser", "principal"]
)
async def test_a_redis_that_was_emptied_proves_nothing(own_redis: RedisProcess, first: str) -> None:
    """Whichever question comes first after the loss, and to whichever role."""
    async with (
        open_registry(unhurried(own_redis.url), name="test", installation="i-1") as registry,
        open_registry(unhurried(own_redis.url), name="other", installation="i-1") as other,
    ):
        ada = await Person.register(registry)
        assert await registry.sessions.find(SessionHash("no such session")) is None
        own_redis.ask("FLUSHALL")
        assert await answered({first: found_nothing(registry, ada)[first]}) == []
        assert await answered(found_nothing(registry, ada)) == []
        # What the first question did there is no proof for another role either.
        assert await answered({first: found_nothing(other, ada)[first]}) == []
        assert await answered(found_nothing(other, ada)) == []
        assert any("was emptied" in reason.detail for reason in await other.check())


@pytest.mark.slow
async def test_an_emptied_redis_is_left_although_nobody_asks_and_used_again_once_it_is_marked(
    own_redis: RedisProcess,
) -> None:
    async with open_registry(unhurried(own_redis.url), name="test", installation="i-1") as registry:
        own_redis.ask("FLUSHALL")
        with trio.fail_after(2 * MARKER_SECONDS):
            while registry.connected:  # noqa: ASYNC110 - nobody here can be told
                await trio.sleep(0.05)
        with pytest.raises(StoreUnavailable, match="was emptied"):
            await registry.link.ask("SET", "key", "value")
        assert registry.link.why_not() != []
        async with open_registry(unhurried(own_redis.url), name="doctor") as tool:
            for mark in Installation("i-1", Keys("pushctl")).marks():
                await tool.link.ask(*mark)
        assert await patiently(partial(registry.link.ask, "SET", "key", "value")) < 10
        with trio.fail_after(2 * MARKER_SECONDS):
            while await registry.check():  # noqa: ASYNC110 - until every lane has been admitted again
                await trio.sleep(0.05)
        await Person.register(registry)


async def test_another_installations_redis_is_refused_with_what_to_do(own_redis: RedisProcess) -> None:
    async with open_registry(unhurried(own_redis.url), name="first", installation="i-1"):
        pass
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_registry(unhurried(own_redis.url, connect_seconds=1), name="test", installation="i-2"):
            pass
    assert caught.group_contains(Unreachable, match=r"another installation's.*redis\.prefix.*keys_file")
    # Beside it, under a prefix of its own, there is room.
    async with open_registry(unhurried(own_redis.url, prefix="second"), name="test", installation="i-2") as second:
        assert await second.check() == []


async def test_a_used_registry_without_a_marker_is_not_adopted(own_redis: RedisProcess) -> None:
    async with open_registry(unhurried(own_redis.url), name="tool") as registry:
        await Person.register(registry)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_registry(unhurried(own_redis.url, connect_seconds=1), name="test", installation="i-1"):
            pass
    assert caught.group_contains(Unreachable, match="doctor --adopt")


@pytest.mark.slow
async def test_a_master_that_comes_back_empty_is_not_used_and_the_others_go_on(own_cluster: RedisCluster) -> None:
    async with open_registry(unhurried(own_cluster.url), name="test", installation="i-1") as registry:
        people = [await Person.register(registry, user_in(part, 3)) for part in range(3)]
        victim = own_cluster.masters[1]
        victim.ask("FLUSHALL")
        # At once for those whose user is gone, whichever question comes first.
        for what, ask in found_nothing(registry, people[1]).items():
            if what not in ("session", "sessions"):
                assert await answered({what: ask}) == []
        lost = [s for s in (SessionHash(new_id()) for _ in range(60)) if on_master(registry, s, 1)]
        assert lost
        for session in lost:
            with pytest.raises(StoreUnavailable):
                await registry.sessions.find(session)
        victim.kill()
        victim.start()
        with trio.fail_after(15):
            while "was emptied" not in " ".join(map(str, registry.link.why_not())):
                await trio.sleep(0.1)
                assert not registry.connected
                assert await answered(found_nothing(registry, people[1])) in ([], ["session", "sessions"])
        for person in (people[0], people[2]):
            await person.post("goes on")
            assert await person.bodies() == ["goes on"]


def on_master(registry: Registry, session: SessionHash, part: int) -> bool:
    return slot_of(f"pushctl:session:{session}") * 3 // 16_384 == part


async def test_a_key_is_never_judged_by_a_marker_of_another_master(own_cluster: RedisCluster) -> None:
    """At the edge of a master's range the marker of its part may lie on the neighbour."""
    first_slot, last_slot = 5462, 10_922
    async with open_registry(unhurried(own_cluster.url), name="test", installation="i-1") as registry:
        own_cluster.masters[1].ask("FLUSHALL")
        for slot in (first_slot, last_slot):
            session = session_in(slot)
            with pytest.raises(StoreUnavailable):
                await registry.sessions.find(session)
            assert registry.link.why_not() != []
        for slot in (first_slot - 1, last_slot + 1):
            assert await registry.sessions.find(session_in(slot)) is None


def session_in(slot: int) -> SessionHash:
    while True:
        session = SessionHash(new_id())
        if slot_of(f"pushctl:session:{session}") == slot:
            return session


async def test_an_account_that_was_deleted_is_still_known_as_such(own_redis: RedisProcess) -> None:
    """The guard must not turn what is proved into a 503."""
    async with open_registry(unhurried(own_redis.url), name="test", installation="i-1") as registry:
        ada = await Person.register(registry, UserId("ada"))
        await registry.users.delete(ada.user)
        with pytest.raises(PushUrlGone):
            await ada.post("hello")


@pytest.mark.slow
async def test_a_master_that_does_not_say_whose_it_is_is_not_used(own_cluster: RedisCluster) -> None:
    """As one does that has just started, and has not yet met the rest of its Cluster."""
    async with open_registry(unhurried(own_cluster.url), name="test", installation="i-1") as registry:
        victim, slots = own_cluster.masters[1], range(5462, 10_923)
        victim.ask("FLUSHALL")
        victim.ask("CLUSTER", "DELSLOTS", *slots)
        victim.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: "does not say whose it is" in refusals(registry))
        assert not registry.connected
        victim.ask("CLUSTER", "ADDSLOTS", *slots)
        await until(lambda: "was emptied" in refusals(registry))


def refusals(registry: Registry) -> str:
    return " ".join(node.problem for node in registry.link._masters.nodes)


async def test_a_registry_in_a_newer_format_is_refused_and_stays_as_it_is(own_redis: RedisProcess) -> None:
    config = unhurried(own_redis.url, connect_seconds=1)
    markers, newer = Installation("i-1", Keys("pushctl")).keys, f"i-1 {FORMAT + 1}".encode()
    async with open_registry(config, name="test", installation="i-1") as registry:
        for marker in markers:
            own_redis.ask("SET", marker, newer)
        with pytest.raises(StoreUnavailable, match=f"data of format {FORMAT + 1}"):
            await registry.sessions.find(SessionHash("no such session"))
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_registry(config, name="late", installation="i-1"):
            pass
    assert caught.group_contains(Unreachable, match=f"knows formats up to {FORMAT}: upgrade it")
    async with open_registry(config, name="doctor") as tool:
        await tool.adopt("i-1")
    assert {own_redis.ask("GET", marker) for marker in markers} == {newer}
