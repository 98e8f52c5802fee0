"""One user of a scene: what devices, senders and readers of this user do, and what a device must know at the end."""

from collections.abc import Awaitable, Callable, Collection

from pushctl.clock import system_clock
from pushctl.ids import Cursor, SessionHash, UserId, new_id
from pushctl.inbox import Inbox, Session
from pushctl.points import Point
from pushctl.protocol.frames import Notification
from pushctl.registry.messages import Delta
from pushctl.registry.presence import Holder
from pushctl.webpush.request import Push
from tests.interleavings.device import Device
from tests.interleavings.scene import Scene

AN_HOUR_MS = 3_600_000
PUSH = Push(
    body=b"",
    notification=Notification("news"),
    data=None,
    encoding=None,
    headers=None,
    ttl_seconds=3600,
    topic=None,
    urgency="normal",
    idempotency_key=None,
)


class Household:
    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.user = UserId(new_id(16))
        self._token = ""
        self._published: list[tuple[int, str]] = []
        """(sequence number, id) of each message."""

    async def log_in(self) -> Session:
        """On a device of its own."""
        session, expires_at_ms = SessionHash(new_id()), system_clock() + AN_HOUR_MS
        registry = self.scene.registry
        made = await registry.users.register(self.user, device=None, name="", session=session, identity=self.user)
        await registry.sessions.begin(
            session, self.user, made.device, provider="browserid-dev", expires_at_ms=expires_at_ms, lasts_ms=AN_HOUR_MS
        )
        return Session(self.user, made.device, session, expires_at_ms)

    async def settle(self) -> None:
        """From now on there are a push URL and a message."""
        await self.allow()
        await self.publish()
        await self.scene.route_unheard(self.user, 2)

    async def allow(self) -> None:
        push_url, _ = await self.scene.inbox().allow(self.user, "https://news.example", None, None)
        self._token = push_url.url.rpartition("/")[2]

    async def publish(self, inbox: type[Inbox] = Inbox) -> None:
        published = await self.scene.inbox(inbox).publish(self._token, PUSH)
        self._published.append((published.seq, published.message_id))

    async def read_first(self) -> None:
        """Mark the first message read."""
        assert await self.scene.inbox().read(self.user, ids=[self._published[0][1]]) == 1

    async def tell(self, append: Callable[[], Awaitable[None]], passed: Collection[Point]) -> None:
        """The whole order on publish: append, then locate, if there is a job."""
        await append()
        if Point.JOB_WRITTEN in passed:
            await self.scene.route(self.user)

    async def leases(self) -> list[Holder]:
        (holders,) = await self.scene.registry.presence.holders_of([self.user])
        return holders

    @property
    def messages(self) -> list[str]:
        """The ids of all that were published, in the order of the log."""
        return [message for _, message in sorted(self._published)]

    async def is_at_the_end(self, device: Device) -> bool:
        """Whether the log has nothing beyond where the device believes to be."""
        cursor = Cursor.parse(device.cursor or "")
        rest = await self.scene.registry.messages.sync(self.user, cursor, min_rank=0, page_bytes=100_000)
        return rest == Delta(cursor, [], done=True)
