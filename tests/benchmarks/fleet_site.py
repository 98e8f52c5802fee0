"""A whole service for a swarm: Redis, api, Box Office, router and some socket servers, each a process; what they cost.

Owns: the processes and their configuration. Promises: by number, nobody is refused who may come by rate; everything is
gone when the block ends. Must not know: who comes, what is done to it.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from pushctl.identity.keys import Keys
from pushctl.rates import Rate
from tests.benchmarks.rig import folder, one_redis
from tests.certificates import write_certificates
from tests.faults.processes import RoleProcess, clean_environment
from tests.processes import free_port
from tests.redises.process import RedisProcess

PROBE = Path(__file__).with_name("probe")
"""A folder whose sitecustomize.py has a process note how long its garbage collector stops it."""

PREFIX = "pushctl"

UNLIMITED = Rate(1_000_000, 1_000_000)

CONFIGURATION = """
    redis = {{ url = "{redis}", prefix = "{prefix}", timeout_seconds = 10 }}
    identity = {{ environment = "development", keys_file = "{keys}", dev_idp.enabled = true }}
    log = {{ level = "warning", format = "json" }}
    router.admin_listen = "127.0.0.1:0"
    [api]
    listen = "{api}"
    public_url = "http://{api}"
    admin_listen = "127.0.0.1:0"
    [boxoffice]
    listen = "{boxoffice}"
    public_url = "http://{boxoffice}"
    admin_listen = "127.0.0.1:0"
    capacity_floor_percent = 0
    arrivals_per_second = {arrivals.per_second}
    arrivals_burst = {arrivals.burst}
    [socket]
    admin_listen = "127.0.0.1:0"
    rpc_listen = "127.0.0.1:0"
    max_connections = {capacity}
    accept_rate = {accepts.per_second}
    accept_burst = {accepts.burst}
    drain_seconds = {drain_seconds}
    [limits]
    exempt_networks = ["127.0.0.0/8"]
    """


@dataclass(frozen=True, slots=True)
class Terms:
    """What is configured. `arrivals`, `accepts`: the rates of the Box Office and of each socket server."""

    capacity: int
    sockets: int = 1
    tls: bool = False
    arrivals: Rate = UNLIMITED
    accepts: Rate = UNLIMITED
    drain_seconds: float = 30
    pauses: bool = True
    """Socket servers note how long their garbage collector stops them, which costs a little at each collection."""


@dataclass(frozen=True, slots=True)
class Site:
    terms: Terms
    redis: RedisProcess
    api: str
    boxoffice: str
    sockets: Sequence[RoleProcess]
    office: RoleProcess
    others: Sequence[RoleProcess]
    environment: dict[str, str]
    """For whoever connects: it believes the certificates."""
    here: Path
    """A folder for files of whoever uses it."""

    def problems(self) -> list[str]:
        """Ends that nobody asked for, and what should never have been logged."""
        found = []
        for process in (*self.sockets, self.office, *self.others):
            process.look()
            found += [*process.surprises, *process.errors()]
        return found


@asynccontextmanager
async def site_on(terms: Terms) -> AsyncIterator[Site]:
    """Everything is up and ready."""
    with ExitStack() as stack:
        redis = stack.enter_context(one_redis())
        here = stack.enter_context(folder())
        Keys.generate().write(here / "keys.toml")
        authority = write_certificates(here / "certificates")
        api, boxoffice = (f"127.0.0.1:{free_port()}" for _ in range(2))
        config = here / "local.toml"
        config.write_text(
            CONFIGURATION.format(
                redis=redis.url,
                prefix=PREFIX,
                keys=here / "keys.toml",
                api=api,
                boxoffice=boxoffice,
                capacity=terms.capacity,
                arrivals=terms.arrivals,
                accepts=terms.accepts,
                drain_seconds=terms.drain_seconds,
            )
        )
        environment = clean_environment()
        others = [RoleProcess(role, role, config, {}, environment) for role in ("api", "router")]
        office = RoleProcess("boxoffice", "boxoffice", config, {}, environment)
        sockets = [_socket(number, config, here, terms, environment) for number in range(1, terms.sockets + 1)]
        for process in (*others, office, *sockets):
            stack.callback(process.end)
        async with trio.open_nursery() as nursery:
            for process in (*others, office, *sockets):
                nursery.start_soon(process.start)
        client = environment | {"SSL_CERT_FILE": str(authority)}
        yield Site(terms, redis, f"http://{api}", f"http://{boxoffice}", sockets, office, others, client, here)


def _socket(number: int, config: Path, here: Path, terms: Terms, environment: dict[str, str]) -> RoleProcess:
    label, at = f"s{number}", f"127.0.0.1:{free_port()}"
    settings = {
        "socket.id": label,
        "socket.listen": at,
        "socket.public_url": f"{'wss' if terms.tls else 'ws'}://{at}/",
    }
    if terms.tls:
        settings["socket.tls_certificate"] = str(here / "certificates" / "server.pem")
        settings["socket.tls_key"] = str(here / "certificates" / "server.key")
    if not terms.pauses:
        return RoleProcess(label, "socket", config, settings, environment)
    path = os.pathsep.join([str(PROBE), *filter(None, [environment.get("PYTHONPATH")])])
    watched = environment | {"PYTHONPATH": path, "GC_PAUSES": str(here / f"{label}.pauses")}
    return RoleProcess(label, "socket", config, settings, watched)
