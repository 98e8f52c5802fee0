"""Leases: who holds a user's devices."""

from collections.abc import Awaitable, Callable
from itertools import permutations

import pytest

from pushctl.errors import StoreUnavailable
from pushctl.ids import ConnectionId, DeviceId, ServerId, SessionHash, UserId
from pushctl.registry import Registry
from pushctl.registry.presence import LEASE_MS, DeviceRemoved, Holder
from pushctl.registry.store import AccountGone
from tests.registry.test_messages import Inbox

ADA = UserId("ada")
S1, S2 = ServerId("s1"), ServerId("s2")
SESSION = SessionHash("s")
OLD, NEW, LATE = ConnectionId("old"), ConnectionId("new"), ConnectionId("late")


@pytest.fixture
async def device(registry: Registry) -> DeviceId:
    registered = await registry.users.register(ADA, device=None, name="phone", session=SESSION, identity="i")
    return registered.device


async def claim(
    registry: Registry, device: DeviceId, connection: ConnectionId, server: ServerId = S1, rank: int = 0
) -> tuple[bool, list[Holder]]:
    devices, _ = await registry.users.devices(ADA)
    session = SessionHash(devices[device].session) if device in devices else SESSION
    return await registry.presence.claim(
        ADA, device, connection, session=session, server=server, generation=1, rank=rank
    )


async def holders(registry: Registry) -> dict[ConnectionId, ServerId]:
    (held,) = await registry.presence.holders_of([ADA])
    return {holder.connection: holder.server for holder in held}


async def test_a_late_goodbye_does_not_unplug_a_reconnected_device(registry: Registry, device: DeviceId) -> None:
    await claim(registry, device, OLD, S1)
    _, displaced = await claim(registry, device, NEW, S2)
    assert [(holder.connection, holder.server) for holder in displaced] == [(OLD, S1)]
    await registry.presence.release([(ADA, OLD)])
    assert await holders(registry) == {NEW: S2}


async def test_other_devices_of_the_user_are_not_displaced(registry: Registry, device: DeviceId) -> None:
    other = await registry.users.register(ADA, device=None, name="tv", session=SessionHash("t"), identity="i")
    await claim(registry, device, OLD)
    assert (await claim(registry, other.device, NEW))[1] == []
    assert len(await holders(registry)) == 2


async def test_reconcile_claims_again_what_is_missing_and_notices_what_was_displaced(
    registry: Registry, device: DeviceId
) -> None:
    await claim(registry, device, OLD)
    await registry.presence.release([(ADA, OLD)])

    async def look(connection: ConnectionId, of: DeviceId = device) -> str:
        found = await registry.presence.reconcile({ADA: [(connection, of, SESSION)]}, server=S1, generation=1)
        return found[ADA].leases[0]

    assert await look(OLD) == "claimed"
    assert await look(OLD) == "kept"
    await claim(registry, device, NEW, S2)
    assert await look(OLD) == "displaced"
    assert await holders(registry) == {NEW: S2}
    assert await look(OLD, DeviceId("removed")) == "no_device"


async def test_a_claim_for_a_removed_device_or_account_is_refused(registry: Registry, device: DeviceId) -> None:
    await registry.users.remove_device(ADA, device)
    with pytest.raises(DeviceRemoved):
        await claim(registry, device, NEW)
    await registry.users.delete(ADA)
    with pytest.raises(AccountGone):
        await claim(registry, device, NEW)


async def test_pruning_removes_only_what_still_is_what_was_seen(registry: Registry, device: DeviceId) -> None:
    await claim(registry, device, OLD)
    (seen,) = await registry.presence.holders_of([ADA])
    await registry.presence.claim(
        ADA, device, OLD, session=SESSION, server=S1, generation=2, rank=0
    )  # the server restarted
    registry.presence.prune(ADA, seen)
    assert await holders(registry) == {OLD: S1}
    (now,) = await registry.presence.holders_of([ADA])
    registry.presence.prune(ADA, now)
    assert await holders(registry) == {}


async def test_a_lowered_filter_is_remembered_until_the_snapshot_is_acknowledged(
    registry: Registry, device: DeviceId
) -> None:
    inbox = Inbox(registry)
    assert not (await claim(registry, device, OLD, rank=2))[0]
    assert (await claim(registry, device, OLD, rank=0))[0]
    assert (await claim(registry, device, OLD, rank=0))[0]  # cut before it had the snapshot
    await inbox.allow("https://a.example")
    await registry.messages.acknowledge(ADA, [(device, await inbox.here())])
    assert not (await claim(registry, device, OLD, rank=0))[0]


