"""A live screen of a phone that is in no network: what the tests of its state and of its looks share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pushctl.cli.client.live.icons import Icons
from pushctl.cli.client.live.keyboard import Press
from pushctl.cli.client.live.screen import Deed, Screen
from pushctl.cli.client.live.screen_view import Look, frame
from pushctl.client import events
from pushctl.client.phone import Phone, open_phone
from pushctl.client.store import Store
from pushctl.protocol import frames
from tests.unit.client.builders import SetClock, cursor, message, session

CONNECTED = events.Connected("ws://127.0.0.1:41235/", "s1", "u1", "d1")
SYNCED = events.SyncEvent("delta", 0, None, None, cursor(1))


@asynccontextmanager
async def open_offline_phone(folder: Path, clock: SetClock) -> AsyncIterator[Phone]:
    with Store(folder / "phone.sqlite3", clock) as store:
        store.begin_session(session())
        async with open_phone(store, api_url="http://127.0.0.1:1", boxoffice_url="http://127.0.0.1:1") as opened:
            yield opened


def arrive(phone: Phone, *names: str) -> None:
    for number, name in enumerate(names):
        later = f"2027-01-15T08:00:{number:02}.000Z"
        phone.store.apply_event(frames.MessageEvent(cursor(number), message(name, sent_at=later)), "very-low")


def press(screen: Screen, *keys: str) -> Deed | None:
    """What the last of these keys asked for."""
    deed = None
    for key in keys:
        deed = screen.press(Press(key))
    return deed


def shown(screen: Screen, width: int = 80, height: int = 24, look: Look | None = None) -> list[str]:
    return [line.plain.rstrip() for line in frame(screen, look or Look(Icons()), width, height)]


def rows(screen: Screen) -> list[str]:
    """Mark of the selection, mark of the unread, and text of each message shown."""
    return [line[:4].replace(" ", "") + line.rpartition("— ")[2] for line in shown(screen) if line[2:3] in ("●", "○")]
