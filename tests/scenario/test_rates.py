"""Who sends or asks too often: what they are told, that it is true, and that nobody else notices."""

from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from statistics import median

import httpx
import pytest
import trio

from pushctl.clock import system_clock
from pushctl.config.model import Config, RoleName
from pushctl.registry import open_registry
from pushctl.registry import rates as registry_rates
from pushctl.registry.keys import SHARDS
from pushctl.runtime import Ready, run_role
from pushctl.testing.service import Running, running
from pushctl.webpush.signing import VapidKey
from roles.api import build
from tests.conftest import RedisProcess
from tests.scenario.people import Person, Town, eventually

SLOW = 0.01
"""A second: what it earns while a test runs does not count."""


@asynccontextmanager
async def town_with(
    config: Config,
    *,
    exempt_loopback: bool = True,
    sockets: int = 0,
    without: Collection[RoleName] = ("router", "gc"),
    **limits: float,
) -> AsyncIterator[Town]:
    config = replace(config, limits=replace(config.limits, **limits))  # type: ignore[arg-type]  # numbers
    async with (
        running(config, sockets=sockets, without=without, exempt_loopback=exempt_loopback) as service,
        httpx.AsyncClient() as http,
    ):
        yield Town(service, http)


async def another_api(service: Running, nursery: trio.Nursery) -> str:
    """A second process of the api, as far as anybody can tell: with its own registry and its own memory."""
    config = replace(service.config, api=replace(service.config.api, listen="127.0.0.1:0"))
    ready: Ready = await nursery.start(partial(run_role, build(config), until=trio.sleep_forever))
    return f"http://{ready.listen}"


