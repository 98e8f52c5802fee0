"""What grows with the size of an inbox: the time Redis spends in a script, for a small user and for a large one.

Measured by Redis itself (INFO commandstats: microseconds per EVALSHA), so neither the network nor this process counts.
Small and large take turns, and the quickest of the rounds counts: whatever else the machine does only ever adds.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle

from pushctl.config.model import Limits
from pushctl.ids import ConnectionId, Cursor, ServerId, new_id
from pushctl.registry import Registry
from pushctl.registry.messages import Delta, Snapshot, Stored
from tests.benchmarks.rig import (
    SITE,
    UNLIMITED,
    Person,
    allow,
    fill,
    for_each,
    new_person,
    new_session,
    one_redis,
    print_table,
    registry_on,
)
from tests.redises.process import RedisProcess

SERVER, CONNECTION = ServerId("s1"), ConnectionId(new_id())
PAGE_BYTES = 131_072

FILTERED = "snapshot, a page that nothing is urgent enough for"
"""The one script that looks at more messages than it answers with: at 800, where there are so many."""

Call = Callable[[], Awaitable[object]]
"""One question that is one script."""


@dataclass(frozen=True, slots=True)
class Size:
    """`small`, `large`: messages, or events in the log; `devices`: of a user with many. A round is so many `calls`."""

    small: int = 100
    large: int = 10_000
    devices: int = 50
    log: int = UNLIMITED.log_events_per_user
    rounds: int = 15
    calls: int = 100


QUICK = Size(large=300, devices=3, log=100, rounds=2, calls=10)


@dataclass(frozen=True, slots=True)
class Question:
    """`call` is one script; `before`: what each call needs, done first and not counted."""

    call: Call
    before: Call | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """Microseconds that Redis spends in one script, for a small and for a large user."""

    name: str
    small: float
    large: float

    @property
    def ratio(self) -> float:
        return self.large / self.small


async def time_of(server: RedisProcess, question: Question, calls: int) -> float:
    """Microseconds in Redis for one of these, on average."""
    if question.before:
        for _ in range(calls):
            await question.before()
    before = _evalsha(server)
    for _ in range(calls):
        await question.call()
    after = _evalsha(server)
    assert after[0] - before[0] == calls, "one question is one script"
    return (after[1] - before[1]) / calls


def _evalsha(server: RedisProcess) -> tuple[int, int]:
    """(calls, microseconds) so far."""
    stats = dict(part.split("=") for part in server.info("commandstats")["cmdstat_evalsha"].split(","))
    return int(stats["calls"]), int(stats["usec"])


async def compare(server: RedisProcess, name: str, small: Question, large: Question, size: Size) -> Times:
    for question in (small, large):
        await time_of(server, question, 2)  # the first may have to bring the script
    rounds = [
        (await time_of(server, small, size.calls), await time_of(server, large, size.calls)) for _ in range(size.rounds)
    ]
    return Times(name, min(each[0] for each in rounds), min(each[1] for each in rounds))


async def compare_all(
    server: RedisProcess, small: dict[str, Question], large: dict[str, Question], size: Size
) -> list[Times]:
    return [await compare(server, name, small[name], large[name], size) for name in small]


# --- a full quota ----------------------------------------------------------------------------------------------------


async def full_quotas(server: RedisProcess, size: Size) -> list[Times]:
    """Append where each one evicts another: by the push URL's own quota, and by the user's among ten push URLs."""
    found = []
    for name, field, push_urls in (
        ("append, its push URL is full", "unread_per_push_url", 1),
        ("append, its user is full", "unread_per_user", 10),
    ):
        async with (
            registry_on(server.url, limits=_quota(size, field, size.small), prefix="small") as small,
            registry_on(server.url, limits=_quota(size, field, size.large), prefix="large") as large,
        ):
            few = await _appends_to_full(small, size.small + size.log, push_urls)
            many = await _appends_to_full(large, size.large + size.log, push_urls)
            found.append(await compare(server, name, few, many, size))
    return found


def _quota(size: Size, field: str, unread: int) -> Limits:
    limits = replace(UNLIMITED, log_events_per_user=size.log)
    return replace(limits, **{field: unread})  # type: ignore[arg-type]  # a count


async def _appends_to_full(registry: Registry, messages: int, push_urls: int) -> Question:
    """To a user who has been there for long: log and stubs are as full as they become."""
    first = await new_person(registry)
    more = [await allow(registry, first.user, f"{SITE}:{n}") for n in range(1, push_urls)]
    everywhere = [first, *(replace(first, push_url=url, number=number) for url, number in more)]
    await for_each(range(messages), lambda n: _append(registry, everywhere[n % push_urls]))
    turn = cycle(everywhere)

    async def append_and_evict() -> None:
        stored = await _append(registry, next(turn))
        assert len(stored.change.entries) == 2, "one went, one came"

    return Question(append_and_evict)


async def _append(registry: Registry, person: Person) -> Stored:
    return await registry.messages.append(person.user, person.message())


# --- much in an inbox ------------------------------------------------------------------------------------------------


async def inboxes(registry: Registry, server: RedisProcess, size: Size) -> list[Times]:
    """What is asked of a user with few and with many unread messages, where none has to go."""
    small, large = [await _questions(registry, messages) for messages in (size.small, size.large)]
    return await compare_all(server, small, large, size)


async def _questions(registry: Registry, count: int) -> dict[str, Question]:
    person = await new_person(registry)
    user, messages, presence = person.user, registry.messages, registry.presence
    stored = await fill(registry, person, count)
    unread = deque(each.ref for each in stored)
    place, middle = cursor_after(stored[-11]), stored[count // 2].ref

    async def append() -> None:
        unread.append((await _append(registry, person)).ref)

    async def read() -> None:
        assert (await messages.read(user, [unread.popleft()]))[0] == 1

    async def sync() -> None:
        page = await messages.sync(user, place, min_rank=0, page_bytes=PAGE_BYTES)
        assert isinstance(page, Delta)
        assert len(page.entries) == 10

    async def snapshot() -> None:
        page = await messages.sync(user, None, min_rank=0, page_bytes=2048)
        assert isinstance(page, Snapshot)

    async def filtered() -> None:
        page = await messages.sync(user, None, min_rank=3, page_bytes=PAGE_BYTES)
        assert isinstance(page, Snapshot)
        assert not page.messages

    def claim() -> Awaitable[object]:
        return presence.claim(
            user, person.device, CONNECTION, session=person.session, server=SERVER, generation=1, rank=0
        )

    return {
        "sync, 10 behind": Question(sync),
        "snapshot, a page of 2 kB": Question(snapshot),
        FILTERED: Question(filtered),
        "state of a message": Question(lambda: messages.state(user, middle)),
        "acknowledge": Question(lambda: messages.acknowledge(user, [(person.device, place)])),
        "unread, a page of 10": Question(lambda: messages.unread(user, 0, 10)),
        "count": Question(lambda: registry.users.count(user)),
        "claim": Question(claim),
        "reconcile": Question(
            lambda: presence.reconcile(
                {user: [(CONNECTION, person.device, person.session)]}, server=SERVER, generation=1
            )
        ),
        "read one": Question(read, before=append),
        "append, nobody is full": Question(append, before=read),
    }


# --- many devices ----------------------------------------------------------------------------------------------------


async def households(registry: Registry, server: RedisProcess, size: Size) -> list[Times]:
    """What is asked of a user with one and with many devices, all of them connected."""
    small, large = [await _questions_of_devices(registry, devices) for devices in (1, size.devices)]
    return await compare_all(server, small, large, size)


async def _questions_of_devices(registry: Registry, devices: int) -> dict[str, Question]:
    person = await new_person(registry)
    user, presence = person.user, registry.presence
    ref = (await _append(registry, person)).ref
    for _ in range(devices - 1):
        name, session = "Firefox on phone", new_session()
        other = await registry.users.register(user, device=None, name=name, session=session, identity=person.identity)
        await presence.claim(
            user, other.device, ConnectionId(new_id()), session=session, server=SERVER, generation=1, rank=0
        )

    def claim() -> Awaitable[object]:
        return presence.claim(
            user, person.device, CONNECTION, session=person.session, server=SERVER, generation=1, rank=0
        )

    return {
        "claim": Question(claim),
        "reconcile one device": Question(
            lambda: presence.reconcile(
                {user: [(CONNECTION, person.device, person.session)]}, server=SERVER, generation=1
            )
        ),
        "state of a message": Question(lambda: registry.messages.state(user, ref)),
        "append": Question(lambda: _append(registry, person)),
    }


# --- all at once -----------------------------------------------------------------------------------------------------


async def read_all(registry: Registry, server: RedisProcess, size: Size) -> list[tuple[int, float]]:
    """Everything marked read with one question: (messages, ms in Redis), the quickest of three."""
    found = []
    for messages in sorted({size.small, size.large // 10, size.large}):
        person = await new_person(registry)
        times = []
        for _ in range(3):
            upto = cursor_after((await fill(registry, person, messages))[-1])
            everything = Question(partial(registry.messages.read_upto, person.user, upto))
            times.append(await time_of(server, everything, 1))
        found.append((messages, min(times) / 1000))
    return found


def cursor_after(stored: Stored) -> Cursor:
    return Cursor(stored.change.epoch, stored.change.last)


# --- the tables ------------------------------------------------------------------------------------------------------


async def run(size: Size) -> None:
    with one_redis() as server:
        quotas = await full_quotas(server, size)
        limits = replace(UNLIMITED, log_events_per_user=size.large)
        async with registry_on(server.url, limits=limits) as registry:
            messages = await inboxes(registry, server, size)
            devices = await households(registry, server, size)
            all_at_once = await read_all(registry, server, size)
    _print_times(f"µs in Redis, with {size.small:,} and with {size.large:,} unread messages", quotas + messages, size)
    _print_times(f"µs in Redis, with 1 and with {size.devices} devices", devices, size)
    rows = [[f"{count:,}", f"{ms:,.1f}", f"{ms * 1000 / count:,.1f}"] for count, ms in all_at_once]
    print_table("All read at once: one script", ["messages", "ms in Redis", "µs for each"], rows)


def _print_times(title: str, found: Sequence[Times], size: Size) -> None:
    rows = [[each.name, f"{each.small:,.1f}", f"{each.large:,.1f}", f"{each.ratio:.2f}"] for each in found]
    note = f"The quickest of {size.rounds} rounds of {size.calls} calls, as Redis counts them."
    print_table(title, ["script", "small", "large", "ratio"], rows, note)
