"""A master that Sentinels watch dies or is moved: the link follows it, and loses nothing that was confirmed."""

import pytest
import trio

from pushctl.errors import StoreUnavailable
from pushctl.registry import open_registry
from tests.redises.sentinels import NAME, SentinelSet
from tests.registry.people import Person, Writer, impatient, in_thread, patiently, unhurried, until


@pytest.mark.slow
async def test_the_link_follows_to_the_promoted_master_and_nothing_confirmed_is_lost(
    own_sentinels: SentinelSet,
) -> None:
    watched = own_sentinels.watched
    old, promoted = watched.master, watched.replica
    async with open_registry(impatient(own_sentinels.url, wait_replicas=1), name="test") as registry:
        ada = await Person.register(registry)
        writers = [Writer(ada, f"w{n}") for n in range(5)]
        async with trio.open_nursery() as nursery:
            for writer in writers:
                nursery.start_soon(writer.write)
            await until(lambda: all(len(writer.answered) > 20 for writer in writers))
            old.kill()
            killed_at = trio.current_time()
            await in_thread(own_sentinels.until_promoted, promoted)
            print(f"promoted {trio.current_time() - killed_at:.1f} s after the kill")
            await patiently(ada.bodies)
            print(f"asked {trio.current_time() - killed_at:.1f} s after the kill")
            before = len(writers[0].answered)
            old.start()  # the Sentinels make it a replica: without any, nothing could be confirmed
            with trio.fail_after(30):
                while len(writers[0].answered) == before:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            print(f"confirmed again {trio.current_time() - killed_at:.1f} s after the kill")
            nursery.cancel_scope.cancel()
        bodies = await ada.bodies()
        for writer in writers:
            writer.check(bodies)
        assert own_sentinels.master is promoted


@pytest.mark.slow
async def test_a_planned_failover_doubles_nothing_and_the_link_moves(own_sentinels: SentinelSet) -> None:
    watched = own_sentinels.watched
    async with open_registry(impatient(own_sentinels.url), name="test") as registry:
        ada = await Person.register(registry)
        writer = Writer(ada, "w")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write)
            await until(lambda: len(writer.answered) > 20)
            own_sentinels.sentinels[0].ask("SENTINEL", "FAILOVER", NAME)
            await in_thread(own_sentinels.until_promoted, watched.replica)
            before = len(writer.answered)
            with trio.fail_after(15):
                while len(writer.answered) < before + 20:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        records = await registry.messages.unread(ada.user, 0, 5000)
        assert len({record.body for record in records}) == len({record.ref.tag for record in records}) == len(records)
        assert int(watched.replica.ask("EXISTS", f"pushctl:{{u:{ada.user}}}:meta")) == 1


async def test_a_master_that_has_become_a_replica_is_left_at_the_first_refused_write(
    own_sentinels: SentinelSet,
) -> None:
    """Without Sentinel's help, which hangs up on everybody: the link must see it in the error of a script."""
    old, replica = own_sentinels.watched.master, own_sentinels.watched.replica
    async with open_registry(unhurried(old.url), name="test") as registry:
        ada = await Person.register(registry)
        before = registry.link.tally.reconnects
        for sentinel in own_sentinels.sentinels:
            sentinel.kill()
        replica.ask("REPLICAOF", "NO", "ONE")
        old.ask("REPLICAOF", "127.0.0.1", replica.port)
        with pytest.raises(StoreUnavailable):
            await ada.post("to a replica")
        await until(lambda: "is a replica" in " ".join(map(str, registry.link.why_not())))
        assert not registry.connected
        # And comes back to it when it is a master again.
        old.ask("REPLICAOF", "NO", "ONE")
        await patiently(ada.bodies)
        assert registry.link.tally.reconnects > before
