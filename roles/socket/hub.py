"""Who is connected here: users to connections.

Owns: the map, and handing hints to the connections they are for. Promises: a hint names a user; no other user's
connection ever sees it. Nothing here waits: a connection that cannot take a hint is merely behind.
Must not know: sockets, Redis.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from pushctl.ids import ConnectionId, UserId
from pushctl.protocol.jobs import Appended, Batch, Displaced, Ephemeral, SessionEnds

if TYPE_CHECKING:
    from roles.socket.held import Held

_NOBODY: "Mapping[ConnectionId, Held]" = MappingProxyType({})


class Hub:
    def __init__(self) -> None:
        self._users: dict[UserId, dict[ConnectionId, Held]] = {}
        self.connections = 0

    def __iter__(self) -> Iterator["Held"]:
        for connections in list(self._users.values()):
            yield from list(connections.values())

    @property
    def user_count(self) -> int:
        return len(self._users)

    @property
    def users(self) -> list[UserId]:
        return list(self._users)

    def of(self, user: UserId) -> list["Held"]:
        return list(self._users.get(user, {}).values())

    def join(self, connection: "Held") -> None:
        self._users.setdefault(connection.user, {})[connection.id] = connection
        self.connections += 1

    def leave(self, connection: "Held") -> None:
        connections = self._users[connection.user]
        del connections[connection.id]
        self.connections -= 1
        if not connections:
            del self._users[connection.user]

    def check(self, users: Iterable[UserId], now: float) -> None:
        """Let the connections of these users, if they are still here, look whether their time has come."""
        for user in users:
            for connection in self._users.get(user, _NOBODY).values():
                if connection.due <= now:
                    connection.check(now)

    def displace(self, user: UserId, connections: Collection[str], *, for_good: bool) -> None:
        """The newest connection of a device wins: the older ones, exactly those it displaced, close with 4503. Not
        `for_good`: it has given up, and they look whether they hold the device again."""
        for connection in self.of(user):
            if connection.id in connections:
                connection.displaced() if for_good else connection.bereft()

    def missing(self, batch: Batch) -> Iterator[str]:
        """Users of a batch who have no connection here."""
        return (job.user for job in batch.jobs if UserId(job.user) not in self._users)

    def hear(self, batch: Batch, now_ms: float) -> None:
        """Hints of a router, in the order it took them; then those who heard something speak, each once for all of it.
        `now_ms`: the registry's time."""
        heard: dict[Held, None] = {}
        for job in batch.jobs:
            connections = self._users.get(UserId(job.user))
            if connections is None:
                continue
            if isinstance(job, Displaced):
                self.displace(UserId(job.user), job.connections, for_good=job.for_good)
                continue
            for connection in connections.values():
                if isinstance(job, Appended):
                    connection.hear_appended(job)
                    heard[connection] = None
                elif isinstance(job, Ephemeral):
                    connection.hear_ephemeral(job, seconds_left=(job.until_ms - now_ms) / 1000)
                    heard[connection] = None
                elif isinstance(job, SessionEnds):
                    connection.session_ends(job)
        for connection in heard:
            connection.speak()
