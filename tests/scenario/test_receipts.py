"""Delivery receipts as a sender sees them (docs/protocol.md, section 2), on a running service."""

import re
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from pushctl.client import sender
from pushctl.config.model import Config
from pushctl.registry import open_registry
from pushctl.registry.keys import Keys
from pushctl.testing.service import running
from roles.api import receipts
from tests.scenario.bad_input import complaint
from tests.scenario.people import Person, Town, eventually

ASYNC = {"Prefer": "respond-async"}
LINK = re.compile(r'</receipt/([\w-]+)>; rel="urn:ietf:params:push:receipt"')


async def sent(town: Town, **headers: str) -> tuple[Person, httpx.Response, str]:
    """(receiver, answer, the receipt's URL) of a message whose sender asks for a receipt."""
    ada = await town.login("ada")
    answer = await town.push((await ada.allow())["url"], {"body": "x"}, **(ASYNC | headers))
    assert answer.status_code == 202
    match = LINK.fullmatch(answer.headers["link"])
    assert match
    return ada, answer, f"{town.service.api}/receipt/{match[1]}"


async def waits(town: Town) -> int:
    metrics = (await town.http.get(f"{town.service.admin['api']}/metrics")).text
    [count] = [line for line in metrics.splitlines() if line.startswith("pushctl_receipt_waits ")]
    return int(float(count.split()[1]))


class Waiting:
    """A request for a receipt, under way."""

    def __init__(self, nursery: trio.Nursery, town: Town, url: str, seconds: int = 30) -> None:
        self.answer: httpx.Response | None = None
        self._answered = trio.Event()
        nursery.start_soon(self._ask, town, url, seconds)

    async def _ask(self, town: Town, url: str, seconds: int) -> None:
        self.answer = await town.http.get(url, headers={"Prefer": f"wait={seconds}"}, timeout=60)
        self._answered.set()

    async def answered(self) -> httpx.Response:
        with trio.fail_after(5):
            await self._answered.wait()
        assert self.answer is not None
        return self.answer

    async def state(self) -> str:
        answer = await self.answered()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["state"])


