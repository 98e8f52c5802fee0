"""Whatever is out of the ordinary is said in words, and nothing else is."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pushctl.config.model import Config, Redis
from pushctl.overview import Overview
from pushctl.overview.servers import DrainStats
from pushctl.overview.warnings import seconds, warnings_of
from tests.unit.overview.looks import AT, load, look, master, partition, role, router, server

CONFIG = Config()


def said(overview: Overview, config: Config = CONFIG, **unknown: str) -> list[str]:
    return [notice.text for notice in warnings_of(overview, config, unknown)]


def test_a_service_that_is_well_has_none() -> None:
    assert said(look()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seen_ms_ago": 5000}, "s1 has not been seen for 5 s"),
        ({"connections": 1000}, "s1 is full"),
        ({"connections": 900}, "s1 is almost full"),
        ({"state": "not_ready"}, "s1 is not ready: it does not hear its channels"),
        ({"load": load(lag_ms=1200)}, "s1 came 1.2 s late to its work: its machine, or itself, is too busy"),
        ({"load": load(cpu=0.97)}, "s1 takes a whole core: start one more"),
        ({"clock_ahead_ms": 4200}, "s1: its clock is 4.2 s ahead of that of Redis"),
        ({"clock_ahead_ms": -90_000}, "s1: its clock is 90 s behind that of Redis"),
        (
            {"state": "draining", "drain": DrainStats("ops", AT, 60, 500)},
            f"s1 drains, asked by ops: 120 of 500 connections left, over 60 s since {AT}",
        ),
    ],
)
def test_what_is_wrong_with_a_server_among_others(changes: dict[str, Any], words: str) -> None:
    assert said(look(servers=[server(**changes), server(id="s2")])) == [words]


def test_a_server_of_a_version_that_says_little_is_not_blamed_for_it() -> None:
    assert said(look(servers=[server(load=None, clock_ahead_ms=None)])) == []


def test_that_nobody_takes_clients_comes_first() -> None:
    dead = server(id="s3", state="dead", seen_ms_ago=9000)
    full = server(connections=1000)
    assert said(look(servers=[]))[0].startswith("no socket server has been seen")
    assert said(look(servers=[dead])) == [
        "no socket server lives: clients are told to wait (503)",
        "s3 has not been seen for 9 s",
    ]
    assert said(look(servers=[dead, full]))[0].startswith("no socket server takes clients")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "dead", "seen_ms_ago": 13_000}, "api on a1 (process 4711) has not been seen for 13 s"),
        ({"state": "not_ready", "why": "no keys"}, "api on a1 (process 4711) is not ready: no keys"),
        ({"state": "draining"}, "api on a1 (process 4711) is stopping"),
        ({"clock_ahead_ms": 3700}, "api on a1 (process 4711): its clock is 3.7 s ahead of that of Redis"),
        ({"version": "1.1"}, "versions are mixed: 1.0 (s1), 1.1 (api)"),
    ],
)
def test_what_is_wrong_with_another_process(changes: dict[str, Any], words: str) -> None:
    assert said(look(roles=[role(**changes)])) == [words]


def test_a_count_that_is_late_or_was_never_made_is_said() -> None:
    overview = look()
    assert overview.users is not None
    old = look(users=msgspec.structs.replace(overview.users, age_ms=200_000))
    assert said(old) == ["gc counted 3 min ago, and should every 60 s: does it run?"]
    assert said(look(users=None)) == ["gc has not counted yet; start it with `pushctl serve gc`"]


@pytest.mark.parametrize(
    ("part", "reader", "words"),
    [
        ({"routers": 0}, {}, "no router reads partition 0; start one with `pushctl serve router`"),
        ({"length": 1, "lag_ms": 5000}, {}, "jobs of partition 0 wait for 5 s; start one more router"),
        ({"length": 95_000}, {}, "partition 0 holds 95,000 of at most 100,000 jobs: then the oldest jobs go"),
        (
            {"bytes": 66_000_000},
            {},
            "partition 0 holds 66,000,000 of at most 67,108,864 bytes: then the oldest jobs go",
        ),
        ({}, {"idle_ms": 20_000}, "channel-r1 was not seen at work for 20 s"),
        ({}, {"strategy": "broadcast"}, "channel-r1 runs broadcast, the configuration here says channel"),
    ],
)
def test_what_is_wrong_with_routing(part: dict[str, Any], reader: dict[str, Any], words: str) -> None:
    assert said(look(partitions=[partition(**part)], routers=[router(**reader)])) == [words]


def test_a_server_that_calls_do_not_reach_is_named_where_somebody_calls() -> None:
    deaf = [server(rpc_url="")]
    assert said(look(servers=deaf)) == []
    config = replace(CONFIG, routing=replace(CONFIG.routing, strategy="rpc"))
    overview = look(servers=deaf, routers=[router(name="rpc-r1", strategy="rpc")])
    routing = msgspec.structs.replace(overview.routing, strategy="rpc")
    (words,) = said(msgspec.structs.replace(overview, routing=routing), config)
    assert words.startswith("s1 has no internal listener")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "away", "seen_ms_ago": 12_000}, "does not answer for 12 s"),
        ({"state": "away", "seen_ms_ago": None}, "does not answer"),
        ({"state": "loading"}, "is loading its data"),
        (
            {"used_memory_bytes": 95_000_000},
            "uses 95% of maxmemory: when it is full, sites get 503; add memory or a master",
        ),
        (
            {"eviction_policy": "allkeys-lru"},
            "evicts keys (maxmemory-policy allkeys-lru): no role is ready; set noeviction",
        ),
        ({"evicted_keys": 3}, "has evicted 3 keys since it started: messages were lost"),
        ({"rejected_connections": 7}, "has refused 7 connections since it started: raise maxclients"),
        ({"clients": 9_500}, "has 9,500 of at most 10,000 clients"),
        ({"append_only_ok": False}, "cannot write its append-only file: what it takes now may be lost"),
        ({"last_save_ok": False}, "could not save its data the last time it tried"),
        ({"replica_lag_seconds": 8}, "has a replica that is 8 s behind"),
    ],
)
def test_what_is_wrong_with_a_master(changes: dict[str, Any], words: str) -> None:
    assert said(look(masters=[master(**changes)])) == [f"Redis at 10.0.0.9:6379 {words}"]


def test_replicas_that_writes_wait_for_are_missed() -> None:
    config = replace(CONFIG, redis=Redis(wait_replicas=2))
    assert "1 of the 2 replicas" in said(look(), config)[0]


def test_what_did_not_answer_is_not_known_and_nothing_is_made_of_it() -> None:
    overview = look(servers=[], users=None)
    assert said(overview, servers="away", users="away", messages="away") == [
        "messages are not known: away",
        "servers are not known: away",
        "users are not known: away",
    ]


@pytest.mark.parametrize(
    ("ms", "words"),
    [(1234, "1.2 s"), (9000, "9 s"), (100_000, "100 s"), (150_000, "2 min"), (7_200_000, "2 h"), (90_000_000, "1 d")],
)
def test_spans_are_said_in_one_unit(ms: int, words: str) -> None:
    assert seconds(ms) == words