async def refusals(town: Town) -> Counter[str]:
    """By reason, as /metrics has them."""
    text = (await town.http.get(f"{town.service.admin['api']}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("pushctl_refusals_total{")]
    return +Counter({line.split('"')[1]: int(float(line.split()[-1])) for line in lines})


async def statuses(town: Town, url: str, times: int, **headers: str) -> list[int]:
    return [(await town.push(url, {"body": "x"}, **headers)).status_code for _ in range(times)]


async def test_a_push_url_that_is_sent_too_much_says_so_and_when_to_come_again(config: Config) -> None:
    async with town_with(config, push_url_per_second=0.5, push_url_burst=1) as town:
        ada = await town.login("ada")
        kinds: tuple[dict[str, str], ...] = ({}, {"TTL": "0"})
        urls = [(await ada.allow(f"https://{n}.example"))["url"] for n in range(2)]
        for url, headers in zip(urls, kinds, strict=True):
            answers = [await town.push(url, {"body": "x"}, **headers) for _ in range(2)]
            refused = answers[-1]
            assert [answer.status_code for answer in answers] == [201, 429]
            assert refused.json() == {
                "type": "https://pushctl.dev/problems#rate_limited",
                "title": "Too many requests",
                "status": 429,
                "detail": "this push URL takes 0.5 a second, 1 at once: send more slowly",
                "code": "rate_limited",
                "field": None,
                "errno": None,
            }
            assert refused.headers["retry-after"] in ("1", "2"), "two seconds after the one before, whenever that was"
        await trio.sleep(int(refused.headers["retry-after"]))
        for url, headers in zip(urls, kinds, strict=True):
            assert await statuses(town, url, 2, **headers) == [201, 429]
        assert (await refusals(town))["push_url_rate"] == 4
        assert len(await ada.unread()) == 2, "TTL 0 is never stored, and nothing refused was"


async def test_a_retry_after_429_is_carried_out_and_a_repeat_is_never_refused(config: Config) -> None:
    # Four seconds from one to the next: time enough to be refused in.
    async with town_with(
        config, push_url_per_second=0.25, push_url_burst=1, total_per_second=0.25, total_burst=1
    ) as town:
        ada = await town.login("ada")
        url = (await ada.allow())["url"]
        first = await town.push(url, {"body": "one"}, Idempotency_Key="a")
        assert first.status_code == 201
        again = [await town.push(url, {"body": "one"}, Idempotency_Key="a") for _ in range(5)]
        assert {(answer.status_code, answer.headers["location"]) for answer in again} == {
            (201, first.headers["location"])
        }
        refused = await town.push(url, {"body": "two"}, Idempotency_Key="b")
        assert refused.status_code == 429
        await trio.sleep(int(refused.headers["retry-after"]))
        answers = [await town.push(url, {"body": "two"}, Idempotency_Key="b") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[0].headers["location"] == answers[1].headers["location"]
        assert len(await ada.unread()) == 2


async def test_a_repeat_costs_nothing_in_any_limit(config: Config) -> None:
    async with town_with(config, total_per_second=SLOW, total_burst=3) as town:
        url = (await (await town.login("ada")).allow())["url"]
        assert await statuses(town, url, 6, Idempotency_Key="a") == [201] * 6
        assert await statuses(town, url, 3) == [201, 201, 429]
        assert await statuses(town, url, 2, Idempotency_Key="a") == [201] * 2


async def test_two_api_processes_let_through_what_one_would(config: Config) -> None:
    async with (
        town_with(config, vapid_key_per_second=SLOW, vapid_key_burst=10, push_url_per_second=0) as town,
        trio.open_nursery() as nursery,
    ):
        ada = await town.login("ada")
        urls = [(await ada.allow(f"https://{n}.example"))["url"] for n in range(2)]
        second = await another_api(town.service, nursery)
        urls.append(urls[0].replace(town.service.api, second))
        key = VapidKey.generate()
        # One audience for both: they are one service.
        signed = key.authorization(urls[0], system_clock())
        answers = [await town.push(url, {"body": "x"}, Authorization=signed) for _ in range(8) for url in urls]
        passed = [answer.status_code for answer in answers].count(201)
        assert {answer.status_code for answer in answers} == {201, 429}
        assert 10 <= passed <= 11, "one more at most for the other process"
        assert answers[-1].json()["detail"] == "one VAPID key may sign 0.01 a second, 10 at once: more slowly"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 200
        other = VapidKey.generate().authorization(urls[0], system_clock())
        assert await statuses(town, urls[0], 1, Authorization=other) == [201]
        assert await statuses(town, urls[0], 1) == [201], "nobody signed: nobody's"
        assert (await refusals(town))["vapid_key_rate"] > 0
        nursery.cancel_scope.cancel()


async def test_a_site_that_floods_one_user_is_not_noticed_by_another_users_site(config: Config) -> None:
    async with town_with(
        config, push_url_per_second=SLOW, push_url_burst=20, user_per_second=SLOW, user_burst=100
    ) as town:
        ada, bob = await town.login("ada"), await town.login("bob")
        flooded = [(await ada.allow(f"https://{n}.example"))["url"] for n in range(10)]
        quiet = (await bob.allow())["url"]
        answered: Counter[int] = Counter()

        async def flood(url: str) -> None:
            for _ in range(40):
                answered[(await town.push(url, {"body": "x"})).status_code] += 1

        async with trio.open_nursery() as nursery:
            for url in flooded:
                nursery.start_soon(flood, url)
            assert await statuses(town, quiet, 15) == [201] * 15
        assert answered == {201: 100, 429: 300}, "the user's burst, and not one more"
        assert len(await bob.unread()) == 15


FLOODS = 10
UNNEEDED: tuple[RoleName, ...] = ("gc",)


async def test_while_one_user_is_flooded_anothers_messages_wait_for_those_in_flight_and_no_more(config: Config) -> None:
    async with town_with(
        config, sockets=1, without=UNNEEDED, push_url_per_second=0, user_per_second=50, user_burst=100
    ) as town:
        ada, bob = await town.login("ada"), await town.login("bob")
        flooded = [(await ada.allow(f"https://{n}.example"))["url"] for n in range(FLOODS)]
        quiet = (await bob.allow())["url"]
        answered: Counter[int] = Counter()

        async def flood(url: str) -> None:
            while True:
                answered[(await town.push(url, {"body": "x"})).status_code] += 1

        async with bob.connected() as phone:
            await phone.synced()

            async def typical_seconds(count: int = 20) -> float:
                """From a site's POST to the frame on the device."""
                seconds = []
                for _ in range(count):
                    began = trio.current_time()
                    assert (await town.push(quiet, {"body": "x"})).status_code == 201
                    await phone.until("message")
                    seconds.append(trio.current_time() - began)
                    await trio.sleep(0.025)  # within the rate
                return median(seconds)

            before = await typical_seconds()
            async with trio.open_nursery() as floods:
                for url in flooded:
                    floods.start_soon(flood, url)
                early, late = await typical_seconds(), await typical_seconds()
                floods.cancel_scope.cancel()
            # The machine has other work, too, now more and now less.
            alone = max(before, await typical_seconds())
        assert min(answered[429], answered[201]) > 50
        print(f"\n{answered}; ms: alone {alone * 1e3:.1f}, early {early * 1e3:.1f}, late {late * 1e3:.1f}")
        # Site, service and device share this process: whoever comes finds each flood's one request in front of it.
        assert early < 2 * (FLOODS + 1) * alone
        assert late < 3 * max(early, alone), "what was refused has left nothing that others wait for"


async def test_whoever_asks_after_messages_too_often_is_told_so_and_in_nobodys_way(config: Config) -> None:
    behind = replace(config, api=replace(config.api, trusted_proxies=("127.0.0.1",)))
    async with town_with(
        behind, exempt_loopback=False, state_per_second_per_address=SLOW, state_burst_per_address=3
    ) as town:
        sent = {}
        for name in ("ada", "bob"):
            url = (await (await town.login(name)).allow())["url"]
            sent[name] = await town.push(url, {"body": "x"}, Prefer="respond-async")
        message = {name: town.service.api + answer.headers["location"] for name, answer in sent.items()}
        receipt = town.service.api + sent["ada"].headers["link"].partition(">")[0][1:]

        async def ask(method: str, url: str, host: str = "192.0.2.1") -> httpx.Response:
            return await town.http.request(method, url, headers={"X-Forwarded-For": host, "Prefer": "wait=1"})

        asked = [("GET", message["ada"]), ("HEAD", message["ada"]), ("GET", receipt), ("DELETE", message["ada"])]
        assert [(await ask(*each)).status_code for each in asked] == [200, 200, 200, 429]
        refused = await ask("GET", receipt)
        assert refused.json()["detail"] == (
            "one address may ask 0.01 a second, 3 at once after messages of one user: more slowly"
        )
        assert refused.json()["errno"] is None
        assert 1 <= int(refused.headers["retry-after"]) <= 100
        assert (await ask("GET", message["bob"])).status_code == 200, "another user's"
        assert (await ask("DELETE", message["ada"], "192.0.2.2")).status_code == 204, "another sender"
        assert (await refusals(town))["state_rate"] == 2
        assert (await ask("GET", f"{town.service.api}/message/x")).status_code == 404, "costs nothing"


# --- by address ------------------------------------------------------------------------------------------------------


async def log_in(town: Town, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"device": {"name": "x", "id": None}, "provider": None}
    return await town.http.post(f"{town.service.api}/v1/login", json=body, headers=named)


async def test_log_ins_are_counted_by_address_good_or_not_and_forged_headers_change_nothing(config: Config) -> None:
    async with town_with(
        config, exempt_loopback=False, login_per_second_per_address=SLOW, login_burst_per_address=3
    ) as town:
        ada = await town.login("ada")
        answers = [await log_in(town, X_Forwarded_For=f"192.0.2.{n}", Forwarded=f"for=192.0.2.{n}") for n in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
        refused = answers[-1]
        assert refused.json()["code"] == "rate_limited"
        assert refused.json()["detail"] == "from one address 0.01 a second, 3 at once may log in: more slowly"
        assert 1 <= int(refused.headers["retry-after"]) <= 100
        assert (await ada.ask("GET", "/v1/devices")).status_code == 200, "who is logged in may go on"
        assert (await refusals(town))["login_rate"] == 2


async def test_another_identity_is_a_log_in_and_counted_as_one(config: Config) -> None:
    async with town_with(
        config, exempt_loopback=False, login_per_second_per_address=SLOW, login_burst_per_address=2
    ) as town:
        ada = await town.login("ada")
        answers = [await ada.ask("POST", "/v1/identities", {"credential": "BrowserID x"}) for _ in range(2)]
        assert [answer.json()["code"] for answer in answers] == ["malformed_bundle", "rate_limited"]
        assert (await log_in(town)).status_code == 429, "one bucket for both"


async def test_behind_a_trusted_proxy_each_client_is_counted_for_itself(config: Config) -> None:
    behind = replace(config, api=replace(config.api, trusted_proxies=("127.0.0.1",)))
    async with town_with(
        behind, exempt_loopback=False, login_per_second_per_address=SLOW, login_burst_per_address=1
    ) as town:
        asked = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
        answers = [(await log_in(town, X_Forwarded_For=host)).status_code for host in asked]
        assert answers == [401, 429, 401, 401, 429, 401]


async def test_many_networks_that_are_made_up_are_not_refused_for_each_other_nor_kept_without_bound(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_rates, "MAX_BUCKETS", 4)
    behind = replace(config, api=replace(config.api, trusted_proxies=("127.0.0.1",)))
    async with town_with(
        behind, exempt_loopback=False, login_per_second_per_address=SLOW, login_burst_per_address=1
    ) as town:
        known = [(await log_in(town, X_Forwarded_For=f"2001:db8::{n}")).status_code for n in range(2)]
        assert known == [401, 429]
        many = [f"2001:db8:{n:x}:{n % 7:x}::{n:x}" for n in range(1, 300)]
        assert {(await log_in(town, X_Forwarded_For=host)).status_code for host in many} == {401}
        assert (await log_in(town, X_Forwarded_For="2001:db8::9")).status_code == 429
        async with open_registry(town.service.config, name="test") as registry:

            async def kept() -> int:
                keys = registry.rates._store.keys
                return sum([await registry.link.ask("ZCARD", keys.rates(n, "login")) for n in range(SHARDS)])

            async def all_charged() -> bool:
                return await kept() == SHARDS * 4

            await eventually(all_charged)


async def test_messages_of_one_address_are_counted_where_that_is_set(config: Config) -> None:
    async with town_with(
        config, exempt_loopback=False, push_per_second_per_address=SLOW, push_burst_per_address=2
    ) as town:
        ada = await town.login("ada")
        url = (await ada.allow())["url"]
        assert await statuses(town, url, 3) == [201, 201, 429]
        assert (await refusals(town)) == {"address_rate": 1}


async def test_exempt_networks_are_left_alone(config: Config) -> None:
    async with town_with(config, login_per_second_per_address=SLOW, login_burst_per_address=1) as town:
        assert {(await log_in(town)).status_code for _ in range(5)} == {401}


# --- the client api --------------------------------------------------------------------------------------------------


async def test_a_user_who_asks_too_often_is_told_when_to_come_again_and_others_go_on(config: Config) -> None:
    async with town_with(config, client_per_second_per_user=SLOW, client_burst_per_user=5) as town:
        ada, bob = await town.login("ada"), await town.login("bob")

        async def ask(person: Person, times: int) -> list[httpx.Response]:
            return [await person.ask("GET", "/v1/devices") for _ in range(times)]

        answers = await ask(ada, 7)
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert answers[-1].json()["detail"] == "one user may ask 0.01 a second, 5 at once: more slowly"
        assert "errno" not in answers[-1].json()
        assert {answer.status_code for answer in await ask(bob, 5)} == {200}
        assert (await refusals(town))["client_rate"] == 2


# --- without redis ---------------------------------------------------------------------------------------------------


async def test_while_redis_is_away_nothing_is_promised_whatever_its_ttl(
    config: Config, own_redis: RedisProcess
) -> None:
    away = replace(config, redis=replace(config.redis, url=own_redis.url, timeout_seconds=1))
    async with town_with(away, total_per_second=SLOW, total_burst=100) as town:
        url = (await (await town.login("ada")).allow())["url"]
        own_redis.kill()
        answers = [await town.push(url, {"body": "x"}, TTL=ttl) for ttl in ("0", "60")]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "store_unavailable")] * 2
        own_redis.start()
