"""pushctl: every role a process, routing by `channel`, one Redis."""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio

from pushctl.clock import system_clock
from pushctl.identity.keys import Keys
from pushctl.identity.sealing import PushAddress, Sealer, hash_session_token, new_session_token
from pushctl.ids import UserId, new_id
from pushctl.inbox import Inbox
from pushctl.protocol.frames import SUBPROTOCOL, Notification
from pushctl.registry import Registry
from pushctl.webpush.request import Push
from tests.benchmarks.fleet_site import PREFIX, Site, Terms, site_on
from tests.benchmarks.peer import KEPT_SECONDS, MARK, Heard, Peer, Running, TextDialect
from tests.benchmarks.peer.parts import HttpPublisher, redis_bytes, redis_killed
from tests.benchmarks.rig import DAY_MS, allow, for_each, registry_on, version
from tests.benchmarks.routing_site import PUBLIC_URL
from tests.benchmarks.unsound import Unsound
from tests.faults.processes import RoleProcess, clean_environment

SPARE_CONNECTIONS = 1000

HEADERS = {"Content-Type": "text/plain", "TTL": str(KEPT_SECONDS)}

STORED = Push(
    body=b"x" * 200,
    notification=Notification(body="x" * 200),
    data=None,
    encoding=None,
    headers=None,
    ttl_seconds=KEPT_SECONDS,
    topic=None,
    urgency="normal",
    idempotency_key=None,
)

_CURSOR = re.compile(rb'"cursor":"([^"]+)"')


class Dialect(TextDialect):
    """Acknowledges each frame that brings something, as a phone does for those that come within 200 ms."""

    greets = True

    def __init__(self, token: str) -> None:
        self._token = token
        self._cursor: str | None = None

    def request(self) -> tuple[str, str | None]:
        return "/", SUBPROTOCOL

    def hello(self) -> list[bytes]:
        return [json.dumps({"type": "hello", "token": self._token, "cursor": self._cursor}).encode()]

    def hears(self, payload: bytes) -> Heard:
        heard = Heard([int(number) for number in MARK.findall(payload)])
        heard.ready = b'"type":"sync"' in payload and b'"done":true' in payload
        cursors = _CURSOR.findall(payload)
        if cursors:
            self._cursor = cursors[-1].decode()
            heard.answers.append(json.dumps({"type": "ack", "cursor": self._cursor}).encode())
        return heard


class Pushctl:
    def __init__(self, site: Site, gc: RoleProcess, accounts: Sequence[tuple[str, str]]) -> None:
        """`accounts`: of each device, its session and the path of its push URL."""
        self._site = site
        self._accounts = accounts
        self._roles = [*site.others, site.office, *site.sockets, gc]
        self._publisher = HttpPublisher(urlsplit(site.api).port or 0, HEADERS)
        self.port = int(site.sockets[0].settings["socket.listen"].rpartition(":")[2])
        self.version = f"pushctl with {version(site.redis)}"

    def servers(self) -> Mapping[str, int]:
        return {role.role: role.pid for role in self._roles}

    def storage(self) -> Mapping[str, int]:
        return {"redis": self._site.redis.pid}

    def storage_bytes(self) -> int:
        return redis_bytes(self._site.redis)

    def dialect(self, device: int) -> Dialect:
        return Dialect(self._accounts[device][0])

    async def publish(self, device: int, body: bytes) -> bool:
        return await self._publisher.post(self._accounts[device][1], body)

    async def kill_servers(self) -> None:
        for role in self._roles:
            await role.kill()
        async with trio.open_nursery() as nursery:
            for role in self._roles:
                nursery.start_soon(role.start)

    async def kill_storage(self) -> None:
        await redis_killed(self._site.redis)

    def close(self) -> None:
        """Raises Unsound for what should never have been logged."""
        self._publisher.close()
        problems = self._site.problems()
        if problems:
            raise Unsound("; ".join(problems))


async def accounts(registry: Registry, sealer: Sealer, devices: int, *, stored: int = 0) -> list[tuple[str, str]]:
    """Of each a session's token and the path of a push URL. `stored`: unread messages of each, that nobody counts."""
    inbox = Inbox(registry, sealer, PUBLIC_URL, count=lambda *_: None)
    found: list[tuple[str, str]] = []

    async def one(_: int) -> None:
        token = new_session_token()
        session = hash_session_token(token)
        user = UserId(new_id(16))
        registered = await registry.users.register(
            user, device=None, name="phone", session=session, identity=new_id(32)
        )
        await registry.sessions.begin(
            session,
            user,
            registered.device,
            provider="browserid-dev",
            expires_at_ms=system_clock() + DAY_MS,
            lasts_ms=DAY_MS,
        )
        push_url, number = await allow(registry, user, key_id=sealer.key_id)
        sealed = sealer.seal_push_url(PushAddress(user, push_url, number), sealer.key_id)
        for _ in range(stored):
            await inbox.publish(sealed, STORED)
        found.append((token, f"/push/{sealed}"))

    await for_each(range(devices), one)
    return found


@asynccontextmanager
async def running(devices: int, *, stored: int = 0) -> AsyncIterator[Running]:
    """`stored`: unread messages that each has before it comes."""
    async with site_on(Terms(devices + SPARE_CONNECTIONS, pauses=False)) as site:
        gc = RoleProcess("gc", "gc", site.here / "local.toml", {"gc.admin_listen": "127.0.0.1:0"}, clean_environment())
        try:
            await gc.start()
            sealer = Sealer(Keys.load(site.here / "keys.toml"))
            async with registry_on(site.redis.url, prefix=PREFIX) as registry:
                service = Pushctl(site, gc, await accounts(registry, sealer, devices, stored=stored))
            yield service
            service.close()
        finally:
            gc.end()


PEER = Peer(
    "pushctl",
    {},
    {
        "confirmed means": "in Redis, and on replicas if asked for",
        "for a user who is away": "kept 3 days, or as long as the sender says (TTL), within a quota",
        "comes back": "what it missed, in order, once, or a snapshot, and is told which",
        "read on one device": "goes from the others",
        "who may publish": "who has the push URL, which the user may revoke at any time; VAPID",
        "who may listen": "a session, which can end at any moment",
        "a sender can ask": "stored, delivered, read, expired, replaced, evicted",
    },
    running,
)
