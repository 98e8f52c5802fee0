"""How a process in which somebody waits hears that something became of a message."""

import pytest
import trio

from pushctl.registry import Registry
from tests.registry.test_messages import ADA, Inbox

LASTS_MS = 30_000


@pytest.fixture
async def inbox(registry: Registry) -> Inbox:
    prepared = Inbox(registry)
    await prepared.prepare()
    return prepared


async def heard(registry: Registry, inbox: Inbox, *, lasts_ms: int = LASTS_MS, asked: bool = True) -> str | None:
    """Of whom a process hears when a message is taken back, that asked for its state before or did not."""
    stored = await inbox.append(b"one")
    async with registry.receipts.listen() as listener:
        if asked:
            awaited = await registry.messages.awaited_state(ADA, stored.ref, registry.receipts.channel, lasts_ms)
            assert awaited is not None
            assert awaited.state == "stored"
            assert 0 < awaited.left_ms <= 3_600_000 * 72
        if lasts_ms < LASTS_MS:
            await trio.sleep(lasts_ms / 1000 + 0.05)
        await registry.messages.cancel(ADA, stored.ref)
        with trio.move_on_after(5 if asked and lasts_ms == LASTS_MS else 0.3):
            return registry.receipts.user_of(await listener.hear())
    return None


async def test_whoever_asked_is_told_whose_message_it_was(inbox: Inbox) -> None:
    assert await heard(inbox.registry, inbox) == ADA


async def test_nothing_is_published_where_nobody_asked_or_did_so_long_ago(inbox: Inbox) -> None:
    assert await heard(inbox.registry, inbox, asked=False) is None
    assert await heard(inbox.registry, inbox, lasts_ms=100) is None


async def test_a_message_that_something_became_of_is_not_waited_for(inbox: Inbox) -> None:
    stored = await inbox.append(b"one")
    await inbox.registry.messages.cancel(ADA, stored.ref)
    awaited = await inbox.registry.messages.awaited_state(ADA, stored.ref, "channel", LASTS_MS)
    assert awaited is not None
    assert awaited.state == "cancelled"
    assert not await inbox.registry.link.ask("EXISTS", inbox.key("waiters"))


async def test_reading_many_messages_tells_once(inbox: Inbox) -> None:
    stored = [await inbox.append(b"x") for _ in range(5)]
    registry = inbox.registry
    async with registry.receipts.listen() as listener:
        for one in stored:
            await registry.messages.awaited_state(ADA, one.ref, registry.receipts.channel, LASTS_MS)
        await registry.messages.read(ADA, [one.ref for one in stored])
        with trio.fail_after(5):
            await listener.hear()
        with trio.move_on_after(0.2) as silence:
            await listener.hear()
        assert silence.cancelled_caught