@pytest.fixture(autouse=True)
def hints_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits looks again for a reason, or not within the time of a test."""
    monkeypatch.setattr(receipts, "LOOK_SECONDS", 60.0)


async def test_a_sender_that_prefers_it_gets_202_and_the_link_of_a_receipt(office: Town) -> None:
    _, answer, receipt = await sent(office)
    assert answer.content == b""
    assert answer.headers["ttl"] == "259200"
    said = (await office.http.get(receipt)).json()
    assert said.keys() == {"id", "state", "at"}
    assert said["state"] == "stored"
    assert said["id"] == receipt.rpartition("/")[2]
    message = answer.headers["location"].rpartition("/")[2]
    assert message not in receipt
    assert (await office.http.get(f"{office.service.api}/message/{said['id']}")).status_code == 404
    assert (await office.http.get(f"{office.service.api}/receipt/{message}")).status_code == 404


async def test_whoever_may_see_the_receipt_cannot_take_the_message_back(office: Town) -> None:
    _, _, receipt = await sent(office)
    answer = await office.http.delete(receipt)
    assert complaint(answer, 405, "method_not_allowed", None, errno=True) is None
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_ttl_0_is_201_without_a_receipt(office: Town) -> None:
    ada = await office.login("ada")
    answer = await office.push((await ada.allow())["url"], {"body": "x"}, Prefer="respond-async", TTL="0")
    assert answer.status_code == 201
    assert "link" not in answer.headers


async def test_a_repeat_under_an_idempotency_key_is_the_same_202(office: Town) -> None:
    ada = await office.login("ada")
    url = (await ada.allow())["url"]
    first, again = [
        await office.push(url, {"body": "x"}, Prefer="respond-async", Idempotency_Key="k") for _ in range(2)
    ]
    assert (first.status_code, again.status_code) == (202, 202)
    for name in ("location", "link", "ttl"):
        assert first.headers[name] == again.headers[name]
    assert len(await ada.unread()) == 1


@pytest.mark.parametrize(("first", "later"), [(ASYNC | {"TTL": "60"}, {}), ({"TTL": "60"}, ASYNC)], ids=["202", "201"])
async def test_a_repeat_is_answered_as_the_first_was_whatever_it_asks_for(
    office: Town, first: dict[str, str], later: dict[str, str]
) -> None:
    url = (await (await office.login("ada")).allow())["url"]
    told, again = [await office.push(url, {"body": "x"}, Idempotency_Key="k", **headers) for headers in (first, later)]
    assert (again.status_code, again.headers["ttl"]) == (told.status_code, "60")
    assert (again.headers["location"], again.headers.get("link")) == (
        told.headers["location"],
        told.headers.get("link"),
    )


async def test_a_receipt_that_is_waited_for_tells_of_the_delivery_at_once(town: Town) -> None:
    ada, _, receipt = await sent(town)
    async with trio.open_nursery() as nursery:
        waiting = Waiting(nursery, town, receipt)
        await eventually(lambda: waits(town))
        async with ada.connected() as socket:
            [page] = await socket.synced()
            assert waiting.answer is None
            await socket.send({"type": "ack", "cursor": page["cursor"]})
            assert await waiting.state() == "delivered"
    assert await waits(town) == 0


async def read(town: Town, ada: Person, answer: httpx.Response) -> None:
    await ada.ask("POST", "/v1/messages/read", {"ids": [answer.headers["location"].rpartition("/")[2]]})


async def cancelled(town: Town, ada: Person, answer: httpx.Response) -> None:
    assert (await town.http.delete(town.service.api + answer.headers["location"])).status_code == 204


async def replaced(town: Town, ada: Person, answer: httpx.Response) -> None:
    await town.push((await ada.allow())["url"], {"body": "y"}, Topic="t")


async def replaced_by_what_is_never_stored(town: Town, ada: Person, answer: httpx.Response) -> None:
    await town.push((await ada.allow())["url"], {"body": "y"}, Topic="t", TTL="0")


async def delivered(town: Town, ada: Person, answer: httpx.Response) -> None:
    cursor = (await ada.ask("GET", "/v1/sync")).json()["cursor"]
    await ada.ask("GET", f"/v1/sync?cursor={cursor}")


@pytest.mark.parametrize(
    ("happens", "state"),
    [
        (read, "read"),
        (cancelled, "cancelled"),
        (replaced, "replaced"),
        (replaced_by_what_is_never_stored, "replaced"),
        (delivered, "delivered"),
    ],
)
async def test_whatever_becomes_of_the_message_ends_the_wait(office: Town, happens: Any, state: str) -> None:
    ada, answer, receipt = await sent(office, Topic="t")
    async with trio.open_nursery() as nursery:
        waiting = Waiting(nursery, office, receipt)
        await eventually(lambda: waits(office))
        await happens(office, ada, answer)
        assert await waiting.state() == state


async def test_a_wait_ends_when_the_account_is_deleted(office: Town) -> None:
    ada, _, receipt = await sent(office)
    async with trio.open_nursery() as nursery:
        waiting = Waiting(nursery, office, receipt)
        await eventually(lambda: waits(office))
        assert (await ada.ask("DELETE", "/v1/account")).status_code == 204
        refused = await waiting.answered()
        assert complaint(refused, 404, "not_found", None, errno=True) is None


async def test_a_wait_ends_when_the_message_expires(office: Town) -> None:
    _, _, receipt = await sent(office, TTL="1")
    async with trio.open_nursery() as nursery:
        assert await Waiting(nursery, office, receipt).state() == "expired"


async def test_a_wait_ends_when_it_was_to_end(office: Town) -> None:
    _, _, receipt = await sent(office)
    async with trio.open_nursery() as nursery:
        assert await Waiting(nursery, office, receipt, 1).state() == "stored"


@pytest.mark.parametrize(
    "prefer", ["", "wait", "wait=0", "wait=-1", "wait=soon", "wait=²", "respond-async", "wait=9e9"]
)
async def test_without_a_wait_that_is_one_the_answer_comes_at_once(office: Town, prefer: str) -> None:
    _, _, receipt = await sent(office)
    with trio.fail_after(5):
        answer = await office.http.get(receipt, headers={b"Prefer": prefer.encode()}, timeout=30)
    assert answer.json()["state"] == "stored"


async def test_a_hint_that_got_lost_costs_a_while_and_not_the_receipt(
    office: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "LOOK_SECONDS", 0.5)
    ada, answer, receipt = await sent(office)
    async with open_registry(office.service.config, name="test") as registry, trio.open_nursery() as nursery:
        waiters = Keys(office.service.config.redis.prefix).user(ada.user, "waiters")
        waiting = Waiting(nursery, office, receipt)
        await eventually(lambda: registry.link.ask("EXISTS", waiters))
        await registry.link.ask("DEL", waiters)
        await read(office, ada, answer)
        assert await waiting.state() == "read"


async def test_a_channel_that_is_lost_is_built_anew_and_what_it_missed_is_looked_up(office: Town) -> None:
    ada, answer, receipt = await sent(office)
    async with open_registry(office.service.config, name="test") as registry, trio.open_nursery() as nursery:

        async def listeners() -> list[bytes]:
            lines: list[bytes] = (await registry.link.ask("CLIENT", "LIST", "TYPE", "pubsub")).splitlines()
            return [line for line in lines if b" name=pushctl-receipts " in line]

        waiting = Waiting(nursery, office, receipt)
        await eventually(lambda: waits(office))
        for line in await listeners():
            await registry.link.ask("CLIENT", "KILL", "ID", line.split()[0].removeprefix(b"id="))
        assert not await listeners()
        await read(office, ada, answer)
        assert await waiting.state() == "read"


async def test_a_sender_that_hangs_up_waits_no_longer(office: Town) -> None:
    _, _, receipt = await sent(office)
    async with trio.open_nursery() as nursery:
        Waiting(nursery, office, receipt)
        await eventually(lambda: waits(office))
        nursery.cancel_scope.cancel()

    async def nobody() -> bool:
        return await waits(office) == 0

    await eventually(nobody)


async def test_a_push_url_has_a_bounded_number_of_waits(config: Config) -> None:
    config = replace(config, limits=replace(config.limits, receipt_waits_per_push_url=2))
    async with (
        running(config, sockets=0, without=("router", "gc")) as service,
        httpx.AsyncClient() as http,
    ):
        town = Town(service, http)
        _, _, receipt = await sent(town)
        bob = await town.login("bob")
        other = await town.push((await bob.allow())["url"], {"body": "x"}, Prefer="respond-async")
        match = LINK.fullmatch(other.headers["link"])
        assert match
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                Waiting(nursery, town, receipt, 20)

            async def two() -> bool:
                return await waits(town) == 2

            await eventually(two)
            refused = await http.get(receipt, headers={"Prefer": "wait=20"})
            assert complaint(refused, 429, "rate_limited", None, errno=True) is None
            assert 15 <= int(refused.headers["retry-after"]) <= 20
            assert (await http.get(receipt)).status_code == 200, "to look is no wait"
            elsewhere = await http.get(f"{service.api}/receipt/{match[1]}", headers={"Prefer": "wait=1"})
            assert elsewhere.status_code == 200, "another push URL has waits of its own"
            nursery.cancel_scope.cancel()


async def test_an_api_has_a_bounded_number_of_waits(config: Config) -> None:
    config = replace(config, limits=replace(config.limits, receipt_waits=1))
    async with (
        running(config, sockets=0, without=("router", "gc")) as service,
        httpx.AsyncClient() as http,
        trio.open_nursery() as nursery,
    ):
        town = Town(service, http)
        _, _, receipt = await sent(town)
        Waiting(nursery, town, receipt, 20)
        await eventually(lambda: waits(town))
        refused = await http.get(receipt, headers={"Prefer": "wait=20"})
        assert complaint(refused, 503, "overloaded", None, errno=True) is None
        assert refused.headers["retry-after"]
        nursery.cancel_scope.cancel()


async def test_an_api_that_drains_answers_who_waits(config: Config) -> None:
    async with httpx.AsyncClient() as http, trio.open_nursery() as nursery:
        async with running(config, sockets=0, without=("router", "gc")) as service:
            town = Town(service, http)
            _, _, receipt = await sent(town)
            waiting = Waiting(nursery, town, receipt)
            await eventually(lambda: waits(town))
        assert await waiting.state() == "stored"


async def test_our_own_sender_waits_for_its_receipt(office: Town) -> None:
    ada = await office.login("ada")
    url = (await ada.allow())["url"]
    sent = await sender.send(office.http, url, sender.Push(receipt=True))
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with trio.fail_after(5):
                assert (await sender.wait_for(office.http, sent, "delivered")).state == "delivered"

        nursery.start_soon(wait)
        await eventually(lambda: waits(office))
        cursor = (await ada.ask("GET", "/v1/sync")).json()["cursor"]
        await ada.ask("GET", f"/v1/sync?cursor={cursor}")


async def test_any_page_may_wait_for_a_receipt(office: Town) -> None:
    _, answer, receipt = await sent(office, Origin="https://news.example")
    assert "Link" in answer.headers["access-control-expose-headers"]
    seen = await office.http.get(receipt, headers={"Origin": "https://news.example"})
    assert seen.headers["access-control-allow-origin"] == "*"
