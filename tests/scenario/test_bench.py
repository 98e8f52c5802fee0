"""`pushctl bench` before a real service: what it measures is so, and it would notice if a message were lost."""

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from subprocess import PIPE
from typing import Any

import httpx
import pytest
import trio

from pushctl.client import bench as bench_module
from pushctl.client import fleet as fleet_module
from pushctl.client.bench import Bench, BenchPlan, cut
from pushctl.client.bench_report import BenchReport, Form, what_is_wrong
from pushctl.client.fleet import Plan
from pushctl.client.http import open_client
from pushctl.client.load import LoadPlan
from pushctl.config.model import Config
from pushctl.testing.service import Running, running
from tests.unit.cli.commands import pushctl

PATIENCE_SECONDS = 50


@pytest.fixture(autouse=True)
def _soon_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(bench_module, "SETTLE_SECONDS", 1.0)


@pytest.fixture
async def service(config: Config) -> AsyncIterator[Running]:
    async with running(config, sockets=1) as service:
        yield service


@asynccontextmanager
async def bench_of(service: Running, form: Form, **changed: Any) -> AsyncIterator[Bench]:
    swarm = Plan(
        api_url=service.api, boxoffice_url=service.boxoffice, users=3, devices=2, seconds=0, arrivals=100.0,
        site=bench_module.SITE,
    )  # fmt: skip
    load = LoadPlan(targets=[], rate=50.0, seconds=0.6, warmup_seconds=0.2, headers={}, authorization={})
    plan = BenchPlan(form=form, swarm=swarm, load=load)
    async with open_client(service.api) as client:
        with trio.fail_after(PATIENCE_SECONDS):
            yield Bench(replace(plan, **changed), client)


def wrong(found: BenchReport) -> list[str]:
    return what_is_wrong(found, max_p99_ms=None, max_lost=0)


async def test_every_message_is_followed_from_when_it_was_due_to_every_device(service: Running) -> None:
    async with bench_of(service, "fanout") as bench:
        found = await bench.run()
    assert wrong(found) == []
    assert (found.load and found.load.accepted, found.swarm.connected) == (30, 6)
    delivery = found.delivery
    assert delivery is not None
    assert (delivery.expected, delivery.received, delivery.missing) == (60, 60, 0)
    assert found.swarm.received == 80  # the warm-up, too
    assert found.load
    # The road to a device has no way around the service's acceptance of it.
    accepted, delivered = found.load.latency_us, delivery.latency_us
    assert accepted.min is not None
    assert delivered.max is not None
    assert accepted.min < delivered.max < PATIENCE_SECONDS * 1e6
    async with httpx.AsyncClient() as http:
        for user in bench.fleet.users:
            token = {"Authorization": f"Bearer {user.members[0].token}"}
            assert (await http.get(f"{service.api}/v1/messages", headers=token)).status_code == 401


