"""When a sealing key may begin to seal, and when it may go: what roles report decides, whatever their files say."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
import pytest

from pushctl.config.model import Config
from pushctl.registry import Registry, open_registry
from pushctl.registry.key_holders import FRESH_MS, GAP_MS, About, Report, Told

OLD = Report(known=["OLD1"], seals=["OLD1"], opens=[], claims=[])
BOTH = Report(known=["OLD1", "NEW1"], seals=["OLD1"], opens=["NEW1"], claims=[])
PROMOTED = Report(known=["NEW1", "OLD1"], seals=["NEW1"], opens=["OLD1"], claims=[])
ONLY_NEW = Report(known=["NEW1"], seals=["NEW1"], opens=[], claims=[])


@dataclass
class Town:
    """A registry whose time we set. Every role in `roles` goes on reporting while time passes."""

    registry: Registry
    now: list[int]
    roles: dict[str, Report] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    """Every key that any role was ever told to seal with."""

    async def report(self, role: str, report: Report, *, starting: bool = False) -> Told:
        about = About("api", role, "host", 1, "0")
        told = await self.registry.key_holders.report(role, report, about, starting=starting)
        if not told.refused:
            self.roles[role] = report
        if told.seal_with is not None:
            self.sealed.add(told.seal_with)
        return told

    async def start(self, role: str, report: Report) -> Told:
        return await self.report(role, report, starting=True)

    async def seals_with(self, role: str) -> str | None:
        return (await self.report(role, self.roles[role])).seal_with

    async def passes(self, ms: int) -> None:
        """Everybody reports about every two seconds meanwhile."""
        for step in [2000] * (ms // 2000) + [ms % 2000]:
            self.now[0] += step
            for role, report in self.roles.items():
                await self.report(role, report)

    def falls_silent(self, role: str) -> None:
        del self.roles[role]


@pytest.fixture
async def town(config: Config) -> AsyncIterator[Town]:
    now = [0]
    async with open_registry(config, name="test", shift_ms=lambda: now[0]) as registry:
        yield Town(registry, now)


async def test_the_very_first_role_seals_at_once_with_what_its_file_says(town: Town) -> None:
    assert await town.start("a", BOTH) == Told("OLD1", (), refused=False)


async def test_a_new_key_only_opens_for_as_long_as_the_file_says_so(town: Town) -> None:
    await town.start("a", BOTH)
    await town.passes(3 * FRESH_MS)
    assert await town.seals_with("a") == "OLD1"


async def test_a_promoted_key_does_not_seal_while_a_role_that_runs_lacks_it(town: Town) -> None:
    await town.start("a", OLD)
    await town.start("b", OLD)
    await town.report("a", PROMOTED)
    await town.passes(3 * FRESH_MS)
    assert await town.seals_with("a") == "OLD1"
    assert town.sealed == {"OLD1"}
    await town.report("b", BOTH)
    assert await town.seals_with("a") == "NEW1"
    assert await town.seals_with("b") == "OLD1"  # its file does not say so yet


async def test_a_role_that_just_began_to_watch_waits_for_those_it_may_not_have_heard(town: Town) -> None:
    await town.start("a", OLD)
    await town.start("b", PROMOTED)
    town.falls_silent("a")
    await town.passes(FRESH_MS // 2)
    assert await town.seals_with("b") == "OLD1"
    await town.passes(FRESH_MS)
    assert await town.seals_with("b") == "NEW1"


async def test_when_nobody_could_report_nobody_is_taken_for_gone(town: Town) -> None:
    await town.start("a", OLD)
    await town.start("b", BOTH)
    await town.report("b", PROMOTED)
    await town.passes(2 * FRESH_MS)
    town.now[0] += 10 * FRESH_MS  # Redis stood still, or its clock was set
    assert await town.seals_with("b") == "OLD1"
    assert await town.seals_with("a") == "OLD1"
    await town.passes(3 * FRESH_MS)
    assert await town.seals_with("b") == "OLD1"


async def test_a_role_that_was_away_for_a_moment_begins_to_watch_anew(town: Town) -> None:
    await town.start("a", OLD)
    await town.start("b", PROMOTED)
    await town.passes(2 * FRESH_MS)
    town.now[0] += GAP_MS + 1
    town.falls_silent("a")
    town.now[0] += FRESH_MS
    assert await town.seals_with("b") == "OLD1"


async def test_a_clock_that_steps_back_makes_nobody_seal_sooner(town: Town) -> None:
    await town.start("a", OLD)
    await town.start("b", PROMOTED)
    await town.passes(2 * FRESH_MS)
    town.now[0] -= 100 * FRESH_MS
    for _ in range(3):
        assert await town.seals_with("b") == "OLD1"
        assert await town.seals_with("a") == "OLD1"
        await town.passes(FRESH_MS)


async def test_a_role_that_lacks_a_key_in_use_does_not_start_and_holds_nobody_up(town: Town) -> None:
    await town.start("a", OLD)
    await town.report("a", PROMOTED)
    await town.passes(2 * FRESH_MS)
    assert await town.seals_with("a") == "NEW1"
    assert await town.start("late", OLD) == Told(None, ("NEW1",), refused=True)
    assert [holder.id for holder in await town.registry.key_holders.running()] == ["a"]
    assert await town.seals_with("a") == "NEW1"


async def test_who_was_away_and_lacks_the_key_in_use_is_told_and_the_others_go_back_to_one_it_has(town: Town) -> None:
    await town.start("a", OLD)
    await town.start("frozen", OLD)
    town.falls_silent("frozen")
    await town.report("a", PROMOTED)
    await town.passes(2 * FRESH_MS)
    assert await town.seals_with("a") == "NEW1"
    assert (await town.report("frozen", OLD)) == Told("OLD1", ("NEW1",), refused=False)
    assert await town.seals_with("a") == "OLD1"
    await town.report("frozen", BOTH)
    assert await town.seals_with("a") == "NEW1"


async def test_who_lacks_all_that_is_in_use_stops_nobody(town: Town) -> None:
    await town.start("frozen", OLD)
    town.falls_silent("frozen")
    await town.start("a", PROMOTED)
    await town.passes(2 * FRESH_MS)
    assert await town.seals_with("a") == "NEW1"
    assert (await town.registry.key_holders.retire("OLD1", quiet_ms=0)).done
    await town.report("a", ONLY_NEW)
    assert (await town.report("frozen", OLD)).seal_with is None
    assert await town.seals_with("a") == "NEW1"


async def test_a_key_that_a_role_seals_with_is_not_retired(town: Town) -> None:
    await town.start("a", OLD)
    retired = await town.registry.key_holders.retire("OLD1", quiet_ms=0)
    assert (retired.done, retired.used_by) == (False, ("a",))
    assert await town.seals_with("a") == "OLD1"


async def test_a_key_is_not_retired_as_long_as_messages_may_be_sealed_with_it(town: Town) -> None:
    await town.start("a", OLD)
    await town.report("a", PROMOTED)
    await town.passes(2 * FRESH_MS)
    retired = await town.registry.key_holders.retire("OLD1", quiet_ms=10 * FRESH_MS)
    assert not retired.done
    assert 0 < retired.early_ms <= 10 * FRESH_MS
    await town.passes(retired.early_ms)
    assert (await town.registry.key_holders.retire("OLD1", quiet_ms=10 * FRESH_MS)).done


async def test_a_retired_key_seals_no_more_until_it_is_taken_back(town: Town) -> None:
    await town.start("a", BOTH)
    await town.passes(2 * FRESH_MS)
    retired = await town.registry.key_holders.retire("OLD1", quiet_ms=0, force=True)
    assert retired.done
    await town.report("b", PROMOTED)
    await town.passes(2 * FRESH_MS)
    assert await town.seals_with("b") == "NEW1"
    assert await town.seals_with("a") == "NEW1"  # though its file says OLD1: NEW1 is what is in use
    assert not (await town.start("c", ONLY_NEW)).refused
    town.falls_silent("c")
    await town.registry.key_holders.leave("c")
    await town.registry.key_holders.reprieve("OLD1", retired.before)
    assert await town.seals_with("a") == "OLD1"
    assert (await town.start("d", ONLY_NEW)).refused


@pytest.mark.parametrize("seed", range(5))
async def test_in_any_order_of_things_nobody_seals_with_a_key_that_a_running_role_lacks(town: Town, seed: int) -> None:
    """Roles with any file start, report, are given other files, fall silent; for as long as all report often enough,
    whatever one seals with after an answer, all others have."""
    chance = random.Random(seed)
    files = [OLD, BOTH, PROMOTED, msgspec.structs.replace(PROMOTED, known=["NEW1", "OLD1", "X"]), ONLY_NEW]
    await town.start("first", OLD)
    switched = 0
    for n in range(60):
        action = chance.choice(["start", "read", "read", "read", "time", "leave"])
        if action == "start" and len(town.roles) < 5:
            await town.start(f"r{n}", chance.choice(files))
        elif action == "read":
            role = chance.choice(sorted(town.roles))
            report = chance.choice(files)
            lacks_nothing = "OLD1" in report.known and ("NEW1" in report.known or "NEW1" not in town.roles[role].known)
            if lacks_nothing:  # no role that runs is given a file that lacks what is in use
                await town.report(role, report)
        elif action == "time":
            await town.passes(chance.choice([2000, FRESH_MS // 2, FRESH_MS + 2000]))
        elif action == "leave" and len(town.roles) > 1:
            role = chance.choice(sorted(town.roles))
            await town.registry.key_holders.leave(role)
            town.falls_silent(role)
        for role in sorted(town.roles):
            key = await town.seals_with(role)
            assert key is not None
            switched += key == "NEW1"
            assert all(key in report.known for report in town.roles.values()), (n, role, key)
    assert switched
