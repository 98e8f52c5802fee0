"""The api role as a daemon: from a checked configuration to a listener, and back.

Owns: the order of starting (registry, listener, verifier, app) and of stopping (no new requests, the last ones
answered, their jobs on their way). Must not know: any route.
"""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import trio
from trio import TaskStatus

from pushctl import log
from pushctl.attendance import Attendance
from pushctl.clock import Clock, system_clock
from pushctl.config.check import check_role, dev_idp_on
from pushctl.config.model import Browserid, Config
from pushctl.errors import ConfigError
from pushctl.health import Health
from pushctl.http.addresses import Networks
from pushctl.http.server import HttpServer, address_of, open_listeners
from pushctl.identity.verifier import IdentityVerifier
from pushctl.inbox import Accounts, Inbox
from pushctl.keyring import KeyRing
from pushctl.metrics import ApiMetrics
from pushctl.reasons import STARTING, Reason
from pushctl.registry import Registry, open_registry
from pushctl.runtime import Ready
from pushctl.tls import Tls
from pushctl.traces import open_traces
from pushctl.webpush.request import Rules
from pushctl.webpush.vapid import Verifier
from roles.api import checks
from roles.api.app import build_app, own_origins
from roles.api.inbox_page import InboxPage
from roles.api.limits import Limits
from roles.api.publish import Publisher
from roles.api.receipts import Receipts
from roles.api.services import Services

if TYPE_CHECKING:  # a production process never imports the development provider
    from pushctl.identity.dev_idp import DevIdp

WARN_SECONDS = 3600

_log = log.get_logger(role="api")


