"""Users with a push URL each, for tests of what happens to their messages when Redis is in trouble."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from pushctl.config.model import Config, Redis
from pushctl.errors import StoreUnavailable
from pushctl.ids import DeviceId, PushUrlId, SessionHash, UserId, new_id
from pushctl.registry import Registry
from pushctl.registry.keys import shard_of
from pushctl.registry.messages import NewMessage, Stored
from pushctl.registry.records import PushUrlRecord

in_thread = trio.to_thread.run_sync


def impatient(url: str, **changes: object) -> Config:
    """As `unhurried`, for tests that wait for deadlines."""
    return unhurried(url, **{"timeout_seconds": 0.5, **changes})


def unhurried(url: str, **changes: object) -> Config:
    """Deadlines that only a Redis that is really away misses, on this one; no quota that a test's load could reach."""
    settings = Redis(url=url, connect_seconds=5, timeout_seconds=5)
    return replace(
        Config(),
        redis=replace(settings, **changes),  # type: ignore[arg-type]  # the fields' own types
        limits=replace(
            Config().limits,
            unread_per_user=100_000,
            unread_per_push_url=100_000,
            log_events_per_user=100_000,
            push_url_per_second=0,
            user_per_second=0,
        ),
    )


class Person:
    """Somebody registered, with one device and one push URL."""

    def __init__(self, registry: Registry, user: UserId, device: DeviceId, push_url: PushUrlRecord) -> None:
        self.registry = registry
        self.user = user
        self.device = device
        self.push_url = push_url

    @classmethod
    async def register(cls, registry: Registry, user: UserId | None = None) -> "Person":
        user = user or UserId(new_id())
        session = SessionHash(f"session-{user}")
        registered = await registry.users.register(user, device=None, name="laptop", session=session, identity="i")
        _, push_url, _ = await registry.push_urls.allow(
            user, new_id=PushUrlId(new_id()), site="https://a.example", vapid_key=None, icon=None, key_id="k"
        )
        return cls(registry, user, registered.device, push_url)

    async def post(self, body: str, *, key: str | None = None, through: Registry | None = None) -> Stored:
        """A message for this person; `key`: idempotency key; `through`: another role's registry."""
        raw = body.encode()
        message = NewMessage(self.push_url.id, self.push_url.number, 3_600_000, 2, None, "k", raw, key, raw)
        return await (through or self.registry).messages.append(self.user, message)

    async def bodies(self) -> list[str]:
        """Of all unread messages, oldest first."""
        return [record.body.decode() for record in await self.registry.messages.unread(self.user, 0, 5000)]


class Writer:
    """Posts one message after another for somebody, and remembers what was answered."""

    def __init__(self, person: Person, name: str) -> None:
        self.person = person
        self.name = name
        self.answered: list[str] = []
        self.refused: list[str] = []
        self.reasons: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def write(self, *, pause: float = 0.002) -> None:
        """Until cancelled. A post that is cancelled on its way may have arrived."""
        while True:
            body = f"{self.name}-{len(self.answered) + len(self.refused)}"
            self.refused.append(body)
            began = trio.current_time()
            try:
                await self.person.post(body)
            except StoreUnavailable as error:
                self.reasons[error.detail] += 1
            else:
                self.answered.append(self.refused.pop())
                self.seconds.append(trio.current_time() - began)
            await trio.sleep(pause)

    def check(self, bodies: list[str]) -> None:
        """Hold what is stored against what was answered."""
        stored = [body for body in bodies if body.startswith(f"{self.name}-")]
        assert len(stored) == len(set(stored)), "stored twice"
        assert [body for body in stored if body in set(self.answered)] == self.answered, "lost, or out of order"
        assert set(stored) <= {*self.answered, *self.refused}
        assert self.reasons["Redis refused"] == 0, "a script ran into an error"


def user_in(part: int, parts: int) -> UserId:
    """Somebody new whose keys lie in the `part`th of so many equal ranges of slots: on that master of a new Cluster."""
    while True:
        user = UserId(new_id())
        if shard_of(user, parts) == part:
            return user


async def patiently(ask: Callable[[], Awaitable[object]], *, seconds: float = 20) -> float:
    """Call this until the store is available again; how long that took. For what may be repeated."""
    began = trio.current_time()
    with trio.fail_after(seconds):
        while True:
            try:
                await ask()
            except StoreUnavailable:
                await trio.sleep(0.05)
            else:
                return trio.current_time() - began


async def until(truth: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not truth():  # noqa: ASYNC110 - nobody here can be told
            await trio.sleep(0.01)