@pytest.mark.slow
async def test_a_message_that_never_arrives_is_missing(service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from roles.socket.tail import Tail

    left_out: list[object] = []
    take = Tail.take

    def careless(tail: Tail) -> Any:
        prepared = take(tail)
        if prepared is not None and prepared.is_message and len(left_out) < 1:
            left_out.append(prepared)
            return take(tail)
        return prepared

    async with bench_of(service, "fanout") as bench:
        load = bench.plan.load
        assert load
        monkeypatch.setattr(Tail, "take", careless)
        bench.plan = replace(bench.plan, load=LoadPlan(**{**_fields(load), "warmup_seconds": 0.0}))
        found = await bench.run()
    assert left_out
    assert found.delivery is not None
    assert (found.delivery.missing, found.swarm.skipped) == (1, 1)
    assert wrong(found) == ["1 skipped", "1 lost"]


def _fields(load: LoadPlan) -> dict[str, Any]:
    return {name: getattr(load, name) for name in load.__struct_fields__}


@pytest.mark.slow
async def test_a_storm_tells_when_all_are_back_and_how_the_others_fared(service: Running) -> None:
    async with bench_of(service, "storm", trouble=cut(0.5)) as bench:
        found = await bench.run()
    storm = found.storm
    assert storm is not None
    assert (storm.gone, storm.back) == (3, 3)
    assert storm.all_back_seconds is not None
    assert storm.back_ms.max is not None
    assert storm.back_ms.max <= storm.all_back_seconds * 1000 * 1.01 + 1
    assert storm.others_us.max is not None
    assert found.swarm.disconnects == {"1006": 3}
    assert wrong(found) == []


@pytest.mark.slow
async def test_ctrl_c_stops_the_sender_and_still_tells_everything_and_clears_up(service: Running) -> None:
    where = ["--api", service.api, "--boxoffice", service.boxoffice]
    command = [sys.executable, "-m", "pushctl", "bench", "fanout", "--users", "2", "--duration", "1h", "--json", *where]
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(
                partial(trio.run_process, command, stdout=PIPE, stderr=PIPE, check=False)
            )
            assert process.stdout
            assert process.stderr
            said = b""
            while b"sending" not in said:
                said += await process.stderr.receive_some()
            await trio.sleep(1.5)  # beyond the warm-up: the load knows of it, nobody here
            process.send_signal(signal.SIGINT)
            nursery.start_soon(drained, process.stderr)
            out = b"".join([part async for part in process.stdout])
            code = await process.wait()
    found = json.loads(out)["bench"]
    assert code == 130
    assert found["interrupted"]
    assert found["load"]["interrupted"]
    assert found["load"]["accepted"]
    assert (found["swarm"]["unchecked"], found["swarm"]["lost"]) == (0, 0)


async def drained(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass


@pytest.mark.slow
async def test_the_command_needs_no_other_flags_than_where_the_service_is(service: Running) -> None:
    where = ("--api", service.api, "--boxoffice", service.boxoffice)
    options = ("--users", "2", "--duration", "300ms", "--warmup", "100ms", "--max-p99", "0.001ms", "--json")
    sent = await pushctl("bench", "send", *options, *where)
    assert sent.code == 3, sent.err
    [told] = sent.lines
    [why] = told["wrong"]
    assert why.startswith("p99 ")
    assert sent.err.splitlines()[-1] == f"pushctl: not good: {why}"
    assert told["bench"]["load"]["accepted"] == 30
    assert told["run"]["parameters"]["users"] == "2"
    idle = await pushctl(
        *("bench", "idle", "--users", "2", "--duration", "100ms", *where),
        *("--set", f"redis.url={service.config.redis.url}", "--set", f"redis.prefix={service.config.redis.prefix}"),
    )
    assert idle.code == 0, idle.err
    assert "connected   2 of 2" in idle.out
    assert "MiB, " in idle.out  # of s1, as its last heartbeat said


@pytest.mark.slow
async def test_a_drain_of_a_server_is_a_storm_and_is_taken_back(config: Config) -> None:
    async with running(config) as service:
        registry = service.config.redis
        ran = await pushctl(
            *("bench", "storm", "--drain", "s1", "--over", "100ms", "--users", "4", "--duration", "500ms", "--json"),
            *("--api", service.api, "--boxoffice", service.boxoffice),
            *("--set", f"redis.url={registry.url}", "--set", f"redis.prefix={registry.prefix}"),
        )
    assert ran.code == 0, ran.err
    [told] = ran.lines
    storm = told["bench"]["storm"]
    assert storm["gone"] == storm["back"] > 0
    assert told["bench"]["load"]["accepted"] == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fanout", "--size", "10B"], "at least 40B"),
        (["storm", "--drop", "50%", "--drain", "s1"], "either --drop or --drain"),
        (["send", "--rate", "fast"], "is not a rate"),
        (["nothing"], "nothing"),
    ],
)
async def test_wrong_usage_is_a_2(arguments: list[str], said: str) -> None:
    ran = await pushctl("bench", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in " ".join(ran.err.split())


async def test_no_service_is_a_5() -> None:
    ran = await pushctl("bench", "send", "--api", "http://127.0.0.1:1", "--boxoffice", "http://127.0.0.1:1")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        5, "pushctl: cannot connect to http://127.0.0.1:1: connection refused",
    )  # fmt: skip