# --- claims whose answer did not come --------------------------------------------------------------------------------


async def test_a_withdrawn_claim_says_whom_it_displaced_however_often_it_is_asked(
    registry: Registry, device: DeviceId
) -> None:
    await claim(registry, device, OLD, S1)
    await claim(registry, device, LATE, S2)  # nobody heard the answer
    for _ in range(2):
        (displaced,) = await registry.presence.withdraw(ADA, device, LATE)
        assert (displaced.connection, displaced.server) == (OLD, S1)
        assert await holders(registry) == {}
    found = await registry.presence.reconcile({ADA: [(OLD, device, SESSION)]}, server=S1, generation=1)
    assert found[ADA].leases == ["claimed"]
    await registry.presence.withdraw(ADA, device, LATE)
    assert await holders(registry) == {OLD: S1}


async def test_a_claim_that_runs_after_it_was_withdrawn_does_nothing(registry: Registry, device: DeviceId) -> None:
    await claim(registry, device, OLD, S1, rank=2)
    late = [ConnectionId(f"late {n}") for n in range(4)]
    for connection in late:
        assert await registry.presence.withdraw(ADA, device, connection) == []
    for connection in late:
        with pytest.raises(StoreUnavailable):
            await claim(registry, device, connection, S2)
    assert await holders(registry) == {OLD: S1}
    # Nor did it lower the filter.
    assert not (await claim(registry, device, NEW, S2, rank=2))[0]


@pytest.mark.parametrize("order", list(permutations(["claim", "withdraw", "newer"])), ids=" ".join)
async def test_in_any_order_of_a_given_up_claim_and_a_newer_one_the_device_is_on_its_newer_connection_alone(
    registry: Registry, device: DeviceId, order: tuple[str, ...]
) -> None:
    await claim(registry, device, OLD, S1)
    told: list[ConnectionId] = []
    displaced: list[ConnectionId] = []

    async def run(step: str) -> None:
        if step == "claim":
            await claim(registry, device, LATE, S2)  # it never learns what was answered
        elif step == "withdraw":
            told.extend(holder.connection for holder in await registry.presence.withdraw(ADA, device, LATE))
        else:
            displaced.extend(holder.connection for holder in (await claim(registry, device, NEW, S1))[1])

    for step in order:
        try:
            await run(step)
        except StoreUnavailable:
            assert order.index("withdraw") < order.index("claim")
    # Whoever was displaced for good is closed; whoever was told to look does.
    states = {}
    for connection in told:
        found = await registry.presence.reconcile({ADA: [(connection, device, SESSION)]}, server=S1, generation=1)
        states[connection] = found[ADA].leases[0]
    assert OLD in displaced or states[OLD] == "displaced"
    assert NEW not in displaced
    assert await holders(registry) == {NEW: S1}


async def test_withdrawing_is_no_more_than_nothing_for_a_device_or_an_account_that_is_gone(
    registry: Registry, device: DeviceId
) -> None:
    await claim(registry, device, LATE)
    await registry.users.remove_device(ADA, device)
    assert await registry.presence.withdraw(ADA, device, LATE) == []
    assert await holders(registry) == {}
    await registry.users.delete(ADA)
    with pytest.raises(AccountGone):
        await registry.presence.withdraw(ADA, device, LATE)


# --- expiry ----------------------------------------------------------------------------------------------------------


async def test_a_lease_ends_after_half_an_hour_without_a_reconcile(registry: Registry, device: DeviceId) -> None:
    key = registry.presence._store.keys.user(ADA, "presence")

    async def renewed_by(act: Callable[[], Awaitable[object]]) -> bool:
        await registry.link.ask("PEXPIRE", key, 10_000)
        await act()
        left: int = await registry.link.ask("PTTL", key)
        return LEASE_MS - 10_000 < left <= LEASE_MS == 1_800_000

    await claim(registry, device, OLD)
    assert LEASE_MS - 10_000 < await registry.link.ask("PTTL", key) <= LEASE_MS
    presence = registry.presence
    assert await renewed_by(lambda: presence.reconcile({ADA: [(OLD, device, SESSION)]}, server=S1, generation=1))
    assert await renewed_by(lambda: claim(registry, device, NEW))
    assert not await renewed_by(lambda: presence.holders_of([ADA]))
    await registry.link.ask("PEXPIRE", key, 1)
    await registry.link.ask("DEL", key)  # as its expiry does
    found = await presence.reconcile({ADA: [(NEW, device, SESSION)]}, server=S1, generation=1)
    assert found[ADA].leases == ["claimed"]
    assert LEASE_MS - 10_000 < await registry.link.ask("PTTL", key) <= LEASE_MS
