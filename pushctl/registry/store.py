"""How the nouns of the registry reach Redis: a link, the map of keys, and what every script is told.

Owns: filling in the arguments that all scripts of a kind share, and turning "nothing there" into the right error.
Promises: an answer of certainty (AccountGone) only on proof; anything less is StoreUnavailable.
Must not know: what a single script means.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from pushctl.config.model import Config
from pushctl.errors import StoreUnavailable, Unauthenticated
from pushctl.ids import UserId, new_tag
from pushctl.registry.connection import Argument, Reply
from pushctl.registry.keys import MAX_STUBS, Keys
from pushctl.registry.link import Link
from pushctl.registry.script import Script

DAY_MS = 86_400_000
TOMBSTONE_MS = DAY_MS
LOG_MARGIN_MS = 3_600_000
"""Events outlive the longest-lived message by an hour, so that the read mark of every message is found beside it."""


class AccountGone(Unauthenticated):
    """The account was deleted: there is a tombstone that says so."""

    close_code = 4504


class Store:
    """What every noun is given."""

    def __init__(self, link: Link, keys: Keys, config: Config, shift_ms: Callable[[], int] = lambda: 0) -> None:
        self.link = link
        self.keys = keys
        self.config = config
        self.shift_ms = shift_ms
        """Added to Redis TIME in every script: 0 outside tests, which cannot wait for three days."""

    @cached_property
    def partitions(self) -> int:
        """Of users, for jobs and hints: `routing.partitions`; 0: one per master, as many as there are at first."""
        return self.config.routing.partitions or len(self.link.masters)

    def stream(self, partition: int) -> str:
        """The job stream of a partition; it lies on the master that holds the partition's users."""
        return self.keys.route(partition, self.partitions)

    def _common(self, script: Script) -> dict[str, Argument]:
        keep_ms = self.config.messages.max_lifetime_seconds * 1000 + LOG_MARGIN_MS
        common: dict[str, Argument] = {
            "shift_ms": self.shift_ms(),
            "tag": new_tag(),
            "keep_ms": keep_ms,
            "volatile_ms": keep_ms + DAY_MS,
            "max_log": self.config.limits.log_events_per_user,
            "max_stubs": MAX_STUBS,
        }
        return {name: value for name, value in common.items() if name in script.args}

    async def run(
        self,
        script: Script,
        user: UserId,
        *,
        rest: Sequence[Argument] = (),
        special: dict[str, str] | None = None,
        **given: Argument,
    ) -> Any:
        """Run a user script and return its reply. `special`: keys that are not simply the user's noun.

        Raises AccountGone on a tombstone and StoreUnavailable when the registry knows nothing of the user: it should.
        """
        reply = await self.run_uncertain(script, user, rest=rest, special=special, **given)
        if reply[0] == b"gone":
            raise AccountGone("this account was deleted")
        if reply[0] == b"unknown":
            raise StoreUnavailable("the store knows nothing of this user and cannot prove that it never did")
        return reply

    async def run_uncertain(
        self,
        script: Script,
        user: UserId,
        *,
        rest: Sequence[Argument] = (),
        special: dict[str, str] | None = None,
        **given: Argument,
    ) -> Any:
        """As `run`, where 'gone' and 'unknown' are answers that the caller reads itself."""
        keys = self.keys.of_script(script, user, **(special or {}))
        return await self.link.run_script(script, keys, script.arguments(self._common(script) | given, rest))

    async def run_for_all(
        self, script: Script, rest_of: Mapping[UserId, Sequence[Argument]], **given: Argument
    ) -> dict[UserId, Any]:
        """Run a script for many users of one partition in one round trip: its replies, but of those who are gone. For
        what may be repeated: raises StoreUnavailable unless it ran for all the others."""
        arguments = script.arguments(self._common(script) | given)
        replies = await self.link.run_scripts(
            [(script, self.keys.of_script(script, user), [*arguments, *rest]) for user, rest in rest_of.items()]
        )
        if any(reply[0] == b"unknown" for reply in replies):
            raise StoreUnavailable("the store knows nothing of a user and cannot prove that it never did")
        return {user: reply for user, reply in zip(rest_of, replies, strict=True) if reply[0] != b"gone"}

    async def run_on(
        self, script: Script, keys: Sequence[str], *, rest: Sequence[Argument] = (), **given: Argument
    ) -> Reply:
        """Run a script whose keys are no user's."""
        return await self.link.run_script(script, keys, script.arguments(self._common(script) | given, rest))

    async def run_together(self, *calls: tuple[Script, Sequence[str], dict[str, Argument]]) -> list[Reply]:
        """As `run_on`, several in one round trip: each with its keys and arguments. Their replies in order."""
        return await self.link.run_scripts(
            [(script, keys, script.arguments(self._common(script) | given)) for script, keys, given in calls]
        )
