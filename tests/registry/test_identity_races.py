"""Log-ins, links, sign-outs and deletions that meet, one question to Redis at a time: in every order, and cut off."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from pushctl.config.model import Config
from pushctl.errors import IdentityTaken, LastIdentity, NotFound, Unauthenticated
from pushctl.ids import UserId
from pushctl.inbox.accounts import SignedIn
from pushctl.registry import Registry
from pushctl.registry.script import Script
from roles.gc.census import take_census
from roles.gc.repair import repair_all
from tests.registry.identity_people import People
from tests.registry.turns import Act, Actor, Choose, EveryOrder, interrupted, let_questions_wait, play

ON_CLUSTER = pytest.mark.long
"""Whatever meets meets between two questions, and the questions are the same there."""

NAMES = ("ada", "bob", "work")
ORDERS = 6
"""Of each meeting, drawn. And those in which one is interrupted once."""

TURNS = 10
"""More than any of them takes."""

LOST = IdentityTaken | LastIdentity | NotFound | Unauthenticated
"""How one may fail who came too late."""


@pytest.fixture
def scripts(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scripts that ran, in their order."""
    ran: list[str] = []
    run_scripts = registry.link.run_scripts

    async def note(calls: Any) -> Any:
        replies = await run_scripts(calls)
        ran.extend(script.name for script, _, _ in calls if isinstance(script, Script))
        return replies

    monkeypatch.setattr(registry.link, "run_scripts", note)
    let_questions_wait(registry.link, monkeypatch)
    return ran


async def test_a_log_in_and_a_sign_out_everywhere_have_one_order_whatever_they_do_meanwhile(
    registry: Registry, config: Config, scripts: list[str]
) -> None:
    orders = 0
    for order in EveryOrder():
        people = People(registry, config)
        first = await people.log_in("ada")
        scripts.clear()
        log_in, sign_out = await play(
            [lambda p=people: p.log_in("ada"), lambda p=people, u=first.user: p.accounts.sign_out_everywhere(u)],  # type: ignore[misc]
            order.choose,
        )
        orders += 1
        assert (log_in.failure, sign_out.failure) == (None, None)
        later = scripts.index("register") > scripts.index("end_sessions")
        assert await people.stands(log_in.result) == later, scripts
        assert not await people.stands(first)
    assert orders > 10


@pytest.mark.parametrize("turns", range(4))
async def test_a_sign_out_everywhere_that_is_cut_off_has_ended_all_sessions_or_none(
    registry: Registry, config: Config, scripts: list[str], turns: int
) -> None:
    people = People(registry, config)
    sessions = [await people.log_in("ada"), await people.log_in("ada")]
    user = sessions[0].user
    scripts.clear()
    await play([lambda: people.accounts.sign_out_everywhere(user)], lambda alive: alive[0], kill_first_after=turns)
    assert {await people.stands(each) for each in sessions} == {"end_sessions" not in scripts}


# --- identities: many orders of each meeting, then each cut off somewhere -------------------------------------------


@dataclass(frozen=True)
class Family:
    """Ada, who logged in and linked "work" if `linked`; bob, who logged in."""

    people: People
    ada: SignedIn
    bob: SignedIn

    @classmethod
    async def gather(cls, registry: Registry, config: Config, *, linked: bool) -> "Family":
        people = People(registry, config)
        ada, bob = await people.log_in("ada"), await people.log_in("bob")
        if linked:
            await people.link(ada, "work")
        return cls(people, ada, bob)

    def link(self, by: SignedIn, name: str = "work") -> Act:
        return lambda: self.people.link(by, name)

    def log_in(self, name: str) -> Act:
        return lambda: self.people.log_in(name)

    def unlink(self, name: str) -> Act:
        async def act() -> None:
            (identity,) = await self.people.identity_ids(self.ada.user, name) or ["none"]
            await self.people.accounts.unlink(self.ada.user, identity)

        return act

    def delete(self) -> Act:
        return lambda: self.people.accounts.delete_account(self.ada.user)


