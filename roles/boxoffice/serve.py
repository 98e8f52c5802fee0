"""The Box Office as a daemon: a picture of the socket servers, refreshed about every second, and a listener.

Owns: the refreshing; the order of starting and stopping. Promises: while Redis is away the last picture serves for
`boxoffice.stale_seconds`; requests share that one picture and cost Redis one read, of their session; a look is one
round trip, in which offices also learn what their sisters handed out.
Must not know: how servers are chosen.
"""

import random
from collections.abc import Iterable, Sequence

import trio
from trio import TaskStatus

from pushctl import log
from pushctl.attendance import Attendance
from pushctl.config.check import check_role
from pushctl.config.model import Boxoffice, Config
from pushctl.errors import ConfigError, StoreUnavailable
from pushctl.health import Health
from pushctl.http.address_rates import AddressRates
from pushctl.http.server import HttpServer, address_of, open_listeners
from pushctl.identity.keys import installation_of
from pushctl.ids import new_id
from pushctl.inbox import Accounts
from pushctl.liveness import Loop
from pushctl.metrics import BoxOfficeMetrics
from pushctl.rates import rate_of
from pushctl.reasons import STARTING, Code, Reason
from pushctl.registry import Registry, open_registry
from pushctl.runtime import Ready
from pushctl.tls import Tls
from roles.boxoffice.app import Services, build_app
from roles.boxoffice.desk import Desk
from roles.boxoffice.doorman import Doorman
from roles.boxoffice.seating import Rules, Seating

REFRESH_SECONDS = 1.0
HURRIED_SECONDS = 0.02
"""Between two looks while a start waits for what they show."""

_log = log.get_logger(role="boxoffice")


class BoxOfficeRole:
    """See pushctl.runtime.Role. Raises ConfigError at construction."""

    name = "boxoffice"
    label = "boxoffice"

    def __init__(self, config: Config) -> None:
        mistakes = check_role(config, "boxoffice", alone=False)
        if mistakes:
            raise ConfigError(mistakes)
        self._config = config
        # Each office judges for itself who is alive: how lately it asked decides what silence means.
        self._name = f"boxoffice-{new_id()}"
        self._seating = Seating(rules_of(config.boxoffice), name=self._name)
        self._addresses = AddressRates(
            rate_of(config.limits.arrivals_per_second_per_address, config.limits.arrivals_burst_per_address),
            config.limits.exempt_networks,
        )
        self._tls = Tls.configured(config, "boxoffice")
        self.health = Health(config, self._tls)
        self._loop = Loop("the look at the socket servers")
        self._registry: Registry | None = None
        self._server: HttpServer | None = None
        self._looked = trio.Event()
        self._refresh_seconds = REFRESH_SECONDS
        self._hurry = trio.Event()
        self._drained = trio.Event()
        self.metrics = BoxOfficeMetrics()
        self.metrics.tls.watch(self._tls)
        self.metrics.picture_age_seconds.look = self._picture_age
        self._attendance = Attendance(
            "boxoffice",
            self._name,
            counts=self.metrics.counts,
            late=self.health.liveness.latest_seconds,
            not_ready=self.not_ready,
        )

    @property
    def admin_listen(self) -> str:
        return self._config.boxoffice.admin_listen

    @property
    def drain_seconds(self) -> float:
        return self._config.boxoffice.drain_seconds

    async def serve(self, *, task_status: TaskStatus[Ready]) -> None:
        config = self._config
        installation, liveness = installation_of(config.identity), self.health.liveness
        async with (
            open_registry(
                config, name="boxoffice", installation=installation, tally=self.metrics.redis, liveness=liveness
            ) as registry,
            self._attendance.kept(registry),
        ):
            self._registry = registry
            listeners = await open_listeners(config.boxoffice.listen, shared=config.boxoffice.reuse_port)
            address = address_of(listeners)
            doorman = Doorman(Accounts(registry, config), config.boxoffice.stale_seconds)
            app = build_app(Services(self._desk(), doorman, self.metrics))
            self._server = HttpServer(app, config.http, tls=self._tls, trusted_proxies=config.boxoffice.trusted_proxies)
            liveness.watch(self._loop, self._server.loop)
            self.metrics.http.watch(self._server.statistics, config.http.max_connections)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._refresh, registry)
                await self._looked.wait()
                await nursery.start(self._server.serve, listeners)
                url = config.boxoffice.public_url or f"{'https' if self._tls else 'http'}://{address}"
                task_status.started(Ready("boxoffice", "boxoffice", address, url))
                await self._drained.wait()
                nursery.cancel_scope.cancel()

    def _desk(self) -> Desk:
        office = self._config.boxoffice
        return Desk(
            self._seating,
            addresses=self._addresses,
            arrivals=rate_of(office.arrivals_per_second, office.arrivals_burst),
            now=trio.current_time(),
            count=lambda reason: self.metrics.refusals.labels(reason).inc(),
        )

    async def _refresh(self, registry: Registry) -> None:
        """Look again about every second; `_looked` is set, and renewed, at every picture that came."""
        fresh = True
        while True:
            self._loop.turn()
            asked_at = trio.current_time()
            try:
                seats = self._seating.handed_out(asked_at)
                picture, sisters = await registry.offices.look(self._name, seats)
            except StoreUnavailable as error:
                if fresh:
                    _log.warning("picture_stale", reason=error.detail)
                fresh = False
            else:
                self._seating.look(picture, asked_at, sisters)
                if not fresh:
                    _log.info("picture_fresh")
                fresh = True
                looked, self._looked = self._looked, trio.Event()
                looked.set()
            with trio.move_on_after(random.uniform(0.8, 1.2) * self._refresh_seconds):  # noqa: S311 - spread
                await self._hurry.wait()
            self._hurry = trio.Event()

    def _picture_age(self) -> list[tuple[Sequence[str], float]]:
        age = self._seating.age_seconds(trio.current_time())
        return [] if age is None else [((), age)]

    async def wait_for_servers(self, ids: Iterable[str]) -> None:
        """Returns once all of these take clients in the eyes of GET /v1/servers."""
        wanted = frozenset(ids)
        self._refresh_seconds = HURRIED_SECONDS
        self._hurry.set()
        try:
            while not wanted <= self._seating.open_servers():
                await self._looked.wait()
        finally:
            self._refresh_seconds = REFRESH_SECONDS

    def reload(self) -> None:
        """See pushctl.runtime.Reloads."""
        if self._tls is not None:
            self._tls.reload()

    async def drain(self) -> None:
        self._attendance.drains()
        if self._server is not None:
            await self._server.drain()
        if self._registry is not None:
            await self._attendance.leave(self._registry)
        self._drained.set()

    async def not_ready(self) -> list[Reason]:
        if self._registry is None:
            return [STARTING]
        reasons = await self._registry.check()
        if reasons:
            return reasons
        now = trio.current_time()
        if self._seating.age_seconds(now) is None:
            return [STARTING]
        if self._seating.stale(now):
            detail = "its picture of the socket servers is older than boxoffice.stale_seconds: see its log for why"
            reasons.append(Reason(Code.PICTURE_STALE, detail))
        return reasons


def rules_of(config: Boxoffice) -> Rules:
    return Rules(config.max_servers, config.stale_seconds, config.capacity_floor_percent / 100, config.zone)
