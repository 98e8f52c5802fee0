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
from pushctl.registry.connection import Argument, Reply, pack
from pushctl.registry.keys import MAX_STUBS, Keys
from pushctl.registry.link import Link
from pushctl.registry.script import Script

DAY_MS = 86_400_000
TOMBSTONE_MS = DAY_MS
_USER = b"\0"

LOG_MARGIN_MS = 3_600_000
"""Events outlive the longest-lived message by an hour, so that the read mark of every message is found beside it."""


class AccountGone(Unauthenticated):
    """The account was deleted: there is a tombstone that says so."""

    close_code = 4504


class Store:
    """What every noun is given."""

    def __init__(self, link: Link, keys: Keys, config: Config, shift_ms: Callable[[], int] | None = None) -> None:
        """`shift_ms`: added to Redis TIME in every script; none outside tests, which cannot wait for three days."""
        self.link = link
        self.keys = keys
        self.config = config
        self._shift_ms = shift_ms
        self._bound: dict[str, Script] = {}
        """By the hash that a script has without what is bound here."""
        self._heads: dict[tuple[str, int], bytes] = {}

    def shift_ms(self) -> int:
        """Of the clock that scripts go by, against Redis TIME."""
        return 0 if self._shift_ms is None else self._shift_ms()

    @property
    def shift(self) -> tuple[int, ...]:
        """The first argument of a bound script that goes by that clock; none where it is bound, too."""
        return () if self._shift_ms is None else (self._shift_ms(),)

    @cached_property
    def partitions(self) -> int:
        """Of users, for jobs and hints: `routing.partitions`; 0: one per master, as many as there are at first."""
        return self.config.routing.partitions or len(self.link.masters)

    def stream(self, partition: int) -> str:
        """The job stream of a partition; it lies on the master that holds the partition's users."""
        return self.keys.route(partition, self.partitions)

    def bound(self, script: Script, **more: Argument) -> Script:
        """With what is the same in all calls of this store in its text: the configuration, and `more`."""
        keep_ms = self.config.messages.max_lifetime_seconds * 1000 + LOG_MARGIN_MS
        constants: dict[str, Argument] = {
            "keep_ms": keep_ms,
            "volatile_ms": keep_ms + DAY_MS,
            "max_log": self.config.limits.log_events_per_user,
            "max_stubs": MAX_STUBS,
        }
        if self._shift_ms is None:
            constants["shift_ms"] = 0
        return script.bind(**constants, **more)

    def _ready(
        self, script: Script, given: dict[str, Argument], rest: Sequence[Argument]
    ) -> tuple[Script, list[Argument]]:
        """A script as Redis is given it, and its arguments with those that all calls have."""
        bound = self._bound.get(script.sha1)
        if bound is None:
            bound = self._bound[script.sha1] = self.bound(script)
        common: dict[str, Argument] = {}
        if "shift_ms" in bound.args:
            common["shift_ms"] = self.shift_ms()
        if "tag" in bound.args:
            common["tag"] = new_tag()
        return bound, bound.arguments(common | given, rest)

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
        ready, arguments = self._ready(script, given, rest)
        return await self.link.run_script(ready, keys, arguments)

    async def run_often(
        self, script: Script, user: UserId, arguments: Sequence[Argument], special: dict[str, str] | None = None
    ) -> Any:
        """As `run_uncertain`, for what is asked for every message: a script that is bound already, and its arguments in
        its order, with `shift` in front."""

        def command() -> Sequence[Argument]:
            keys = self.keys.of_script(script, user, **(special or {}))
            return ("EVALSHA", script.sha1, len(keys), *keys, *arguments)

        if special is None:
            # Everything up to the arguments is the same for all users but for the user.
            packed = pack(arguments)
            head = self._heads.get((script.sha1, len(user))) or self._head(script, len(user))
            count = 3 + len(script.keys) + len(arguments)
            packed = b"*%d\r\n%b%b" % (count, head.replace(_USER, user.encode()), packed[packed.index(b"$") :])
        else:
            packed = pack(command())
        return await self.link.run_packed(script, self.keys.user(user, "meta"), packed, command)

    def _head(self, script: Script, length: int) -> bytes:
        """`EVALSHA` to the last key, packed, with a place for a user's id of that length."""
        user = UserId(chr(0) * length)
        packed = pack(("EVALSHA", script.sha1, len(script.keys), *self.keys.of_script(script, user)))
        head = packed[packed.index(b"$") :].replace(bytes(length), _USER)
        self._heads[script.sha1, length] = head
        return head

    async def run_for_all(
        self, script: Script, rest_of: Mapping[UserId, Sequence[Argument]], **given: Argument
    ) -> dict[UserId, Any]:
        """Run a script for many users of one partition in one round trip: its replies, but of those who are gone. For
        what may be repeated: raises StoreUnavailable unless it ran for all the others."""
        ready, arguments = self._ready(script, given, ())
        replies = await self.link.run_scripts(
            [(ready, self.keys.of_script(script, user), [*arguments, *rest]) for user, rest in rest_of.items()]
        )
        if any(reply[0] == b"unknown" for reply in replies):
            raise StoreUnavailable("the store knows nothing of a user and cannot prove that it never did")
        return {user: reply for user, reply in zip(rest_of, replies, strict=True) if reply[0] != b"gone"}

    async def run_on(
        self, script: Script, keys: Sequence[str], *, rest: Sequence[Argument] = (), **given: Argument
    ) -> Reply:
        """Run a script whose keys are no user's."""
        ready, arguments = self._ready(script, given, rest)
        return await self.link.run_script(ready, keys, arguments)

    async def run_together(self, *calls: tuple[Script, Sequence[str], dict[str, Argument]]) -> list[Reply]:
        """As `run_on`, several in one round trip: each with its keys and arguments. Their replies in order."""
        ready = [(self._ready(script, given, ()), keys) for script, keys, given in calls]
        return await self.link.run_scripts([(script, keys, arguments) for (script, arguments), keys in ready])
