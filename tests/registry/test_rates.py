"""Rates of a push URL and of its user, counted where a message is taken; and buckets that processes share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushctl.config.model import Config
from pushctl.errors import IdempotencyMismatch, RateLimited
from pushctl.rates import Rate, TokenBucket
from pushctl.registry import open_registry
from pushctl.registry import rates as rates_module
from pushctl.registry.rates import MessageRates
from tests.conftest import RedisProcess
from tests.registry.conftest import Shift
from tests.registry.test_messages import ADA, Inbox

TURN_MS = 100_000
"""Of 0.01 a second: what passes in real time while a test runs does not count."""

SLOW = {"push_url_per_second": 0.01, "push_url_burst": 3, "user_per_second": 0.01, "user_burst": 1000}


@asynccontextmanager
async def inbox_with(config: Config, shift: Shift, **limits: float) -> AsyncIterator[Inbox]:
    config = replace(config, limits=replace(config.limits, **SLOW | limits))  # type: ignore[arg-type]  # numbers
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        inbox = Inbox(registry)
        await inbox.prepare()
        yield inbox


async def send(inbox: Inbox, *, ttl_0: bool = False, key: str | None = None, **changes: Any) -> str:
    """'taken', 'again', or the limit that refused it."""
    message = inbox.message(idempotency_key=key, **changes)
    try:
        if ttl_0:
            return "taken" if (await inbox.registry.messages.announce(ADA, message)).deliver else "again"
        return "again" if (await inbox.registry.messages.append(ADA, message)).again else "taken"
    except RateLimited as refusal:
        return refusal.limit


both_kinds = pytest.mark.parametrize("ttl_0", [False, True], ids=["stored", "TTL 0"])


@both_kinds
async def test_a_push_url_takes_its_burst_and_after_the_wait_exactly_one_more(
    config: Config, shift: Shift, *, ttl_0: bool
) -> None:
    async with inbox_with(config, shift) as inbox:
        assert [await send(inbox, ttl_0=ttl_0) for _ in range(5)] == ["taken"] * 3 + ["push_url"] * 2
        with pytest.raises(RateLimited, match=r"this push URL takes 0\.01 a second, 3 at once") as refused:
            await inbox.append()
        wait_seconds = refused.value.retry_after_seconds
        assert wait_seconds is not None
        assert TURN_MS - 20_000 < wait_seconds * 1000 <= TURN_MS
        shift.ms += wait_seconds * 1000
        assert [await send(inbox, ttl_0=ttl_0) for _ in range(2)] == ["taken", "push_url"]
        shift.ms += TURN_MS // 2
        assert await send(inbox, ttl_0=ttl_0) == "push_url"


async def test_stored_and_ephemeral_messages_use_one_bucket(config: Config, shift: Shift) -> None:
    async with inbox_with(config, shift) as inbox:
        assert [await send(inbox, ttl_0=n % 2 == 0) for n in range(4)] == ["taken"] * 3 + ["push_url"]


async def test_what_is_refused_leaves_nothing_behind(config: Config, shift: Shift) -> None:
    async with inbox_with(config, shift) as inbox:
        for n in range(6):
            await send(inbox, key=f"k{n}", topic="t")
        delta = await inbox.registry.messages.unread(ADA, 0, 10)
        assert [record.ref.seq for record in delta] == [6], "each of the three replaced the one before"
        marks = await inbox.registry.link.ask_masters("KEYS", f"{inbox.key('idem')}:*")
        assert sum(map(len, marks.values())) == 3


@both_kinds
async def test_a_repeat_costs_nothing_and_is_never_refused(config: Config, shift: Shift, *, ttl_0: bool) -> None:
    async with inbox_with(config, shift) as inbox:
        assert await send(inbox, ttl_0=ttl_0, key="a") == "taken"
        assert [await send(inbox, ttl_0=ttl_0, key="a") for _ in range(5)] == ["again"] * 5
        assert [await send(inbox, ttl_0=ttl_0) for _ in range(3)] == ["taken", "taken", "push_url"]
        assert await send(inbox, ttl_0=ttl_0, key="a") == "again"
        with pytest.raises(IdempotencyMismatch):
            await send(inbox, ttl_0=ttl_0, key="a", fingerprint=b"another")


@both_kinds
async def test_a_retry_of_what_was_refused_is_carried_out_and_then_stands(
    config: Config, shift: Shift, *, ttl_0: bool
) -> None:
    async with inbox_with(config, shift, push_url_burst=1) as inbox:
        await send(inbox)
        assert await send(inbox, ttl_0=ttl_0, key="a") == "push_url"
        shift.ms += TURN_MS
        assert [await send(inbox, ttl_0=ttl_0, key="a") for _ in range(2)] == ["taken", "again"]


@both_kinds
async def test_what_another_limit_refuses_is_taken_only_as_a_repeat(
    config: Config, shift: Shift, *, ttl_0: bool
) -> None:
    async with inbox_with(config, shift) as inbox:
        assert await send(inbox, ttl_0=ttl_0, key="a", only_again=True) == ""
        assert await send(inbox, ttl_0=ttl_0, key="a") == "taken"
        assert await send(inbox, ttl_0=ttl_0, key="a", only_again=True) == "again"


async def test_a_user_takes_so_many_whatever_the_push_url_and_a_refusal_costs_the_push_url_nothing(
    config: Config, shift: Shift
) -> None:
    async with inbox_with(config, shift, user_burst=4) as inbox:
        one = inbox.url, inbox.number
        assert [await send(inbox) for _ in range(2)] == ["taken"] * 2
        await inbox.allow("https://b.example")
        assert [await send(inbox) for _ in range(4)] == ["taken", "taken", "user", "user"]
        shift.ms += TURN_MS
        assert await send(inbox) == "taken"  # the third of three: the refused ones were not counted
        inbox.url, inbox.number = one
        assert await send(inbox) == "user"


async def test_other_push_urls_and_users_have_rates_of_their_own(config: Config, shift: Shift) -> None:
    async with inbox_with(config, shift) as inbox:
        assert [await send(inbox) for _ in range(4)][-1] == "push_url"
        await inbox.allow("https://b.example")
        assert await send(inbox) == "taken"


async def test_no_rate_is_no_limit_and_leaves_no_key(config: Config, shift: Shift) -> None:
    async with inbox_with(config, shift, push_url_per_second=0, user_per_second=0) as inbox:
        assert {await send(inbox) for _ in range(20)} == {"taken"}
        assert await inbox.registry.link.ask("EXISTS", inbox.key("rates")) == 0
    async with inbox_with(config, shift, push_url_per_second=0, user_burst=2) as inbox:
        assert [await send(inbox) for _ in range(3)] == ["taken", "taken", "user"]
    async with inbox_with(config, shift, user_per_second=0, push_url_burst=2) as inbox:
        await inbox.allow("https://c.example")
        assert [await send(inbox) for _ in range(3)] == ["taken", "taken", "push_url"]


async def test_the_state_is_a_field_for_each_push_url_in_use_and_goes_with_it(config: Config, shift: Shift) -> None:
    async with inbox_with(config, shift, user_burst=3) as inbox:
        ask = inbox.registry.link.ask
        for n in range(5):
            await inbox.allow(f"https://{n}.example")
            await send(inbox)
        assert await ask("HLEN", inbox.key("rates")) == 4, "three push URLs, and the user"
        shift.ms += TURN_MS
        await send(inbox)
        left_ms = await ask("PTTL", inbox.key("rates"))
        assert 0 < left_ms <= 2 * 3 * TURN_MS, "when all have been full again for as long"
        await inbox.registry.push_urls.revoke(ADA, inbox.url)
        assert await ask("HEXISTS", inbox.key("rates"), inbox.url) == 0


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_step_of_the_clock_gives_a_burst_at_most_and_makes_nobody_wait_longer(
    config: Config, shift: Shift, hours: int
) -> None:
    async with inbox_with(config, shift) as inbox:
        for _ in range(4):
            await send(inbox)
        shift.ms += hours * 3_600_000
        taken = ["taken"] * 3 if hours > 0 else []
        assert [await send(inbox) for _ in range(4)] == [*taken, *["push_url"] * (4 - len(taken))]
        shift.ms += TURN_MS
        assert [await send(inbox) for _ in range(2)] == ["taken", "push_url"]


async def test_a_clock_that_steps_back_takes_nothing_away(config: Config, shift: Shift) -> None:
    async with inbox_with(config, shift) as inbox:
        assert [await send(inbox) for _ in range(2)] == ["taken"] * 2
        shift.ms -= 5 * 3_600_000
        assert [await send(inbox) for _ in range(2)] == ["taken", "push_url"]


# --- exactly ---------------------------------------------------------------------------------------------------------

LUA = "\n".join(
    [
        "local function int(n) return string.format('%.0f', n) end",
        "local K, A = {rates = KEYS[1]}, cjson.decode(ARGV[1])",
        "A.rates_ms = tostring(A.rates_ms)",
        (files("pushctl.registry") / "scripts" / "lib" / "rates.lua").read_text(),
        "local found = {}",
        "for n = 2, #ARGV do found[#found + 1] = over_rate(tonumber(ARGV[n])) or {'taken'} end",
        "return found",
    ]
)


@settings(max_examples=60)
@given(
    rate=st.builds(Rate, st.sampled_from([0.5, 1, 3, 7, 99.9, 100, 1000, 0.333]), st.integers(1, 30)),
    asked=st.lists(st.integers(0, 400_000), min_size=1, max_size=80).map(lambda gaps: list(accumulate(gaps))),
)
def test_the_script_counts_as_exactly_as_the_bucket(redis_process: RedisProcess, rate: Rate, asked: list[int]) -> None:
    """Microsecond by microsecond, over every span; the wait is the first at which one passes."""
    limits = replace(Config().limits, push_url_per_second=rate.per_second, push_url_burst=rate.burst, user_per_second=0)
    arguments = MessageRates(limits).arguments | {"push_url": "u"}
    at = 1_700_000_000_000_000
    redis_process.ask("DEL", "exact")
    text = "{" + ",".join(f'"{name}":"{value}"' for name, value in arguments.items()) + "}"
    replies = redis_process.ask("EVAL", LUA, 1, "exact", text, *(at + moment for moment in asked))
    bucket = TokenBucket(rate, 0.0)
    for moment, reply in zip(asked, replies, strict=True):
        wait_seconds = bucket.take(moment / 1_000_000)
        assert (reply[0] == b"taken") == (wait_seconds == 0), moment
        if wait_seconds:
            assert int(reply[2]) == -(-round(wait_seconds * 1_000_000_000) // 1000)


# --- shared ----------------------------------------------------------------------------------------------------------

TENTH = Rate(0.1, 5)
TURN_US = 10_000_000


async def test_a_shared_bucket_is_charged_whatever_it_holds_and_fills_again(config: Config, shift: Shift) -> None:
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:

        async def behind(*costs: tuple[str, int]) -> list[int]:
            """In whole turns of a tenth of a second."""
            return [round(us / TURN_US) for us in await registry.rates.charge("kind", 3, TENTH, costs)]

        assert await behind(("a", 2 * TURN_US), ("b", TURN_US), ("a", TURN_US)) == [2, 1, 3]
        assert await behind(("a", 7 * TURN_US), ("b", 0)) == [10, 1]
        shift.ms += 40_000
        assert await behind(("a", 0), ("a", -2 * TURN_US)) == [6, 4]
        key = registry.rates._store.keys.rates(3, "kind")
        assert await registry.link.ask("ZCARD", key) == 1, "b is full again, whether or not anybody asks for it"
        assert await behind(("b", 0), ("b", -TURN_US), ("a", -9 * TURN_US)) == [0, 0, 0]
        assert await registry.link.ask("ZCARD", key) == 0, "what is full is forgotten"
        other = await registry.rates.charge("other", 3, TENTH, [("a", 0)])
        assert other == [0]


async def test_a_clock_that_steps_back_empties_a_shared_bucket_and_no_more(config: Config, shift: Shift) -> None:
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        await registry.rates.charge("kind", 0, TENTH, [("a", TURN_US)])
        shift.ms -= 5 * 3_600_000
        (behind_us,) = await registry.rates.charge("kind", 0, TENTH, [("a", 0)])
        assert behind_us <= TENTH.most_us


async def test_of_too_many_shared_buckets_the_fullest_go(
    config: Config, shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates_module, "MAX_BUCKETS", 10)
    async with open_registry(config, name="test", shift_ms=lambda: shift.ms) as registry:
        key = registry.rates._store.keys.rates(0, "kind")
        await registry.rates.charge("kind", 0, TENTH, [("busy", 5 * TURN_US)])
        for n in range(20):
            made_up = [(f"{n}-{m}", TURN_US) for m in range(50)]
            await registry.rates.charge("kind", 0, TENTH, made_up)
            assert await registry.link.ask("ZCARD", key) <= 10
        (behind_us,) = await registry.rates.charge("kind", 0, TENTH, [("busy", 0)])
        assert behind_us > 4 * TURN_US
        assert 0 < await registry.link.ask("PTTL", key) <= TENTH.most_us / 1000
