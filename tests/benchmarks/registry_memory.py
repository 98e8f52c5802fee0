"""What the registry takes of Redis' memory: bytes per user, device, push URL, message, session and connection.

Measured as growth of used_memory (without the buffers of clients), step by step on a fresh Redis, at several numbers of
users: a figure that is the same at each of them is a constant, and the memory grows linearly with the users. Then one
inbox is filled: its small structures are packed lists until they hold 128 entries, and cost more beyond.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from pushctl.ids import ConnectionId, DeviceId, PushUrlId, ServerId, SessionHash, UserId, new_id
from pushctl.registry import Registry
from tests.benchmarks.rig import (
    DAY_MS,
    Person,
    allow,
    fill,
    for_each,
    new_session,
    new_user,
    one_redis,
    people,
    print_table,
    registry_on,
    version,
)
from tests.redises.process import RedisProcess

SERVER = ServerId("s1")
SMALL_NODES = 512
"""Redis lays out 4 kB for the first events of every log; with `stream-node-max-bytes` below that, so much."""

SETTLE_SECONDS = 60
"""At most: a table of a million keys that has doubled is moved bit by bit."""


async def used(server: RedisProcess) -> int:
    """Bytes of used_memory but for clients, once they stand still."""
    last, same = -1, 0
    deadline = trio.current_time() + SETTLE_SECONDS
    while same < 5 and trio.current_time() < deadline:
        memory = server.info("memory")
        now = int(memory["used_memory"]) - int(memory["mem_clients_normal"])
        same = same + 1 if abs(now - last) < 256 else 0
        last = now
        await trio.sleep(0.1)
    return last


# --- many users ------------------------------------------------------------------------------------------------------


class Somebody:
    """Who grows from step to step."""

    user: UserId
    device: DeviceId
    session: SessionHash
    identity: str
    push_url: PushUrlId
    number: int


Step = Callable[[Registry, Somebody], Awaitable[object]]


async def _user(registry: Registry, who: Somebody) -> None:
    who.user, who.device, who.session, who.identity = await new_user(registry)


async def _session(registry: Registry, who: Somebody) -> None:
    await registry.sessions.begin(
        who.session, who.user, who.device, provider="browserid", expires_at_ms=1_800_000_000_000, lasts_ms=30 * DAY_MS
    )


async def _device(registry: Registry, who: Somebody) -> None:
    await registry.users.register(
        who.user, device=None, name="Firefox on phone", session=new_session(), identity=who.identity
    )


async def _connection(registry: Registry, who: Somebody) -> None:
    await registry.presence.claim(
        who.user, who.device, ConnectionId(new_id()), session=who.session, server=SERVER, generation=1, rank=0
    )


async def _push_url(registry: Registry, who: Somebody) -> None:
    who.push_url, who.number = await allow(registry, who.user)


async def _further_push_url(registry: Registry, who: Somebody) -> None:
    await allow(registry, who.user, f"https://{new_id(6)}.example")


async def _message(registry: Registry, who: Somebody, size: int = 200) -> None:
    stored = await registry.messages.append(
        who.user, Person(who.user, who.device, who.session, who.identity, who.push_url, who.number).message(b"x" * size)
    )
    registry.index.expires(who.user, stored.ref.expires_at_ms)


async def _large_message(registry: Registry, who: Somebody) -> None:
    await _message(registry, who, 1200)


STEPS: dict[str, Step] = {
    "user, idle, with a device": _user,
    "session": _session,
    "further device": _device,
    "connected device": _connection,
    "first push URL": _push_url,
    "further push URL": _further_push_url,
    "first message, 200 bytes": _message,
    "further message, 200 bytes": _message,
    "further message, 1,200 bytes": _large_message,
}


async def _everything_once(registry: Registry) -> None:
    """Scripts, and the keys that all users share, are there before anything is measured."""
    somebody = Somebody()
    for step in STEPS.values():
        await step(registry, somebody)
    await read_everything(registry, somebody.user)


async def read_everything(registry: Registry, user: UserId) -> None:
    here = (await registry.presence.reconcile({user: []}, server=SERVER, generation=1))[user].last
    await registry.messages.read_upto(user, here)


async def grow(users: int) -> dict[str, float]:
    """Bytes per unit of each step, on a Redis with so many users."""
    with one_redis("appendonly no") as server:
        async with registry_on(server.url) as registry:
            await _everything_once(registry)
            everybody = [Somebody() for _ in range(users)]
            found, before = {}, await used(server)
            for name, step in STEPS.items():
                await for_each(everybody, lambda who, step=step: step(registry, who))  # type: ignore[misc]
                after = await used(server)
                found[name] = (after - before) / users
                before = after
            return found


# --- one inbox -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Size:
    """`users`: at each of which all steps are measured. `inboxes` are filled to each of `levels` in turn."""

    users: Sequence[int] = (1_000, 10_000, 100_000)
    inboxes: int = 50
    levels: Sequence[int] = (1, 10, 100, 200, 1_000)


QUICK = Size(users=(50, 100), inboxes=3, levels=(1, 10))


async def fill_up(size: Size, *lines: str) -> dict[str, float]:
    """Bytes of a user with one push URL; of each message on the way from level to level; of what is left of each that
    was read. `lines`: of redis.conf."""
    with one_redis("appendonly no", *lines) as server:
        async with registry_on(server.url) as registry:
            await _everything_once(registry)
            before, last = await used(server), 0
            everybody = await people(registry, size.inboxes)
            empty = await used(server)
            found = {"a user with one push URL": (empty - before) / size.inboxes}
            before = empty
            for level in size.levels:
                for person in everybody:
                    await fill(registry, person, level - last)
                after = await used(server)
                found[f"messages {last + 1:,} to {level:,}, each"] = (after - before) / size.inboxes / (level - last)
                before, last = after, level
            for person in everybody:
                await read_everything(registry, person.user)
            found[f"{last:,} read: left of each"] = (await used(server) - empty) / size.inboxes / last
            return found


# --- the tables ------------------------------------------------------------------------------------------------------


async def run(size: Size) -> None:
    columns = [await grow(users) for users in size.users]
    rows = [
        [name, *(f"{column[name]:,.0f}" for column in columns), f"{columns[-1][name] / columns[0][name]:.3f}"]
        for name in STEPS
    ]
    totals = [sum(column.values()) for column in columns]
    rows.append(["all of these together", *(f"{total:,.0f}" for total in totals), f"{totals[-1] / totals[0]:.3f}"])
    print_table(
        "Memory: bytes of Redis for each",
        ["", *(f"{users:,} users" for users in size.users), f"{size.users[-1]:,}/{size.users[0]:,}"],
        rows,
        f"Growth of used_memory without client buffers. {server_version()}.",
        formula(columns[-1]),
    )
    plain, small = await fill_up(size), await fill_up(size, f"stream-node-max-bytes {SMALL_NODES}")
    print_table(
        "Memory: bytes as one inbox fills, messages of 200 bytes",
        ["", "Redis' defaults", f"stream-node-max-bytes {SMALL_NODES}", "ratio"],
        [[name, f"{plain[name]:,.0f}", f"{small[name]:,.0f}", f"{small[name] / plain[name]:.2f}"] for name in plain],
    )


def server_version() -> str:
    with one_redis() as server:
        return version(server)


def formula(bytes_of: dict[str, float]) -> str:
    """What an operator reckons with, for inboxes of up to a hundred messages. Bodies cost what the allocator rounds
    their sizes up to."""
    body = (bytes_of["further message, 1,200 bytes"] - bytes_of["further message, 200 bytes"]) / 1000
    more = bytes_of["further message, 200 bytes"] - 200
    first = bytes_of["first message, 200 bytes"] - bytes_of["further message, 200 bytes"]
    first_url = bytes_of["first push URL"] - bytes_of["further push URL"]
    terms = [
        (bytes_of["user, idle, with a device"] + bytes_of["session"], "users"),
        (bytes_of["further device"] + bytes_of["session"], "further devices"),
        (bytes_of["connected device"], "connected devices"),
        (first_url, "users with push URLs"),
        (bytes_of["further push URL"], "push URLs"),
        (first, "users with messages"),
        (more, "messages"),
    ]
    return "bytes = " + " + ".join(f"{each:,.0f} x {what}" for each, what in terms) + f" + {body:.2f} x bytes of bodies"
