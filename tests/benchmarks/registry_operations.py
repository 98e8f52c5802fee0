"""What the registry's operations cost, at 1, 16 and 256 callers, on one Redis and on a Cluster of three masters.

Append, read, sync and presence through the real registry: operations per second, and the CPU that one of them costs
this process and the servers. Beside it the same append without the link's group commit: a connection per caller.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import cycle

import trio

from pushctl.config.model import Config, Redis
from pushctl.ids import ConnectionId, Cursor, MessageRef, ServerId, SessionHash, UserId, new_id
from pushctl.registry import Registry
from pushctl.registry.connection import Argument, Connection, Reply
from pushctl.registry.keys import Keys
from pushctl.registry.link import Link
from pushctl.registry.messages import Snapshot, Stored
from pushctl.registry.question import Question
from pushctl.registry.script import Script
from tests.benchmarks.rig import (
    DAY_MS,
    UNLIMITED,
    Figures,
    Installation,
    Operation,
    Person,
    both,
    fill,
    for_each,
    measure,
    middle,
    new_person,
    people,
    print_table,
    spread,
    us,
    version,
)

CALLERS = (1, 16, 256)
BEHIND = (10, 100, 1000)
PAGE_BYTES = 131_072
SERVER = ServerId("s1")


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. `seconds`: of one cell; `readers`: inboxes that are synced; `messages`: in each."""

    seconds: float = 0.5
    rounds: int = 3
    users: int = 256
    readers: int = 16


QUICK = Size(seconds=0.02, rounds=1, users=32, readers=1)