class ApiRole:
    """See pushctl.runtime.Role. Raises ConfigError at construction for every mistake that can be known by then."""

    name = "api"
    label = "api"

    def __init__(self, config: Config, clock: Clock = system_clock) -> None:
        mistakes = check_role(config, "api", alone=False)
        if mistakes:
            raise ConfigError(mistakes)
        self._config = config
        self._clock = clock
        self._ring = KeyRing(config.identity, "api", "api")
        if config.api.public_url:
            self._check_public(config.api.public_url)
        self._exempt = Networks(config.limits.exempt_networks, "limits.exempt_networks")
        self._tls = Tls.configured(config, "api")
        self.health = Health(config, self._tls)
        self._registry: Registry | None = None
        self._limits: Limits | None = None
        self._server: HttpServer | None = None
        self._receipts: Receipts | None = None
        self._drained = trio.Event()
        self.metrics = ApiMetrics()
        self.metrics.keys.look(self._ring.states, self._ring.lacking)
        self.metrics.tls.watch(self._tls)
        self.traces = open_traces(config, "api", self.label, self.metrics.traces.ended)
        self._traced = Networks(config.traces.trusted_networks, "traces.trusted_networks")
        self._attendance = Attendance(
            "api", "api", counts=self.metrics.counts, late=self.health.liveness.latest_seconds, not_ready=self.not_ready
        )

    def _check_public(self, public_url: str) -> None:
        own_origins(public_url, self._config.api.origins)
        verifier = IdentityVerifier(self._config, self._clock, public_url=public_url)
        self._inbox_page(public_url, verifier)

    def _inbox_page(self, public_url: str, verifier: IdentityVerifier) -> InboxPage | None:
        """The inbox in a browser, where it is on."""
        if not self._config.api.inbox:
            return None
        return InboxPage(self._config, public_url=public_url, audience=verifier.audience)

    @property
    def admin_listen(self) -> str:
        return self._config.api.admin_listen

    @property
    def drain_seconds(self) -> float:
        return self._config.api.drain_seconds

    async def serve(self, *, task_status: TaskStatus[Ready]) -> None:
        config = self._config
        dev_idp = await _dev_idp() if dev_idp_on(config) else None
        async with (
            open_registry(
                config,
                name="api",
                installation=self._ring.keys.installation,
                tally=self.metrics.redis,
                liveness=self.health.liveness,
            ) as registry,
            self._ring.shown(registry),
            self._attendance.kept(registry),
        ):
            self._registry = registry
            listeners = await open_listeners(config.api.listen)
            address = address_of(listeners)
            public_url = config.api.public_url or f"{'https' if self._tls else 'http'}://{address}"
            verifier = IdentityVerifier(config, self._clock, dev_idp, public_url=public_url)
            if verifier.providers is not None:
                self.metrics.providers.watch(verifier.providers.fetches, verifier.providers.key_ages)
            inbox = Inbox(
                registry,
                self._ring.sealer,
                public_url,
                count=self.metrics.stage,
                ask_presence=config.routing.strategy != "broadcast",
            )
            self._receipts = receipts = Receipts(registry, inbox, config.limits, self.metrics)
            limits = self._limits = Limits(registry.rates, config.limits, self._exempt, self._refused)
            self._server = self._http_server(registry, inbox, receipts, public_url, verifier, dev_idp, limits)
            self.health.liveness.watch(*limits.loops, self._server.loop)
            self.metrics.http.watch(self._server.statistics, config.http.max_connections)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(limits.run)
                await nursery.start(self._server.serve, listeners)
                nursery.start_soon(receipts.run)
                nursery.start_soon(verifier.warm)
                _warn_of_discovery(config.identity.browserid)
                if dev_idp is not None:
                    nursery.start_soon(_warn_every_hour, config)
                task_status.started(Ready("api", "api", address, public_url))
                await self._drained.wait()
                nursery.cancel_scope.cancel()

    def _refused(self, reason: str) -> None:
        self.metrics.refusals.labels(reason).inc()

    def _http_server(
        self,
        registry: Registry,
        inbox: Inbox,
        receipts: Receipts,
        public_url: str,
        verifier: IdentityVerifier,
        dev_idp: "DevIdp | None",
        limits: Limits,
    ) -> HttpServer:
        config = self._config
        services = Services(
            registry=registry,
            inbox=inbox,
            accounts=Accounts(registry, config, self._clock),
            ring=self._ring,
            verifier=verifier,
            metrics=self.metrics,
            clock=self._clock,
            limits=limits,
            dev_idp=dev_idp,
        )
        app, short = build_app(
            services,
            Publisher(inbox, self._rules(public_url), self.metrics, limits, self.traces, self._traced),
            receipts,
            origins=own_origins(public_url, config.api.origins),
            max_body_bytes=config.http.max_body_bytes,
            inbox_page=self._inbox_page(public_url, verifier),
        )
        # Each part bounds the bodies it reads and answers in its own way (413 with `errno` on a push URL).
        http = replace(config.http, max_body_bytes=sys.maxsize)
        return HttpServer(app, http, tls=self._tls, trusted_proxies=config.api.trusted_proxies, short=short)

    def _rules(self, public_url: str) -> Rules:
        messages = self._config.messages
        vapid = Verifier(checks.site(public_url), self._clock)
        return Rules(messages.max_lifetime_seconds, messages.max_body_bytes, vapid)

    def reload(self) -> None:
        """See pushctl.runtime.Reloads."""
        self._ring.reload()
        if self._tls is not None:
            self._tls.reload()

    async def drain(self) -> None:
        self._attendance.drains()
        if self._server is not None and self._registry is not None and self._limits is not None:
            if self._receipts is not None:
                self._receipts.end()
            await self._server.drain()
            await self._limits.settle()
            # Jobs are written without waiting. A question behind them is answered when they are written.
            await self._registry.check()
            await self._ring.leave(self._registry)
            await self._attendance.leave(self._registry)
        self._drained.set()

    async def not_ready(self) -> list[Reason]:
        if self._registry is None:
            return [STARTING]
        return [*await self._registry.check(), *self._ring.not_ready()]


async def _dev_idp() -> "DevIdp":
    from pushctl.identity.dev_idp import DevIdp

    # Making a key takes 60 ms of CPU: long enough for other roles of the process to notice.
    return await trio.to_thread.run_sync(DevIdp.generate)


def _warn_of_discovery(browserid: Browserid) -> None:
    if browserid.enabled and browserid.mode == "discover" and not browserid.discover.allow_domains:
        _log.warning("browserid_asks_any_domain", detail="whoever logs in chooses whom this asks; narrow allow_domains")


async def _warn_every_hour(config: Config) -> None:
    while True:
        if config.identity.dev_idp.allow_bind_any:
            _log.warning("dev_idp_beyond_loopback", listen=config.api.listen, detail="identity.dev_idp.allow_bind_any")
        _log.warning("dev_idp_on", detail="whoever reaches this listener logs in as anybody; never on a public host")
        await trio.sleep(WARN_SECONDS)
