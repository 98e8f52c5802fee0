"""What one connection brings, applied to the store in the right portions.

Owns: the pages of a snapshot until the last one is there, and which cursor may be acknowledged.
Promises: a snapshot is applied whole or not at all; nothing is acknowledged that is not in the store; a server that
mixes other events into a snapshot is refused (FrameInvalid), because its cursor would then claim too much.
Must not know: sockets, time, who displays, what keeps it (a database, or less).
"""

from collections.abc import Sequence
from typing import Protocol

from pushctl.client import events
from pushctl.protocol import frames
from pushctl.protocol.frames import FrameInvalid, Urgency


class Keeper(Protocol):
    """What keeps what a device was told: a Store, or a ledger of a swarm. Each call is all or nothing."""

    def apply_event(self, event: frames.Event, min_urgency: Urgency) -> list[events.Event]: ...

    def apply_delta(self, page: frames.DeltaFrame, min_urgency: Urgency) -> list[events.Event]: ...

    def apply_snapshot(self, pages: Sequence[frames.SnapshotFrame]) -> list[events.Event]: ...


class Intake:
    """Of one connection, or of one sync over HTTP: made anew for the next."""

    __slots__ = (
        "_delta_events",
        "_min_urgency",
        "_pages",
        "_store",
        "frames_unacknowledged",
        "unacknowledged",
    )

    def __init__(self, store: Keeper, min_urgency: Urgency) -> None:
        self._store = store
        self._min_urgency = min_urgency
        self._pages: list[frames.SnapshotFrame] = []
        self._delta_events = 0
        self.unacknowledged: str | None = None
        """The cursor up to which everything is in the store, until `acknowledged` takes it."""
        self.frames_unacknowledged = 0

    def take(self, frame: frames.Event | frames.DeltaFrame | frames.SnapshotFrame) -> list[events.Event]:
        """Applies a frame; returns what is to be told. Raises FrameInvalid."""
        if isinstance(frame, frames.SnapshotFrame):
            return self._take_snapshot(frame)
        ephemeral = isinstance(frame, frames.MessageEvent) and frame.cursor is None
        if self._pages and not ephemeral:
            raise FrameInvalid("a snapshot was begun and not finished", field="$.type")
        if isinstance(frame, frames.DeltaFrame):
            return self._take_delta(frame)
        news = self._store.apply_event(frame, self._min_urgency)
        if frame.cursor is not None:
            self._owe(frame.cursor)
        return news

    def acknowledged(self) -> str | None:
        """The cursor to acknowledge now, once: None if there is nothing new."""
        cursor, self.unacknowledged = self.unacknowledged, None
        self.frames_unacknowledged = 0
        return cursor

    def _take_delta(self, page: frames.DeltaFrame) -> list[events.Event]:
        news = self._store.apply_delta(page, self._min_urgency)
        self._delta_events += len(page.events)
        self._owe(page.cursor)
        if page.done:
            news.append(events.SyncEvent("delta", self._delta_events, None, None, page.cursor))
            self._delta_events = 0
        return news

    def _take_snapshot(self, page: frames.SnapshotFrame) -> list[events.Event]:
        self._pages.append(page)
        if not page.done:
            return []
        pages, self._pages = self._pages, []
        news = self._store.apply_snapshot(pages)
        assert page.cursor is not None  # or apply_snapshot would have refused it
        self._owe(page.cursor)
        push_urls, messages = (sum(len(p.push_urls) for p in pages), sum(len(p.messages) for p in pages))
        return [*news, events.SyncEvent("snapshot", None, push_urls, messages, page.cursor)]

    def _owe(self, cursor: str) -> None:
        self.unacknowledged = cursor
        self.frames_unacknowledged += 1