class Subject:
    """One installation under measurement: its people, and what the operations need from each other."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.registry = installation.registry
        self.everybody: list[Person] = []
        self.cursors: dict[int, list[tuple[UserId, Cursor]]] = {behind: [] for behind in BEHIND}
        self.unread: deque[tuple[UserId, MessageRef]] = deque()
        self.session = SessionHash("")

    async def prepare(self, size: Size) -> None:
        self.everybody = await people(self.registry, size.users)
        first = self.everybody[0]
        self.session = first.session
        await self.registry.sessions.begin(
            self.session, first.user, first.device, provider="browserid", expires_at_ms=DAY_MS, lasts_ms=DAY_MS
        )
        for _ in range(size.readers):
            reader = await new_person(self.registry)
            stored = await fill(self.registry, reader, max(BEHIND) + 1)
            for behind in BEHIND:
                self.cursors[behind].append((reader.user, cursor_after(stored[-1 - behind])))

    def operations(self) -> dict[str, Operation]:
        """Read comes after append: it reads what that has stored."""
        return {
            "append": self._append(),
            "read": self._read,
            **{f"sync, {behind:,} behind": self._sync(behind) for behind in BEHIND},
            "presence: claim, release": self._presence(),
            "session: find": self._find,
        }

    async def _find(self) -> bool:
        return await self.registry.sessions.find(self.session) is not None

    def _append(self) -> Operation:
        turn = cycle(self.everybody)

        async def append() -> bool:
            person = next(turn)
            stored = await self.registry.messages.append(person.user, person.message())
            self.unread.append((person.user, stored.ref))
            return True

        return append

    async def _read(self) -> bool:
        if not self.unread:
            return False
        user, ref = self.unread.popleft()
        read, _ = await self.registry.messages.read(user, [ref])
        assert read == 1
        return True

    def _sync(self, behind: int) -> Operation:
        turn = cycle(self.cursors[behind])

        async def sync() -> bool:
            user, place = next(turn)
            entries, done = 0, False
            while not done:
                page = await self.registry.messages.sync(user, place, min_rank=0, page_bytes=PAGE_BYTES)
                assert not isinstance(page, Snapshot)
                place, done = page.cursor, page.done
                entries += len(page.entries)
            assert entries == behind
            return True

        return sync

    def _presence(self) -> Operation:
        turn = cycle(self.everybody)

        async def presence() -> bool:
            person, connection = next(turn), ConnectionId(new_id())
            claim = self.registry.presence.claim
            await claim(
                person.user,
                person.device,
                connection,
                session=person.session,
                server=SERVER,
                generation=1,
                rank=0,
            )
            await self.registry.presence.release([(person.user, connection)])
            return True

        return presence


def cursor_after(stored: Stored) -> Cursor:
    return Cursor(stored.change.epoch, stored.change.last)


# --- without the link's group commit ---------------------------------------------------------------------------------


class ConnectionPerCaller(Link):
    """What one would write first: each question has a connection to itself until its answer is there."""

    idle: list[Connection]

    async def _answer(self, questions: list[Question]) -> list[Reply]:
        with self._deadline(trio.current_time() + self._settings.timeout_seconds):
            key = questions[0].key
            connection = self.idle.pop() if self.idle else await self.open_connection(str(key), name="benchmark")
            replies = [await connection.ask(*question.command) for question in questions]
            self.idle.append(connection)
        return replies

    async def run_packed(
        self, script: Script, key: str, packed: bytes, command: Callable[[], Sequence[Argument]]
    ) -> Reply:
        del packed
        (reply,) = await self._answer([Question(command(), key, script.lane, script)])
        return reply


@asynccontextmanager
async def without_group_commit(url: str) -> AsyncIterator[Registry]:
    config = replace(Config(), redis=Redis(url=url), limits=UNLIMITED)
    link = ConnectionPerCaller(config.redis, name="benchmark")
    link.idle = []
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield Registry(link, Keys(config.redis.prefix), config)
        for connection in link.idle:
            await connection.aclose()
        nursery.cancel_scope.cancel()


async def compare_group_commit(one: Subject, size: Size) -> None:
    (server,) = one.installation.servers
    names = ["session: find", "append"]
    async with without_group_commit(server.url) as registry:
        other = Subject(replace(one.installation, registry=registry))
        other.everybody, other.session = one.everybody, one.session
        found = await alternate([("link", one), ("connections", other)], names, size)
    rows = []
    for name in names:
        for callers in CALLERS:
            ours, naive = middle(found["link", name, callers]), middle(found["connections", name, callers])
            rows.append(
                [
                    *(name, f"{callers}", f"{ours.rate:,.0f}", f"{naive.rate:,.0f}"),
                    *(f"{ours.rate / naive.rate:.2f}", f"{ours.client_us / naive.client_us:.2f}"),
                    f"{ours.servers_us / naive.servers_us:.2f}",
                ]
            )
    print_table(
        "The link, and a connection for each caller",
        [
            *("operation", "callers", "link/s", "connections/s"),
            *("link/connections: per second", "client CPU", "Redis CPU"),
        ],
        rows,
    )


# --- the table -------------------------------------------------------------------------------------------------------

Found = dict[tuple[str, str, int], list[Figures]]


async def alternate(subjects: Sequence[tuple[str, Subject]], names: Sequence[str], size: Size) -> Found:
    """Every operation at every number of callers, on each subject in turn, round by round; the first round is a short
    one that does not count."""
    operations = {name: subject.operations() for name, subject in subjects}
    found: Found = {}
    for turn in range(size.rounds + 1):
        for callers in CALLERS:
            for operation in names:
                for name, subject in subjects:
                    seconds = size.seconds if turn else size.seconds / 10
                    figures = await measure(
                        operations[name][operation], subject.installation, callers=callers, seconds=seconds
                    )
                    if turn:
                        found.setdefault((name, operation, callers), []).append(figures)
    return found


async def run(size: Size) -> None:
    async with both() as installations:
        subjects = [Subject(installation) for installation in installations]
        await for_each(subjects, lambda subject: subject.prepare(size))
        one, three = subjects
        names = list(one.operations())
        found = await alternate([("one", one), ("cluster", three)], names, size)
        rows = []
        for operation in names:
            for callers in CALLERS:
                single = middle(found["one", operation, callers])
                cluster = middle(found["cluster", operation, callers])
                rows.append(
                    [
                        operation,
                        f"{callers}",
                        *(f"{single.rate:,.0f}", us(single.client_us), us(single.servers_us)),
                        *(f"{cluster.rate:,.0f}", us(cluster.client_us), us(cluster.servers_us)),
                        f"{cluster.rate / single.rate:.2f}",
                        f"{cluster.servers_us / single.servers_us:.2f}",
                    ]
                )
        apart = sorted(spread([each.rate for each in rounds]) for rounds in found.values())
        print_table(
            "Operations: per second, and µs of CPU for each",
            [
                "operation",
                "callers",
                *("one Redis/s", "client µs", "Redis µs"),
                *("Cluster/s", "client µs", "Redis µs"),
                *("Cluster/one: per second", "Redis µs"),
            ],
            rows,
            f"Median of {size.rounds} rounds of {size.seconds:g} s; half of the rates are good to "
            f"±{apart[len(apart) // 2]:.0%}, the worst to ±{apart[-1]:.0%}. {version(one.installation.servers[0])}.",
        )
        await compare_group_commit(one, size)
