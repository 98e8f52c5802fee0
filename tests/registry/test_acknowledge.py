"""What devices have safe: stored, never lowered, never of another log."""

from dataclasses import replace

import pytest

from pushctl.ids import ConnectionId, Cursor, MessageRef, ServerId, SessionHash
from pushctl.registry import Registry
from tests.registry.test_messages import ADA, Inbox


@pytest.fixture
async def inbox(registry: Registry) -> Inbox:
    inbox = Inbox(registry)
    await inbox.prepare()
    return inbox


async def state(inbox: Inbox, ref: MessageRef) -> str:
    found = await inbox.registry.messages.state(ADA, ref)
    assert found is not None
    return found[0]


async def acknowledge(inbox: Inbox, cursor: Cursor, *, came_back: bool = False) -> None:
    await inbox.registry.messages.acknowledge(ADA, [(inbox.device, cursor)], came_back=came_back)


async def test_a_message_is_delivered_once_a_device_has_it_safe(inbox: Inbox) -> None:
    one = await inbox.append(b"one")
    at_one = await inbox.here()
    two = await inbox.append(b"two")
    await acknowledge(inbox, at_one)
    assert [await state(inbox, stored.ref) for stored in (one, two)] == ["delivered", "stored"]


async def test_a_late_acknowledgement_takes_nothing_back(inbox: Inbox) -> None:
    early = await inbox.here()
    stored = await inbox.append()
    await acknowledge(inbox, await inbox.here())
    await acknowledge(inbox, early)
    assert await state(inbox, stored.ref) == "delivered"


async def test_a_cursor_that_a_failover_took_back_delivers_nothing(inbox: Inbox) -> None:
    first, last = await inbox.append(b"one"), await inbox.append(b"two")
    here = await inbox.here()
    for seq in (here.position.seq - 1, here.position.seq):
        await acknowledge(inbox, replace(here, position=replace(here.position, seq=seq, tag=here.position.tag ^ 1)))
    await acknowledge(inbox, replace(here, position=replace(here.position, seq=here.position.seq + 1)))
    await acknowledge(inbox, replace(here, epoch="0" * 16))
    assert [await state(inbox, stored.ref) for stored in (first, last)] == ["stored", "stored"]


async def test_coming_back_does_not_settle_a_snapshot_that_is_owed(inbox: Inbox) -> None:
    """Its filter was lowered, and its connection was cut before it had the snapshot."""

    async def hello(rank: int) -> bool:
        connection = ConnectionId(f"c{rank}")
        lowered, _ = await inbox.registry.presence.claim(
            ADA, inbox.device, connection, session=SessionHash("s1"), server=ServerId("s1"), generation=1, rank=rank
        )
        return lowered

    await inbox.append(b"low", rank=1)
    old = await inbox.here()
    await hello(2)
    assert await hello(1)
    await acknowledge(inbox, old, came_back=True)
    assert await hello(1)
    await acknowledge(inbox, old)
    assert not await hello(1)
