"""What a swarm counts while it runs, and the report made of it.

Owns: the documented names of `pushctl client swarm --json` (docs/operations.md, "Rehearsing a storm"), and which of
them make a result that is not good.
Must not know: where the numbers come from, how they are shown.
"""

from msgspec import Struct, field

from pushctl.client.distribution import Distribution, Percentiles


class Counts(Struct, kw_only=True):
    """Of all devices of a swarm together."""

    logged_in: int = 0
    connected: int = 0
    """Devices that are connected and up to date now, in a report: at its end. `ever_connected`: at any time."""
    ever_connected: int = 0
    received_live: int = 0
    """Messages that came as they were sent, and `received_later` by a sync: each counted once for each device."""
    received_later: int = 0
    lost: int = 0
    """Messages that the service holds unread and that a device, told of what came after them, never got."""
    skipped: int = 0
    """Events left out within a connection, by the numbers in their cursors."""
    duplicate: int = 0
    """Events that came again, and `reordered` those that came after later ones."""
    reordered: int = 0
    behind: int = 0
    """Messages that were still to come when it ended: not lost, a sync brings them."""
    unchecked: int = 0
    """Users of whom it could not be found out whether something was lost."""
    deltas: int = 0
    snapshots: int = 0
    reads: int = 0
    """Messages marked read here, and `reads_confirmed` those of which the service said so."""
    reads_confirmed: int = 0
    refused_by_api: int = 0
    """429 and 503, each time; `refused_by_boxoffice`; `refused_by_servers`: instead of the upgrade."""
    refused_by_boxoffice: int = 0
    refused_by_servers: int = 0
    unreachable: int = 0
    """Tries at a Box Office or a socket server without an answer, or with one that made no sense."""
    disconnects: dict[str, int] = field(default_factory=dict)
    """Connections that ended before the swarm did, by close code; 1006: without one."""
    given_up: dict[str, int] = field(default_factory=dict)
    """Devices that stopped trying, by the close code or status that told them to."""

    @property
    def received(self) -> int:
        return self.received_live + self.received_later

    @property
    def wrong(self) -> int:
        """What must never be."""
        return self.lost + self.skipped + self.duplicate + self.reordered


class Tally(Counts, kw_only=True):
    """One for a whole swarm, whose members and their ledgers add to it."""

    connecting: Distribution = field(default_factory=Distribution)
    latency: Distribution = field(default_factory=Distribution)

    def disconnected(self, code: int) -> None:
        self.disconnects[str(code)] = self.disconnects.get(str(code), 0) + 1

    def gave_up(self, code: int) -> None:
        self.given_up[str(code)] = self.given_up.get(str(code), 0) + 1


class Report(Counts, kw_only=True):
    """What came of it."""

    users: int
    devices: int
    """As many as were wanted, of all users together."""
    seconds: float
    """From the first device that set out to the end, without logins and checks."""
    connect_ms: Percentiles
    """From setting out for a socket server to being up to date there."""
    latency_ms: Percentiles
    """Of messages that came live: from `sent_at` (when the service took the message, by its clock) to when the device
    had it (by this host's clock). Between two hosts it includes what their clocks differ."""

    @property
    def is_good(self) -> bool:
        """Everybody is connected, and nothing went wrong that can be seen."""
        return not self.wrong and not self.unchecked and self.connected == self.devices


def report(tally: Tally, *, users: int, devices: int, seconds: float) -> Report:
    """As it is now: what is counted later changes nothing in it."""
    counted = {name: getattr(tally, name) for name in Counts.__struct_fields__}
    counted |= {name: dict(sorted(counted[name].items())) for name in ("disconnects", "given_up")}
    return Report(
        **counted,
        users=users,
        devices=devices,
        seconds=round(seconds, 3),
        connect_ms=tally.connecting.percentiles(),
        latency_ms=tally.latency.percentiles(),
    )
