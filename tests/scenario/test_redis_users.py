"""Each role, and the operator, as a user of Redis with the rights of examples/redis/users.conf and no others."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import httpx
import pytest
import trio
from redis.exceptions import ResponseError

from pushctl.config.model import ROLE_NAMES, Config
from pushctl.config.model import Redis as Settings
from pushctl.testing.service import running
from roles.gc import run_once
from tests.certificates import write_certificates
from tests.redises.cluster import redis_cluster
from tests.redises.process import RedisProcess, debian_binary
from tests.scenario.everything import browsers, clients_and_sites, operator
from tests.scenario.people import Town

USERS = Path(__file__).parents[2] / "examples" / "redis" / "users.conf"
EVERYBODY = (*ROLE_NAMES, "operator")
ADMIN, PASSWORD = "admin", "secret"

Kind = Literal["wheel", "debian", "tls", "cluster", "cluster of 7"]
"""6.2; 7; 7 that speaks nothing but TLS, to clients with a certificate; three masters of 6.2, and of 7."""

ON_A_CLUSTER_OF_7 = {"router": "+spublish", "socket": "+ssubscribe"}
"""The rights that users.conf says to add there."""

DEBIAN = pytest.mark.debian


@dataclass(frozen=True, slots=True)
class GuardedRedis:
    masters: list[RedisProcess]
    options: str = ""
    """Of a URL: what is behind the question mark."""

    def url(self, user: str) -> str:
        scheme = "rediss" if self.options else "redis"
        hosts = ",".join(f"localhost:{master.port}" for master in self.masters)
        return f"{scheme}://{user}:{_password(user)}@{hosts}/0{self.options}"

    def denied(self) -> list[str]:
        """What anybody was refused: user, reason, command, key or channel."""
        log = [row for master in self.masters for row in master.ask("ACL", "LOG")]
        rows = [dict(zip(row[::2], row[1::2], strict=True)) for row in log]
        return [f"{row[b'username'].decode()}: {row[b'reason'].decode()} {row[b'object'].decode()}" for row in rows]

    def forget_denied(self) -> None:
        for master in self.masters:
            master.ask("ACL", "LOG", "RESET")


def _password(user: str) -> str:
    return PASSWORD if user == ADMIN else f"CHANGE-{user}"


@contextmanager
def guarded(folder: Path, kind: Kind) -> Iterator[GuardedRedis]:
    users = USERS
    if kind == "cluster of 7":
        users = folder / "users.conf"
        users.write_text(_with_rights(USERS.read_text(), ON_A_CLUSTER_OF_7))
    lines = [f"include {users}", f"user {ADMIN} on >{PASSWORD} ~* &* +@all", "user default off"]
    client: dict[str, object] = {"username": ADMIN, "password": PASSWORD, "host": "localhost"}
    options = ""
    if kind in ("cluster", "cluster of 7"):
        binary = debian_binary() if kind == "cluster of 7" else None
        with redis_cluster(folder, *lines, binary=binary, client=client, node_timeout_ms=15_000) as cluster:
            yield GuardedRedis(cluster.masters)
        return
    if kind == "tls":
        authority = write_certificates(folder / "certificates")
        names = [f"{who}.{what}" for who in ("server", "client") for what in ("pem", "key")]
        of = {name: authority.parent / name for name in names}
        lines += [
            f"tls-cert-file {of['server.pem']}",
            f"tls-key-file {of['server.key']}",
            f"tls-ca-cert-file {authority}",
            "tls-auth-clients yes",
        ]
        shown = {"ssl_ca_certs": authority, "ssl_certfile": of["client.pem"], "ssl_keyfile": of["client.key"]}
        client |= {"ssl": True} | {name: str(path) for name, path in shown.items()}
        options = "?" + "&".join(f"{name}={path}" for name, path in shown.items())
    process = RedisProcess(
        folder / "redis",
        *lines,
        listen="tls-port" if kind == "tls" else "port",
        binary=None if kind == "wheel" else debian_binary(),
        client=client,
    )
    try:
        yield GuardedRedis([process], options)
    finally:
        process.kill()


def _with_rights(users: str, more: Mapping[str, str]) -> str:
    for user, right in more.items():
        assert f"{right} to {user}" in users
        users = re.sub(rf"^(user {user} .*)$", rf"\1 {right}", users, flags=re.MULTILINE)
    return users


def config_of(server: GuardedRedis, user: str, strategy: str) -> Config:
    """As the documented user, under the documented prefix, with little patience: everything happens within the test."""
    base = Config()
    return replace(
        base,
        redis=Settings(url=server.url(user), prefix="pushctl", connect_seconds=5),
        routing=replace(base.routing, strategy=strategy),  # type: ignore[arg-type]  # one of the three
        socket=replace(base.socket, reconcile_seconds=1),
        gc=replace(base.gc, tick_seconds=0.2, census_seconds=0.3, repair_seconds=0.5, idle_device_days=31),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        *(("wheel", strategy) for strategy in ("channel", "rpc", "broadcast")),
        pytest.param("debian", "channel", marks=DEBIAN),
        *(pytest.param("debian", strategy, marks=[DEBIAN, pytest.mark.long]) for strategy in ("rpc", "broadcast")),
        pytest.param("tls", "channel", marks=DEBIAN),
        ("cluster", "channel"),
        pytest.param("cluster of 7", "channel", marks=DEBIAN),
        pytest.param("cluster of 7", "broadcast", marks=DEBIAN),
    ],
)
async def test_the_rights_of_each_role_are_enough_for_all_that_it_does(kind: Kind, strategy: str, folder: Path) -> None:
    with guarded(folder, kind) as server, trio.fail_after(90):
        config = config_of(server, "api", strategy)
        urls = {role: server.url(role) for role in ROLE_NAMES}
        async with running(config, redis_urls=urls) as service, httpx.AsyncClient() as http:
            town = Town(service, http)
            await clients_and_sites(town)
            await browsers(town)
            for admin in service.admin.values():
                assert (await http.get(f"{admin}/readyz")).status_code == 200
            findings = await operator(as_user(service.config, server, "operator"), town)
            await run_once(as_user(service.config, server, "gc"))
        assert server.denied() == []
    unsure = {finding.check for finding in findings if finding.verdict in ("bad", "unknown")}
    assert unsure <= {"persistence"}, "doctor could ask everything"


def as_user(config: Config, server: GuardedRedis, user: str) -> Config:
    return replace(config, redis=replace(config.redis, url=server.url(user)))


FORBIDDEN = [
    "GET other:key",
    "FLUSHALL",
    "KEYS *",
    "CONFIG SET maxmemory 1",
    "ACL WHOAMI",
    "SHUTDOWN NOSAVE",
    "MONITOR",
    "SUBSCRIBE other:channel",
    "EVAL return(redis.call('SET',KEYS[1],'1')) 1 other:key",
]
"""For everybody."""

ALSO_FORBIDDEN: Mapping[str, list[str]] = {
    "router": [
        "HGETALL pushctl:{u:ada}:messages",
        "HGETALL pushctl:{u:ada}:devices",
        "XRANGE pushctl:{u:ada}:log - +",
        "EVAL return(redis.call('HGETALL',KEYS[1])) 1 pushctl:{u:ada}:messages",
        "GET pushctl:session:s",
        "GET pushctl:identity:i",
        "SUBSCRIBE pushctl:{route:1.0.1}:everyone",
    ],
    "boxoffice": [
        "HGETALL pushctl:{u:ada}:meta",
        "HGETALL pushctl:{u:ada}:presence",
        "GET pushctl:identity:i",
        "XLEN pushctl:{route:1.0.1}",
        "PUBLISH pushctl:{route:1.0.1}:everyone x",
        "DEL pushctl:session:s",
    ],
    "socket": ["GET pushctl:replay:r", "ZSCORE pushctl:{rates:1.0.1}:login a", "SCAN 0", "SET pushctl:census x"],
    "api": [
        "SCAN 0",
        "SET pushctl:census x",
        "HGET pushctl:{shard:1.0.1}:lease daemon",
        "XREADGROUP GROUP g c STREAMS s >",
    ],
    "gc": ["GET pushctl:replay:r", "XREADGROUP GROUP g c STREAMS s >", "SUBSCRIBE pushctl:{route:1.0.1}:everyone"],
    "operator": [
        "DEL pushctl:{u:ada}:meta",
        "ZREM pushctl:{u:ada}:unread 1",
        "XADD pushctl:{u:ada}:log * k m",
        "GET pushctl:identity:i",
        "PUBLISH pushctl:{route:1.0.1}:everyone x",
    ],
}


@pytest.mark.parametrize("kind", ["wheel", pytest.param("debian", marks=DEBIAN)])
def test_and_for_nothing_else(kind: Kind, folder: Path) -> None:
    with guarded(folder, kind) as server:
        for user in EVERYBODY:
            for command in [*FORBIDDEN, *ALSO_FORBIDDEN[user]]:
                server.forget_denied()
                with pytest.raises(ResponseError, match=r"NOPERM|permission|ACL"):
                    server.masters[0].ask(*command.split(), user=user, password=_password(user))
                assert server.denied()[0].startswith(f"{user}: "), command


def test_nobody_may_do_everything_and_no_password_is_given_away() -> None:
    users = [line.split() for line in USERS.read_text().splitlines() if line.startswith("user ")]
    assert sorted(words[1] for words in users) == sorted(EVERYBODY)
    for words in users:
        assert words[3] == f">CHANGE-{words[1]}"
        assert "-@all" in words
        assert not re.search(r" [+~&](@\S*|\*)(?= |$)", " " + " ".join(words)), "each right by its name"
