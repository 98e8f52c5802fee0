"""Who sends or asks too often: what they are told, that it is true, and that nobody else notices."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import httpx
import trio

from pushctl.clock import system_clock
from pushctl.config.model import Config
from pushctl.runtime import Ready, run_role
from pushctl.testing.service import Running, running
from pushctl.webpush.signing import VapidKey
from roles.api import build
from tests.conftest import RedisProcess
from tests.scenario.people import Person, Town

SLOW = 0.01
"""A second: what it earns while a test runs does not count."""


@asynccontextmanager
async def town_with(config: Config, *, exempt_loopback: bool = True, **limits: float) -> AsyncIterator[Town]:
    config = replace(config, limits=replace(config.limits, **limits))  # type: ignore[arg-type]  # numbers
    async with (
        running(config, sockets=0, without=("router", "gc"), exempt_loopback=exempt_loopback) as service,
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
    return Counter({line.split('"')[1]: int(float(line.split()[-1])) for line in lines})


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
            assert refused.headers["retry-after"] == "2"
        await trio.sleep(2)
        for url, headers in zip(urls, kinds, strict=True):
            assert await statuses(town, url, 2, **headers) == [201, 429]
        assert (await refusals(town))["push_url_rate"] == 4
        assert len(await ada.unread()) == 2, "TTL 0 is never stored, and nothing refused was"


async def test_a_retry_after_429_is_carried_out_and_a_repeat_is_never_refused(config: Config) -> None:
    async with town_with(config, push_url_per_second=1, push_url_burst=1, total_per_second=1, total_burst=1) as town:
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


async def test_a_credential_that_is_to_be_linked_counts_as_a_log_in(config: Config) -> None:
    """It costs as much: whoever has a session could have had domains asked, five times as often."""
    async with town_with(
        config, exempt_loopback=False, login_per_second_per_address=SLOW, login_burst_per_address=3
    ) as town:
        ada = await town.login("ada")
        linking = {"credential": "BrowserID x~y", "provider": None}
        answers = [await ada.ask("POST", "/v1/identities", linking) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [400, 400, 429]
        assert (await log_in(town)).status_code == 429
        assert (await refusals(town))["login_rate"] == 2


async def test_behind_a_trusted_proxy_each_client_is_counted_for_itself(config: Config) -> None:
    behind = replace(config, api=replace(config.api, trusted_proxies=("127.0.0.1",)))
    async with town_with(
        behind, exempt_loopback=False, login_per_second_per_address=SLOW, login_burst_per_address=1
    ) as town:
        asked = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
        answers = [(await log_in(town, X_Forwarded_For=host)).status_code for host in asked]
        assert answers == [401, 429, 401, 401, 429, 401]


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
    away = replace(config, redis=replace(config.redis, url=own_redis.url, timeout_seconds=0.3))
    async with town_with(away, total_per_second=SLOW, total_burst=100) as town:
        url = (await (await town.login("ada")).allow())["url"]
        own_redis.kill()
        answers = [await town.push(url, {"body": "x"}, TTL=ttl) for ttl in ("0", "60")]
        assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(503, "store_unavailable")] * 2
        own_redis.start()
