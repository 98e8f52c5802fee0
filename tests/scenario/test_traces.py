"""One message, one trace: from the POST to the acknowledgements, as a collector of somebody else's understands it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from pushctl.config.model import Config
from pushctl.config.schema import changed
from pushctl.testing.service import running
from roles.socket import trail
from tests.scenario.collector import Collector, Seen, collecting
from tests.scenario.mozilla_peer import FIREFOX, Talk, new_channel
from tests.scenario.people import Socket, Town, eventually, raw_socket
from tests.scenario.test_strategies import STRATEGIES, by

SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = 2, 3, 4, 5, 1
THEIRS = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@asynccontextmanager
async def followed(config: Config, collector: Collector, *, ratio: float = 1, **traces: object) -> AsyncIterator[Town]:
    """A town whose messages are followed. What is left is sent when it ends."""
    settings = replace(
        config.traces,
        enabled=True,
        endpoint=collector.url,
        sample_ratio=ratio,
        **traces,  # type: ignore[arg-type]
    )
    async with running(replace(config, traces=settings)) as service, httpx.AsyncClient() as http:
        yield Town(service, http)


async def acknowledge(socket: Socket) -> None:
    frame = await socket.until("message")
    await socket.send({"type": "ack", "cursor": frame["cursor"]})


async def spans_of(town: Town, outcome: str, role: str = "api") -> int:
    metrics = (await town.http.get(f"{town.service.admin[role]}/metrics")).text
    found = re.search(rf'^pushctl_spans_total{{outcome="{outcome}"}} (\S+)$', metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


def shape(spans: list[Seen]) -> dict[str, set[str]]:
    """The names of steps, and of what they are steps of ("": of nothing)."""
    names = {span.id: span.name for span in spans}
    found: dict[str, set[str]] = {}
    for span in spans:
        found.setdefault(span.name, set()).add(names[span.parent] if span.parent else "")
    return found


@pytest.mark.parametrize(
    "strategy",
    [pytest.param(each, marks=() if each == "channel" else pytest.mark.slow) for each in STRATEGIES],
)
async def test_one_post_to_two_devices_is_one_trace_and_names_nobody(config: Config, strategy: str) -> None:
    async with collecting() as collector:
        async with followed(by(config, strategy), collector, headers="x-key=a%20b") as town:
            laptop, phone = await town.login("ada"), await town.login("ada")
            push_url = await laptop.allow()
            async with laptop.connected("s1") as one, phone.connected("s2") as other:
                await one.synced()
                await other.synced()
                posted = await town.push(push_url["url"], {"body": "hear this"}, traceparent=THEIRS)
                assert posted.status_code == 201
                await acknowledge(one)
                await acknowledge(other)

                async def all_here() -> bool:
                    return len(collector.spans) >= 8

                await eventually(all_here)
        spans = collector.spans
        assert len({span.trace for span in spans}) == 1
        assert shape(spans) == {
            "POST /push/{token}": {""},
            "store": {"POST /push/{token}"},
            "job": {"POST /push/{token}"},
            "route": {"job"},
            "deliver": {"route"},
            "acknowledge": {"deliver"},
        }
        assert len(spans) == 8  # one of each, but two devices
        assert len({span.parent for span in collector.named("acknowledge")}) == 2
        (post,), (route,), (job,) = (collector.named(name) for name in ("POST /push/{token}", "route", "job"))
        assert route.attributes["pushctl.routing.strategy"] == strategy
        assert {span.name: span.kind for span in spans} == {
            "POST /push/{token}": SERVER,
            "store": CLIENT,
            "job": PRODUCER,
            "route": CONSUMER,
            "deliver": PRODUCER,
            "acknowledge": INTERNAL,
        }
        assert {span.service for span in spans} == {"pushctl-api", "pushctl-router", "pushctl-socket"}
        assert (post.attributes["http.route"], post.attributes["http.response.status_code"]) == ("/push/{token}", 201)
        assert job.attributes["messaging.destination.name"] == "route"
        assert all(span.ended_after_it_began and not span.failed for span in spans)
        # A stranger's traceparent is named, and not obeyed.
        assert post.links == [tuple(THEIRS.split("-")[1:3])]
        assert post.trace != THEIRS.split("-")[1]
        assert {headers["x-key"] for headers in collector.headers} == {"a b"}
        told = b"".join(collector.raw)
        token, message = push_url["url"].rpartition("/")[2], posted.headers["location"].rpartition("/")[2]
        for secret in (token, message, laptop.user, laptop.device, laptop.token, push_url["id"], "hear this", "ada"):
            assert secret.encode() not in told


async def test_nothing_leaves_when_nobody_is_sampled_whatever_a_stranger_asks_for(config: Config) -> None:
    async with collecting() as collector:
        async with followed(config, collector, ratio=0) as town:
            phone = await town.login("ada")
            push_url = await phone.allow()
            async with phone.connected() as socket:
                await socket.synced()
                await town.push(push_url["url"], {"body": "x"}, traceparent=THEIRS)
                await acknowledge(socket)
        assert collector.raw == []


@pytest.mark.slow
async def test_a_sender_of_a_trusted_network_decides_and_is_the_parent(config: Config) -> None:
    async with collecting() as collector:
        async with followed(config, collector, ratio=1, trusted_networks=("127.0.0.0/8",)) as town:
            push_url = await (await town.login("ada")).allow()
            await town.push(push_url["url"], {"body": "no"}, traceparent=THEIRS[:-2] + "00")
            await town.push(push_url["url"], {"body": "yes"}, traceparent=THEIRS)
        (post,) = collector.named("POST /push/{token}")
        assert (post.trace, post.parent) == tuple(THEIRS.split("-")[1:3])
        assert collector.named("job") == []  # nobody is connected


async def test_who_comes_soon_is_in_the_trace_and_who_comes_late_has_one_of_its_own_with_a_link(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with collecting() as collector:
        async with followed(config, collector) as town:
            laptop, phone = await town.login("ada"), await town.login("ada")
            push_url = await laptop.allow()
            await town.push(push_url["url"], {"body": "x"})
            async with laptop.connected() as socket:
                pages = await socket.synced()
                await socket.send({"type": "ack", "cursor": pages[-1]["cursor"]})
                monkeypatch.setattr(trail, "FRESH_MS", -1)
                async with phone.connected() as other:
                    assert "trace" not in (await other.synced())[-1]["messages"][0]
        (post,), (soon, late) = collector.named("POST /push/{token}"), collector.named("deliver")
        assert (soon.trace, soon.parent, soon.links) == (post.trace, post.id, [])
        assert (late.trace == post.trace, late.parent, late.links) == (False, "", [(post.trace, post.id)])
        assert [span.parent for span in collector.named("acknowledge")] == [soon.id]


@pytest.mark.slow
async def test_a_browser_and_ttl_0_are_followed_too(config: Config) -> None:
    async with collecting() as collector:
        async with followed(config, collector) as town, raw_socket(town.service.sockets["s1"], list(FIREFOX)) as raw:
            talk = Talk(raw.websocket)
            await talk.hello()
            endpoint = (await talk.register(new_channel()))["pushEndpoint"]
            for ttl in ("60", "0"):
                assert (await town.http.post(endpoint, headers={"TTL": ttl})).status_code == 201
                heard = await talk.notification()
                await talk.ack(heard)
            await talk.ping()
        stored, passing = collector.named("POST /push/{token}")
        assert {(span.trace, span.attributes["network.protocol.name"]) for span in collector.named("deliver")} == {
            (stored.trace, "push-notification"),
            (passing.trace, "push-notification"),
        }
        assert [span.trace for span in collector.named("acknowledge")] == [stored.trace]


@pytest.mark.slow
async def test_a_refusal_and_its_word_are_recorded(config: Config) -> None:
    async with collecting() as collector:
        async with followed(config, collector) as town:
            push_url = await (await town.login("ada")).allow()
            assert (await town.push(push_url["url"], {"body": "x"}, TTL="soon")).status_code == 400
        (post,) = collector.spans
        assert (post.attributes["error.type"], post.attributes["http.response.status_code"]) == ("ttl_invalid", 400)
        assert not post.failed


@pytest.mark.slow
async def test_a_collector_that_is_away_costs_spans_and_nothing_else(config: Config) -> None:
    async with collecting() as collector:
        collector.status = 503
        async with followed(config, collector) as town:
            phone = await town.login("ada")
            push_url = await phone.allow()
            async with phone.connected() as socket:
                await socket.synced()
                for n in range(20):
                    assert (await town.push(push_url["url"], {"body": str(n)})).status_code == 201
                for _ in range(20):
                    await acknowledge(socket)

            async def counted() -> bool:
                return await spans_of(town, "failed") == 60

            async def gone() -> bool:
                devices = (await phone.ask("GET", "/v1/devices")).json()["devices"]
                return not any(device["connected"] for device in devices)

            await eventually(counted)
            await eventually(gone)  # else there is a job to hand over, a third span
            collector.status = 200
            await town.push(push_url["url"], {"body": "again"})

            async def sent() -> bool:
                return await spans_of(town, "sent") == 2

            await eventually(sent)


async def test_without_the_library_it_says_what_to_install(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from pushctl import traces
    from pushctl.errors import ConfigError

    monkeypatch.setattr(traces, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'pushctl\[otel\]'"):
        traces.open_traces(changed(config, {"traces.enabled": True}), "api", "api", lambda *_: None)
    assert traces.open_traces(config, "api", "api", lambda *_: None) is traces.OFF
