"""The installation marker: whose registry a Redis holds, and in which data format.

Owns: the keys that hold it, and the verdict. The marker is the `installation` of the keys file, and behind it, from
format 2 on, a space and the data format's number. It stands in MARKERS keys spread evenly over the slots, so that each
master of a Cluster holds some, and they move with their slots.
Promises: a master that was emptied, that is another installation's, or that was written in a newer format, is told
apart from ours; so what is missing there is never taken for proof that it is gone (404, 410), and what an older release
would misread it never touches. Only a registry that is empty on all masters is adopted.
Must not know: lanes, what else is stored.
"""

from collections.abc import Callable, Sequence

from pushctl import __version__
from pushctl.registry.keys import SHARDS, Keys, slot_of

FORMAT = 1
"""Of all that is stored, and of all that clients and third parties hold. A release that stores what an older one would
misread raises it, reads both, and writes it into the markers only when the operator says that no older one runs: every
release since the first then refuses the registry instead of misreading it. What is merely added, and what an older
release may drop or ignore, raises nothing. tests/previous holds each release to what those before it stored."""

MARKERS = 64

LOOKS = 4
"""Markers looked at on one master: one would do, if it were not just moving elsewhere."""


class Installation:
    def __init__(self, name: str, keys: Keys) -> None:
        self.name = name
        self.keys = [keys.marker(part, MARKERS) for part in range(MARKERS)]
        self._slots = {key: slot_of(key) for key in self.keys}
        self._used = [*(keys.shard(shard, "users") for shard in range(SHARDS)), keys.servers("generations")]

    def near(self, key: str | bytes, holds: Callable[[int], bool]) -> str:
        """The marker nearest to this key on its master: whoever lost the key lost the marker. `holds`: whether that
        master holds a slot. One without any marker is judged by its neighbour."""
        slot = slot_of(key)
        own = [marker for marker, at in self._slots.items() if holds(at)]
        return min(own or self.keys, key=lambda marker: abs(self._slots[marker] - slot))

    def held_by(self, holds: Callable[[int], bool]) -> list[str]:
        """Some of the markers on the master that holds the slots for which `holds` is true. May be empty."""
        return [key for key, slot in self._slots.items() if holds(slot)][:LOOKS]

    def verdict(self, values: Sequence[bytes | None], address: str) -> str | None:
        """Why the Redis that holds these markers is not ours; None: it is."""
        if all(value == self.name.encode() for value in values):
            return None
        for value in values:
            name, _, written = (value or b"").partition(b" ")
            if name == self.name.encode() and written.isdigit() and int(written) > FORMAT:
                return (
                    f"Redis at {address} holds data of format {int(written)}, which a newer pushctl wrote; this one "
                    f"({__version__}) knows formats up to {FORMAT}: upgrade it, or restore the backup made before the "
                    "upgrade"
                )
        if any(value is not None and value != self.name.encode() for value in values):
            return (
                f"Redis at {address} is another installation's: set redis.prefix, or redis.url, or identity.keys_file"
            )
        return (
            f"Redis at {address} does not hold what installation {self.name} stored there: it was emptied, or is a new "
            "one. Restore its data; or accept the loss with `pushctl doctor --adopt`"
        )

    def signs_of_life(self) -> list[tuple[str, str]]:
        """Commands whose replies are all 0 in a registry that nobody has used yet."""
        return [("EXISTS", key) for key in self._used]

    def any_marks(self) -> list[tuple[str, str]]:
        """The same, of markers whosever they are."""
        return [("EXISTS", key) for key in self.keys]

    def marks(self) -> list[tuple[str, str, str, str]]:
        """Commands that make this registry ours, but for what is another's."""
        return [("SET", key, self.name, "NX") for key in self.keys]
