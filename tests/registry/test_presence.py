"""Leases: who holds a user's devices."""

import pytest

from pushctl.ids import ConnectionId, DeviceId, ServerId, SessionHash, UserId
from pushctl.registry import Registry
from pushctl.registry.presence import DeviceRemoved, Holder
from pushctl.registry.store import AccountGone
from tests.registry.test_messages import Inbox

ADA = UserId("ada")
S1, S2 = ServerId("s1"), ServerId("s2")
OLD, NEW = ConnectionId("old"), ConnectionId("new")


@pytest.fixture
async def device(registry: Registry) -> DeviceId:
    registered = await registry.users.register(ADA, device=None, name="phone", session=SessionHash("s"), identity="i")
    return registered.device


async def claim(
    registry: Registry, device: DeviceId, connection: ConnectionId, server: ServerId = S1, rank: int = 0
) -> tuple[bool, list[Holder]]:
    return await registry.presence.claim(ADA, device, connection, server=server, generation=1, rank=rank)


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
        found = await registry.presence.reconcile(ADA, [(connection, of)], server=S1, generation=1)
        return found.leases[0]

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
    await registry.presence.claim(ADA, device, OLD, server=S1, generation=2, rank=0)  # the server restarted
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