MEETINGS: dict[str, tuple[bool, Callable[[Family], list[Act]]]] = {
    "two links": (False, lambda f: [f.link(f.ada), f.link(f.bob)]),
    "a link twice": (False, lambda f: [f.link(f.ada), f.link(f.ada)]),
    "a link, a log-in": (False, lambda f: [f.link(f.ada), f.log_in("work")]),
    "a link, a deletion": (False, lambda f: [f.link(f.ada), f.delete()]),
    "a link, a deletion, a log-in": (False, lambda f: [f.link(f.ada), f.delete(), f.log_in("ada")]),
    "a deletion, a log-in with the other": (True, lambda f: [f.delete(), f.log_in("work")]),
    "a deletion, log-ins with both": (True, lambda f: [f.delete(), f.log_in("work"), f.log_in("ada")]),
    "an unlinking, a log-in": (True, lambda f: [f.unlink("work"), f.log_in("work")]),
    "an unlinking of the first, a log-in": (True, lambda f: [f.unlink("ada"), f.log_in("ada")]),
    "an unlinking, a link": (True, lambda f: [f.unlink("work"), f.link(f.ada)]),
    "an unlinking, another's link": (True, lambda f: [f.unlink("work"), f.link(f.bob)]),
    "two unlinkings": (True, lambda f: [f.unlink("work"), f.unlink("ada")]),
}


@pytest.mark.parametrize("name", MEETINGS)
async def test_an_identity_is_one_accounts_at_most_and_the_index_leads_there_whatever_meets(
    registry: Registry, config: Config, scripts: list[str], name: str
) -> None:
    linked, meeting = MEETINGS[name]
    orders: list[Choose] = [Random(seed).choice for seed in range(ORDERS)]
    orders += [interrupted(first, turns) for first in (0, 1) for turns in range(1, TURNS)]
    for order in orders:
        family = await Family.gather(registry, config, linked=linked)
        actors = await play(meeting(family), order)
        await check(family, actors)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEETINGS)
async def test_an_identity_whose_link_or_log_in_or_deletion_is_cut_off_logs_in_and_is_one_accounts_again(
    registry: Registry, config: Config, scripts: list[str], name: str
) -> None:
    linked, meeting = MEETINGS[name]
    for turns in range(TURNS):
        family = await Family.gather(registry, config, linked=linked)
        actors = await play(meeting(family), Random(turns).choice, kill_first_after=turns)
        await take_census(registry, family.people.accounts)
        await repair_all(registry)
        signed_in = [await family.people.log_in(each) for each in NAMES]
        assert all([await family.people.stands(each) for each in signed_in])
        await check(family, actors, [each.user for each in signed_in])


async def check(family: Family, actors: Sequence[Actor], users: Sequence[UserId] = ()) -> None:
    """No session outlives its account, nobody fails for another reason than that he lost, the index is right."""
    people = family.people
    signed_in = [actor.result for actor in actors if isinstance(actor.result, SignedIn)]
    for actor in actors:
        assert isinstance(actor.failure, LOST | None), actor.failure
    for each in signed_in:
        if await people.stands(each):
            assert await people.registry.users.count(each.user) is not None
    users = [family.ada.user, family.bob.user, *(each.user for each in signed_in), *users]
    for user in users:
        if await people.registry.users.count(user) is not None:
            assert [name for name in NAMES if user in await people.linked_to(name, [user])], "nobody can log in"
    await people.check(NAMES, users)


async def test_an_identity_whose_unlinking_was_cut_off_may_be_linked_elsewhere(
    registry: Registry, config: Config, scripts: list[str]
) -> None:
    family = await Family.gather(registry, config, linked=True)
    turns = 2  # its id is looked up, the script has run
    await play([family.unlink("work")], lambda alive: alive[0], kill_first_after=turns)
    assert scripts[-1] == "unlink_identity"
    assert await family.people.owner("work") == family.ada.user
    _, new = await family.people.link(family.bob, "work")
    assert new
    await family.people.check(NAMES, [family.ada.user, family.bob.user])
