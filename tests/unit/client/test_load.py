"""A load before a service at the edge of the world: nothing is hidden, nothing sent twice, all is counted."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from pushctl.client import load as load_module
from pushctl.client.distribution import Distribution
from pushctl.client.load import Load, LoadPlan
from pushctl.client.load_report import LoadReport, Tally, load_report, what_is_wrong
from pushctl.client.targets import Target
from pushctl.errors import Unreachable
from tests.fake_service import FakeService, open_fake_service

PATIENCE_SECONDS = 20
ACCEPTED: Any = (201, None, {"Location": "/message/m", "TTL": "60"})
ROUTE = "POST /push/a"


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with open_fake_service() as running:
        for name in "abc":
            running.answers[f"POST /push/{name}"] = ACCEPTED
        yield running


def plan(service: FakeService, *names: str, **changed: Any) -> LoadPlan:
    targets = [Target(f"{service.api_url}/push/{name}") for name in names or ("a",)]
    least = {"rate": 100.0, "seconds": 0.3, "concurrency": 4, "headers": {"TTL": "60"}, "authorization": {}}
    return LoadPlan(targets=targets, **{**least, **changed})


async def run(made: LoadPlan) -> LoadReport:
    with trio.fail_after(PATIENCE_SECONDS):
        return await Load(made).run()


@asynccontextmanager
async def running(made: LoadPlan) -> AsyncIterator[tuple[Load, list[LoadReport]]]:
    """A load beside the block; its report is there when the block is left."""
    found: list[LoadReport] = []
    load = Load(made)

    async def go() -> None:
        found.append(await load.run())

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go)
            yield load, found


def answering(*steps: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """Each step in turn, the last again and again."""
    left = list(steps)

    async def answer() -> Any:
        return await (left.pop(0) if len(left) > 1 else left[0])()

    return answer


async def accept() -> Any:
    return ACCEPTED


def refuse(status: int, **headers: str) -> Callable[[], Awaitable[Any]]:
    async def answer() -> Any:
        return status, {"code": "x", "detail": "no"}, headers

    return answer


async def test_all_that_is_due_is_sent_once_and_counted(service: FakeService) -> None:
    found = await run(plan(service, "a", "b", count=20, sizes=(50, 60)))
    assert (found.loop, found.due, found.sent, found.accepted, found.errors) == ("open", 20, 20, 20, 0)
    assert len(service.requests) == 20
    assert {headers["ttl"] for _, headers, _ in service.requests} == {"60"}
    assert sum(len(body) for _, _, body in service.requests) == found.accepted_bytes
    assert sum(count for _, count in found.histogram) == 20
    assert what_is_wrong(found, max_errors=0, max_p99_ms=None) == []


async def test_a_seed_sends_the_same_to_the_same(service: FakeService) -> None:
    def sent() -> Counter[tuple[str, int]]:
        requests = Counter((route, len(body)) for route, _, body in service.requests)
        service.requests.clear()
        return requests

    made = plan(service, "a", "b", "c", count=20, seed=7, rate=500.0, sizes=(50, 500))
    await run(made)
    first = sent()
    await run(made)
    assert sent() == first
    await run(msgspec.structs.replace(made, seed=8))
    assert sent() != first


async def test_a_service_that_freezes_cannot_hide_what_was_due_meanwhile(service: FakeService) -> None:
    """Four connections: a sender that waits for answers would have four slow ones among two hundred, and a fine p90."""
    begun, thawed = trio.Event(), trio.Event()

    async def frozen() -> Any:
        begun.set()
        await thawed.wait()
        return ACCEPTED

    service.answers[ROUTE] = frozen
    async with running(plan(service, rate=200.0, seconds=1.0)) as (_, found):
        await begun.wait()
        await trio.sleep(0.6)
        service.answers[ROUTE] = ACCEPTED
        thawed.set()
    [report] = found
    assert (report.accepted, report.errors) == (200, 0)
    # 120 were due in those 0.6 s, evenly: half of them, 30 % of all, waited 0.3 s and more.
    slow = sum(count for value, count in report.histogram if value > 250_000)
    assert slow >= 60, report.histogram
    assert report.latency_us.p90 is not None
    assert report.latency_us.p90 > 350_000


async def test_without_a_rate_it_waits_for_answers_and_says_so(service: FakeService) -> None:
    at_once, most = 0, 0

    async def slow() -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await trio.sleep(0.02)
        at_once -= 1
        return ACCEPTED

    service.answers[ROUTE] = slow
    found = await run(plan(service, rate=None, seconds=10.0, count=12))
    assert (found.loop, found.wanted_rate, found.accepted, found.not_sent) == ("closed", None, 12, 0)
    assert most == 4


@pytest.mark.parametrize("rate", [100.0, None], ids=["open", "closed"])
async def test_the_warm_up_counts_nowhere(rate: float | None, service: FakeService) -> None:
    """What begins it is answered late, within the time that counts, and with a refusal."""
    cold = trio.Event()

    async def slow() -> Any:
        await cold.wait()
        return refuse(500)

    service.answers[ROUTE] = slow
    asked = plan(service, rate=rate, seconds=3600.0, count=20, warmup_seconds=0.6, concurrency=50)
    async with running(asked) as (load, found):
        await trio.sleep(0.1)
        service.answers[ROUTE] = ACCEPTED
        await trio.sleep(0.6)
        cold.set()
    [report] = found
    assert report.warmup
    assert load.tally.latency.count == report.accepted == report.sent > 0
    assert (report.errors, report.refused) == (0, {})


async def test_what_finds_no_room_in_the_backlog_is_not_sent_and_told(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "BACKLOG", 5)
    thawed = trio.Event()

    async def frozen() -> Any:
        await thawed.wait()
        return ACCEPTED

    service.answers[ROUTE] = frozen
    async with running(plan(service, rate=500.0, seconds=0.2)) as (load, found):
        while load.phase.name != "waiting for answers":  # noqa: ASYNC110 - phases tell nobody
            await trio.sleep(0.01)
        thawed.set()
    [report] = found
    assert (report.sent, report.not_sent, report.accepted) == (9, 91, 9)
    assert what_is_wrong(report, max_errors=0, max_p99_ms=None) == ["91 not sent"]


async def test_what_waits_too_long_is_not_sent_any_more_and_who_does_not_answer_timed_out(
    service: FakeService, socket_clock: trio.testing.MockClock
) -> None:
    service.answers[ROUTE] = trio.sleep_forever  # never an answer
    found = await run(plan(service, rate=200.0, seconds=0.2, answer_seconds=0.3))
    assert found.failed["timed_out"] == found.sent == len(service.requests)
    assert found.sent + found.not_sent == 40
    assert found.not_sent > 20  # four at once, for at most two times 0.3 s


async def test_refusals_are_counted_by_status_and_an_open_loop_does_not_wait(service: FakeService) -> None:
    service.answers[ROUTE] = answering(refuse(429, **{"Retry-After": "3600"}), refuse(503), accept)
    found = await run(plan(service, count=10, concurrency=1))
    assert (found.accepted, found.refused, found.errors) == (8, {"429": 1, "503": 1}, 2)
    assert what_is_wrong(found, max_errors=0.1, max_p99_ms=None) == ["1 refused with 429", "1 refused with 503"]
    assert what_is_wrong(found, max_errors=0.2, max_p99_ms=None) == []


async def test_a_closed_loop_obeys_who_asks_to_come_later(service: FakeService) -> None:
    service.answers[ROUTE] = answering(refuse(429, **{"Retry-After": "1"}), accept)
    found = await run(plan(service, rate=None, seconds=10.0, count=2, concurrency=1))
    assert found.refused == {"429": 1}
    assert found.seconds >= 1


async def test_a_push_url_that_is_gone_gets_nothing_more_and_is_no_error(service: FakeService) -> None:
    service.answers["POST /push/b"] = refuse(410)
    found = await run(plan(service, "a", "b", count=40, rate=400.0, concurrency=1))
    assert (found.gone, found.refused, found.accepted, found.errors) == (1, {"410": 1}, 39, 0)
    assert what_is_wrong(found, max_errors=0, max_p99_ms=None) == []


async def test_when_all_are_gone_it_ends(service: FakeService) -> None:
    service.answers[ROUTE] = refuse(410)
    found = await run(plan(service, seconds=3600.0))
    assert found.gone == 1
    assert what_is_wrong(found, max_errors=0, max_p99_ms=None) == ["every push URL is gone (410)"]


async def test_nobody_there_is_said_before_anything_is_sent() -> None:
    nowhere = LoadPlan(
        targets=[Target("http://127.0.0.1:1/push/s3cret")], rate=1.0, seconds=1.0, headers={}, authorization={}
    )
    with pytest.raises(Unreachable, match=r"^http://127\.0\.0\.1:1: cannot connect: connection refused$"):
        await run(nowhere)


async def test_a_connection_that_breaks_is_counted_and_nothing_is_sent_again() -> None:
    requests = 0

    async def hang_up(stream: trio.SocketStream) -> None:
        nonlocal requests
        async with stream:
            requests += (await stream.receive_some()).count(b"POST ")

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        target = Target(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/push/a")
        made = LoadPlan(targets=[target], rate=100.0, seconds=1, count=5, concurrency=1, headers={}, authorization={})
        found = await run(made)
        nursery.cancel_scope.cancel()
    assert (found.failed, requests) == ({"broke": 5}, 5)


async def test_an_interrupt_gives_what_there_is_and_says_what_was_under_way(service: FakeService) -> None:
    service.answers[ROUTE] = answering(accept, trio.sleep_forever)  # never an answer
    async with running(plan(service, seconds=3600.0)) as (load, found):
        while len(service.requests) < 5:  # noqa: ASYNC110 - requests tell nobody
            await trio.sleep(0.01)
        load.interrupt()
    [report] = found
    assert (report.interrupted, report.accepted, report.under_way, report.failed) == (True, 1, 4, {})


async def test_everything_is_connected_before_the_trigger(service: FakeService) -> None:
    connected = trio.Event()
    go = trio.Event()

    async def trigger() -> None:
        connected.set()
        await go.wait()

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Load(plan(service, count=3), trigger=trigger).run)
            await connected.wait()
            await trio.sleep(0.05)
            assert not service.requests
            go.set()
    assert len(service.requests) == 3


def test_thresholds_are_told_in_words() -> None:
    tally = Tally(sent=10, accepted=9, failed={"timed_out": 1}, latency=Distribution([(900, 8), (250_000, 1)]))
    found = load_report(tally, wanted_rate=1.0, targets=1, seconds=1, cpu_share=0.1, interrupted=False)
    assert what_is_wrong(found, max_errors=0.05, max_p99_ms=200) == [
        "1 timed out",
        "p99 250.0 ms, at most 200 ms was wanted",
    ]
