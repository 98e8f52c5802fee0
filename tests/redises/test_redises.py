"""The installations are what they claim to be: tests that break them prove nothing otherwise."""

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AskError, AuthenticationError, MovedError, RedisError

from tests.certificates import write_certificates
from tests.redises.cluster import RedisCluster
from tests.redises.process import RedisProcess
from tests.redises.replication import Replicas, is_in_sync
from tests.redises.sentinels import SentinelSet
from tests.redises.tls import TlsRedis
from tests.redises.waiting import until


def test_a_killed_redis_comes_back_with_everything_and_the_same_address(folder: Path) -> None:
    process = RedisProcess(folder, listen="port")
    try:
        url = process.url
        process.ask("SET", "kept", "yes")
        process.kill()
        assert not process.alive
        process.start()
        assert (process.url, process.ask("GET", "kept")) == (url, b"yes")
        process.stop()
        assert not process.alive
    finally:
        process.kill()


def test_a_frozen_redis_can_be_stopped_and_one_that_cannot_start_says_why(folder: Path) -> None:
    process = RedisProcess(folder / "good")
    process.freeze()
    process.stop()
    assert not process.alive
    with pytest.raises(AssertionError, match="nonsense"):
        RedisProcess(folder / "bad", "nonsense yes")


def test_not_even_a_killed_test_run_leaves_a_frozen_redis_behind(folder: Path) -> None:
    lines = [
        "import time, pathlib",
        "from tests.redises.process import RedisProcess",
        f"process = RedisProcess(pathlib.Path({str(folder)!r}), listen='port')",
        "process.freeze()",
        "print(process.port, flush=True)",
        "time.sleep(60)",
    ]
    run = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, text=True)
    assert run.stdout
    with run, run.stdout as said:
        port = int(said.readline())
        socket.create_connection(("127.0.0.1", port)).close()  # the kernel takes it for the frozen Redis
        run.kill()
        run.wait()

    def is_gone() -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.1)
            return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED

    until(is_gone, "it is gone")


def test_a_replica_misses_what_is_written_while_it_is_cut_off(own_replicas: Replicas) -> None:
    master, replica = own_replicas.master, own_replicas.replica
    master.ask("SET", "before", 1)
    own_replicas.cut_off()
    for n in range(5):
        master.ask("SET", f"missed:{n}", n)
    assert master.ask("WAIT", 1, 100) == 0
    assert replica.ask("KEYS", "*") == [b"before"]
    own_replicas.let_back()
    assert master.ask("WAIT", 1, 1000) == 1
    assert replica.ask("DBSIZE") == 6
    own_replicas.promote(replica)
    assert own_replicas.master.ask("SET", "after", 1) == b"OK"


def test_the_slots_of_a_cluster_are_spread_evenly_and_redirect(cluster: RedisCluster) -> None:
    owners = [cluster.owner(slot) for slot in (0, 5461, 5462, 10922, 10923, 16383)]
    assert owners == [master for master in cluster.masters for _ in range(2)]
    slot = cluster.slot_of("{a}")
    owner = cluster.owner(slot)
    other = next(master for master in cluster.masters if master is not owner)
    assert owner.ask("SET", "{a}", 1) == b"OK"
    with pytest.raises(MovedError, match=owner.address):
        other.ask("GET", "{a}")


@pytest.mark.slow
def test_a_slot_moves_key_by_key_and_both_nodes_answer_meanwhile(own_cluster: RedisCluster) -> None:
    slot = own_cluster.slot_of("{a}")
    source = own_cluster.owner(slot)
    target = next(master for master in own_cluster.masters if master is not source)
    keys = {f"{{a}}:{n}".encode() for n in range(10)}
    for key in keys:
        source.ask("SET", key, key)
    moved: set[bytes] = set()
    for key in own_cluster.migration(slot, target):
        moved.add(key)
        with pytest.raises(AskError, match=target.address):
            source.ask("GET", key)
        assert own_cluster.owner(slot) is source
    assert moved == keys
    until(lambda: all(own_cluster.owner(slot, asked=node) is target for node in own_cluster.nodes), "all know")
    assert {target.ask("GET", key) for key in keys} == keys


@pytest.mark.slow
def test_one_frozen_master_leaves_the_others_slots_served(own_cluster: RedisCluster) -> None:
    frozen, *others = own_cluster.masters
    keys = {own_cluster.owner(own_cluster.slot_of(str(n))): n for n in range(20)}
    with frozen.frozen():
        for other in others:
            until(lambda one=other: b"master,fail " in one.ask("CLUSTER", "NODES"), "it was given up")  # type: ignore[misc]
        for other in others:
            assert other.ask("SET", keys[other], "served") == b"OK"
    until(lambda: frozen.ask("SET", keys[frozen], "served"), "it was taken back")


@pytest.mark.slow
def test_a_replica_that_was_cut_off_is_promoted_without_what_it_missed(
    own_cluster_with_replicas: RedisCluster,
) -> None:
    cluster = own_cluster_with_replicas
    master = cluster.owner(cluster.slot_of("{a}"))
    replica = cluster.replica_of(master)
    master.ask("SET", "{a}:before", 1)
    cluster.cut_off(replica)
    for n in range(5):
        master.ask("SET", f"{{a}}:missed:{n}", n)
    master.kill()
    cluster.until_promoted(replica)
    assert replica.ask("KEYS", "*") == [b"{a}:before"]
    assert replica.ask("SET", "{a}:after", 1) == b"OK"
    master.start()
    until(lambda: is_in_sync(replica, master), "the old master follows the new one")
    assert sorted(master.ask("KEYS", "*")) == [b"{a}:after", b"{a}:before"]


@pytest.mark.slow
def test_sentinels_promote_the_replica_of_a_dead_master(own_sentinels: SentinelSet) -> None:
    master, replica = own_sentinels.watched.master, own_sentinels.watched.replica
    assert own_sentinels.master is master
    master.ask("SET", "kept", "yes")
    assert master.ask("WAIT", 1, 1000) == 1
    master.kill()
    own_sentinels.until_promoted(replica)
    assert own_sentinels.master is replica
    assert replica.ask("GET", "kept") == b"yes"


@pytest.mark.debian
def test_the_redis_with_tls_lets_in_its_user_and_nobody_else(tls_redis: TlsRedis, folder: Path) -> None:
    stranger = write_certificates(folder / "stranger")
    with Redis.from_url(tls_redis.url) as client:
        assert client.ping()
    with Redis.from_url(tls_redis.url_with(user="default")) as client, pytest.raises(AuthenticationError):
        client.ping()
    fooled = Redis.from_url(tls_redis.url_with(authority=stranger))
    with fooled, pytest.raises(RedisError, match="certificate verify failed"):
        fooled.ping()
    assert tls_redis.process.info("server")["tcp_port"] == str(tls_redis.process.port)
