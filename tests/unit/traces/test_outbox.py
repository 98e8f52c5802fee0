"""Spans on their way out: bounded, counted, and over in time."""

from collections import Counter
from dataclasses import replace

import pytest
import trio
import trio.testing

from pushctl.config.model import Config
from pushctl.errors import ConfigError
from pushctl.http.server import open_listeners
from pushctl.traces import NOTHING, Traces, outbox
from pushctl.traces.outbox import FLUSH_SECONDS, MAX_QUEUED, parse_headers
from pushctl.traces.sdk import SdkTraces
from tests.scenario.collector import collecting


def traces_to(url: str, counts: Counter[str], *, ratio: float = 1) -> Traces:
    settings = replace(Config().traces, enabled=True, endpoint=url, sample_ratio=ratio)
    return SdkTraces(settings, "api", "api", lambda outcome, count: counts.update({outcome: count}))


def record(traces: Traces, count: int) -> None:
    for _ in range(count):
        with traces.begin("step", (), trusted=False):
            pass


async def test_what_finds_no_room_is_dropped_and_counted_and_the_rest_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 25)
    counts: Counter[str] = Counter()
    with trio.fail_after(30):
        async with collecting() as collector, trio.open_nursery() as nursery:
            traces = traces_to(collector.url, counts)
            record(traces, MAX_QUEUED + 5)
            assert counts == {"dropped": 5}
            nursery.start_soon(traces.run)
            await trio.testing.wait_all_tasks_blocked()
            await traces.flush()
            assert len(collector.spans) == MAX_QUEUED
            assert counts == {"dropped": 5, "sent": MAX_QUEUED}
            nursery.cancel_scope.cancel()


async def test_a_collector_that_never_answers_holds_a_stop_up_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.3)
    counts: Counter[str] = Counter()
    with trio.fail_after(FLUSH_SECONDS + 20):
        (listener,) = await open_listeners("127.0.0.1:0")  # the kernel accepts, and nobody reads
        async with listener, trio.open_nursery() as nursery:
            traces = traces_to(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/", counts)
            nursery.start_soon(traces.run)
            record(traces, 200)
            before = trio.current_time()
            await traces.flush()
            assert trio.current_time() - before < outbox.SEND_SECONDS
            nursery.cancel_scope.cancel()
    assert counts == {"failed": 200}


@pytest.mark.parametrize("host", ["a..b", "xn--a", "ü..de"])
async def test_a_collector_whose_name_is_none_stops_nobody(host: str) -> None:
    counts: Counter[str] = Counter()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            traces = traces_to(f"http://{host}/v1/traces", counts)
            nursery.start_soon(traces.run)
            record(traces, 1)
            await traces.flush()
            nursery.cancel_scope.cancel()
    assert counts == {"failed": 1}


def test_what_is_not_sampled_is_nothing_and_its_steps_are_nothing() -> None:
    traces = traces_to("http://127.0.0.1:9/", Counter(), ratio=0)
    step = traces.begin("step", [(b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")], trusted=False)
    assert step is NOTHING
    assert step.child("more") is NOTHING
    assert traces.follow("after", step.context, "consumer") is NOTHING


@pytest.mark.parametrize("context", [b"", b"short", b"\0" * 24])
def test_a_context_that_is_none_is_followed_by_nobody(context: bytes) -> None:
    assert traces_to("http://127.0.0.1:9/", Counter()).follow("after", context, "consumer") is NOTHING


def test_headers_for_a_collector_are_read_as_opentelemetry_spells_them() -> None:
    assert parse_headers("") == {}
    assert parse_headers("Authorization=Bearer%20abc, x-team=push") == {"authorization": "Bearer abc", "x-team": "push"}
    for wrong in ("secret", "=secret", "a b=secret", "x=secret%0d%0ay"):
        with pytest.raises(ConfigError) as caught:
            parse_headers(wrong)
        assert "secret%0d" not in str(caught.value)
