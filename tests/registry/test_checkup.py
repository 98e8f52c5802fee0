"""What `pushctl doctor` finds out about a real Redis: each bad setting seen, and seen to be gone again."""

import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import redis
import trio

from pushctl.checkup import Finding, examine_redis
from pushctl.config.model import Config
from pushctl.config.model import Redis as Settings
from pushctl.errors import Unreachable
from pushctl.identity.keys import Keys, installation_of
from pushctl.ids import ServerId
from pushctl.registry import open_registry
from tests.conftest import RedisProcess, redis_binary

PATIENCE_SECONDS = 20


@pytest.fixture(autouse=True, params=["wheel", pytest.param("debian", marks=pytest.mark.debian)])
def _server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything on the wheel's server (6.2) and on Debian's (7)."""
    if request.param == "debian":
        monkeypatch.setenv("PUSHCTL_REDIS_SERVER", "/usr/bin/redis-server")


@pytest.fixture
def own_redis(folder: Path) -> Iterator[RedisProcess]:
    """One that nothing is to be said of."""
    process = RedisProcess(folder, "appendfsync always")
    yield process
    process.kill()


@pytest.fixture
def client(own_redis: RedisProcess) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(own_redis.path), decode_responses=True) as client:
        yield client


def config_for(process: RedisProcess, wait_replicas: int = 0) -> Config:
    keys_file = process.path.parent / "keys.toml"
    if not keys_file.exists():
        Keys.generate().write(keys_file)
    return replace(
        Config(),
        redis=Settings(url=process.url, wait_replicas=wait_replicas, connect_seconds=5),
        identity=replace(Config().identity, keys_file=str(keys_file)),
    )


SLOW = {"latency", "scripts"}
"""How long this machine takes at this moment; the rest are settings."""


async def found(process: RedisProcess, wait_replicas: int = 0, url: str | None = None) -> dict[str, Finding]:
    """What is found now, by check."""
    config = config_for(process, wait_replicas)
    config = replace(config, redis=replace(config.redis, url=url or process.url))
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_registry(config, name="test") as registry:
            return {finding.check: finding for finding in await examine_redis(registry, config)}


async def test_a_redis_as_it_should_be_has_nothing_bad_and_nothing_unknown(own_redis: RedisProcess) -> None:
    findings = await found(own_redis)
    assert {finding.verdict for check, finding in findings.items() if check not in SLOW} == {"ok"}
    assert {findings[check].verdict for check in SLOW} <= {"ok", "warn"}
    assert all(finding.group == f"Redis unix://{own_redis.path}" for finding in findings.values())
    assert "loses nothing" in findings["persistence"].found


@pytest.mark.parametrize(
    ("check", "setting", "value", "verdict", "says"),
    [
        ("eviction", "maxmemory-policy", "allkeys-lru", "bad", "lost messages"),
        ("persistence", "appendonly", "no", "bad", "everything is gone"),
        ("persistence", "appendfsync", "no", "warn", "half a minute"),
        ("persistence", "appendfsync", "everysec", "ok", ""),
        ("persistence", "no-appendfsync-on-rewrite", "yes", "warn", "as with appendfsync no"),
        ("lone_master", "min-replicas-to-write", "1", "bad", "NOREPLICAS"),
        ("idle_timeout", "timeout", "30", "warn", "503"),
        ("idle_timeout", "timeout", "300", "ok", ""),
        ("memory", "maxmemory", "500kb", "bad", "503"),
        ("memory", "maxmemory", "1gb", "ok", ""),
    ],
)
async def test_a_bad_setting_is_found_and_what_is_said_puts_it_right(
    own_redis: RedisProcess, client: redis.Redis, check: str, setting: str, value: str, verdict: str, says: str
) -> None:
    client.config_set(setting, value)
    finding = (await found(own_redis))[check]
    assert finding.verdict == verdict
    assert says in finding.means
    line = next((line for line in finding.do if " CONFIG SET " in line), None)
    if line is not None:
        _, _, command = line.partition(" CONFIG SET ")
        client.config_set(*command.split())
        assert (await found(own_redis))[check].verdict == "ok"


async def test_a_redis_that_is_nearly_full_is_worth_a_word(own_redis: RedisProcess, client: redis.Redis) -> None:
    for number in range(40):
        client.set(f"large{number}", b"x" * 500_000)
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.9))
    assert (await found(own_redis))["memory"].verdict == "warn"


async def test_files_of_the_moment_alone_say_how_much_would_be_lost_now(
    own_redis: RedisProcess, client: redis.Redis
) -> None:
    client.config_set("appendonly", "no")
    client.config_set("save", "3600 1")
    for number in range(3):
        client.set(f"key{number}", "value")
    finding = (await found(own_redis))["persistence"]
    assert finding.verdict == "bad"
    assert "3 changes right now" in finding.means


async def test_a_file_that_cannot_be_written_is_bad(own_redis: RedisProcess, client: redis.Redis) -> None:
    (own_redis.path.parent / "dump.rdb").mkdir()  # no file goes where a directory is
    client.bgsave()
    with trio.fail_after(PATIENCE_SECONDS):
        while client.info("persistence")["rdb_last_bgsave_status"] == "ok":  # noqa: ASYNC110 - Redis tells nobody
            await trio.sleep(0.02)
    assert (await found(own_redis))["disk"].verdict == "bad"


def free_port(most: int = 65_535) -> int:
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        if port <= most:
            return port


def listen_somewhere(client: redis.Redis) -> int:
    """Have it listen on a port, too. Another process may be quicker to take the one we thought free."""
    for _ in range(20):
        port = free_port()
        with suppress(redis.exceptions.ResponseError):
            client.config_set("port", port)
            return port
    raise AssertionError("no free port")


@pytest.fixture
def replica(own_redis: RedisProcess, client: redis.Redis) -> Iterator[RedisProcess]:
    """A second Redis that follows `own_redis`."""
    port = listen_somewhere(client)
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        process = RedisProcess(Path(folder))
        with redis.Redis(unix_socket_path=str(process.path)) as follower:
            follower.config_set("repl-diskless-sync-delay", 0)
            client.config_set("repl-diskless-sync-delay", 0)
            follower.replicaof("127.0.0.1", port)
        yield process
        process.kill()


async def in_step(client: redis.Redis, replicas: int) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:  # Redis tells nobody
            info = client.info("replication")
            if info["connected_slaves"] == replicas and (not replicas or info["slave0"]["state"] == "online"):
                return
            await trio.sleep(0.02)


async def test_a_redis_that_is_not_ours_is_bad_until_its_loss_is_accepted(
    own_redis: RedisProcess, tmp_path: Path
) -> None:
    config = config_for(own_redis)
    ours = installation_of(config.identity)
    assert ours is not None
    unused = (await found(own_redis))["installation"]
    assert (unused.verdict, "adopts it" in unused.found) == ("ok", True)
    async with open_registry(config, name="test", installation=ours) as registry:
        await registry.servers.new_generation(ServerId("s1"))
        assert (await found(own_redis))["installation"].found == f"it is {ours}'s"
        own_redis.ask("DEL", *own_redis.ask("KEYS", "pushctl:{marker*"))
        emptied = (await found(own_redis))["installation"]
        assert (emptied.verdict, "--adopt" in emptied.means) == ("bad", True)
        await registry.adopt("somebody-else")
    foreign = (await found(own_redis))["installation"]
    assert (foreign.verdict, "another installation's" in foreign.means) == ("bad", True)
    async with open_registry(config, name="test") as registry:
        await registry.adopt(ours)  # what is another's is not taken
    assert (await found(own_redis))["installation"].verdict == "bad"


async def test_replicas_that_are_promised_must_be_there(
    own_redis: RedisProcess, client: redis.Redis, replica: RedisProcess
) -> None:
    await in_step(client, 1)
    promised = await found(own_redis, wait_replicas=1)
    assert (promised["replicas"].verdict, promised["lone_master"].verdict) == ("ok", "warn")
    client.config_set("min-replicas-to-write", 1)
    assert (await found(own_redis, wait_replicas=1))["lone_master"].verdict == "ok"
    assert (await found(own_redis))["replicas"].verdict == "warn"
    assert (await found(own_redis, wait_replicas=2))["replicas"].verdict == "bad"
    replica.kill()
    await in_step(client, 0)
    lonely = await found(own_redis, wait_replicas=1)
    assert (lonely["replicas"].verdict, lonely["lone_master"].verdict) == ("bad", "bad")


async def test_a_replica_in_place_of_its_master_is_not_used_and_says_where_the_master_is(
    client: redis.Redis, replica: RedisProcess
) -> None:
    await in_step(client, 1)
    with pytest.raises(BaseExceptionGroup) as caught:
        await found(replica)
    master = f"127.0.0.1:{client.config_get('port')['port']}"
    assert caught.group_contains(Unreachable, match=f"is a replica: redis.url must name its master, {master}")


class ClusterNode(RedisProcess):
    """A Redis that is a Cluster of its own, without slots yet."""

    def start(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        self._process = self._begin()
        while not self.path.exists():
            assert time.monotonic() < deadline, "redis-server did not start"
            if self._process.poll() is not None:  # somebody else had one of the ports
                self._process = self._begin()
            time.sleep(0.01)

    def _begin(self) -> subprocess.Popen[bytes]:
        port = free_port(most=65_535 - 10_000)  # Redis itself adds the 10,000 for the bus of the Cluster
        arguments = ["--unixsocket", str(self.path), "--port", str(port), "--bind", "127.0.0.1"]
        arguments += ["--cluster-enabled", "yes", "--appendonly", "yes", "--dir", str(self.path.parent)]
        return subprocess.Popen([redis_binary(), *arguments], stdout=subprocess.DEVNULL)


@pytest.fixture
def node() -> Iterator[RedisProcess]:
    with tempfile.TemporaryDirectory(prefix="pushctl-") as folder:
        process = ClusterNode(Path(folder))
        yield process
        process.kill()


async def test_a_cluster_without_all_its_slots_is_bad_and_one_that_stops_as_a_whole_worth_a_word(
    node: RedisProcess,
) -> None:
    with redis.Redis(unix_socket_path=str(node.path), decode_responses=True) as client:
        client.cluster("addslots", *range(16_383))
        findings = await found(node)
        assert (findings["cluster"].verdict, findings["coverage"].verdict) == ("bad", "warn")
        assert "16383 of 16384" in findings["cluster"].found
        client.cluster("addslots", 16_383)
        client.config_set("cluster-require-full-coverage", "no")
        with trio.fail_after(PATIENCE_SECONDS):
            while client.cluster("info")["cluster_state"] != "ok":  # noqa: ASYNC110 - Redis tells nobody
                await trio.sleep(0.02)
        findings = await found(node)
        assert (findings["cluster"].verdict, findings["coverage"].verdict) == ("ok", "ok")


def some_user(client: redis.Redis, *, without: str) -> None:
    """A user `some` who may do everything but this."""
    client.acl_setuser("some", True, False, ["+secret"], commands=[f"-{without}"], categories=["+@all"], keys=["*"])


async def test_what_redis_refuses_to_tell_is_unknown_and_the_rest_is_checked(
    own_redis: RedisProcess, client: redis.Redis
) -> None:
    some_user(client, without="config")
    findings = await found(own_redis, url=f"unix://some:secret@{own_redis.path}")
    unknown = {check for check, finding in findings.items() if finding.verdict == "unknown"}
    assert unknown == {"persistence", "lone_master", "idle_timeout"}
    assert {finding.verdict for check, finding in findings.items() if check not in SLOW} == {"ok", "unknown"}
    assert {findings[check].verdict for check in SLOW} <= {"ok", "warn"}
    assert "secret" not in str(findings)


async def test_a_script_that_may_not_run_does_not_stop_the_other_checks(
    own_redis: RedisProcess, client: redis.Redis
) -> None:
    some_user(client, without="eval")
    findings = await found(own_redis, url=f"unix://some:secret@{own_redis.path}")
    assert findings["scripts"].verdict == "unknown"
    assert findings["clock"].verdict == "ok"


@asynccontextmanager
async def far_away(path: Path, seconds: float) -> AsyncIterator[str]:
    """The URL of a proxy that keeps every answer of Redis back for so long."""

    async def serve(stream: trio.SocketStream) -> None:
        async with await trio.open_unix_socket(str(path)) as server, stream, trio.open_nursery() as nursery:

            async def down() -> None:
                async for chunk in server:
                    await trio.sleep(seconds)
                    await stream.send_all(chunk)

            nursery.start_soon(down)
            async for chunk in stream:
                await server.send_all(chunk)
            nursery.cancel_scope.cancel()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"redis://127.0.0.1:{listener.socket.getsockname()[1]}/0"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("seconds", "verdict"), [(0.008, "warn"), pytest.param(0.11, "bad", marks=pytest.mark.long)])
async def test_a_redis_that_is_far_away_is_noticed(own_redis: RedisProcess, seconds: float, verdict: str) -> None:
    async with far_away(own_redis.path, seconds) as url:
        findings = await found(own_redis, url=url)
    assert (findings["latency"].verdict, findings["scripts"].verdict) == (verdict, verdict)
    assert findings["clock"].verdict == "ok"
