"""Which broadcasts one browser listens to, and what it knows of them: without I/O.

Owns: the comparison. Promises: a version is told once; what is no broadcast is said once, when it is asked for, and
told as soon as it is one. Must not know: connections.
"""

from collections.abc import Mapping

from pushctl.protocol.mozilla import MAX_BROADCASTS, Versions


class Listening:
    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def ask(self, wanted: Mapping[str, str], current: Mapping[str, str]) -> Versions:
        """The browser listens to these, too, and knows these versions: what is other by now."""
        for id_, version in wanted.items():
            if id_ in self._known or len(self._known) < MAX_BROADCASTS:
                self._known[id_] = version
        told: Versions = {}
        told.update(self.changes(current, of=wanted))
        unknown = {id_: "Broadcast not found" for id_ in wanted if id_ not in current}
        if unknown:
            told["errors"] = unknown
        return told

    def changes(self, current: Mapping[str, str], of: Mapping[str, str] | None = None) -> dict[str, str]:
        """What is other than the browser knows, of these or of all that it listens to; it knows it then."""
        ids = [id_ for id_ in (of or self._known) if id_ in self._known and id_ in current]
        changed = {id_: current[id_] for id_ in ids if self._known[id_] != current[id_]}
        self._known.update(changed)
        return changed
