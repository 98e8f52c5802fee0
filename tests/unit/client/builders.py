"""Frames and rows for the client's tests: everything has a default, a test says what it is about."""

from typing import Any

from pushctl.client.store import Session
from pushctl.clock import rfc3339
from pushctl.protocol.frames import Message, Notification, PushUrl

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def cursor(seq: int, epoch: str = "a" * 16) -> str:
    return f"{epoch}-{seq}-{seq:016x}"


def message(name: str, *, push_url: str = "p1", **changed: Any) -> Message:
    """A message whose id and body are `name`, sent now, for an hour."""
    fields: dict[str, Any] = {
        "id": name,
        "push_url": push_url,
        "site": "https://news.example",
        "sent_at": rfc3339(NOW_MS),
        "expires_at": rfc3339(NOW_MS + HOUR_MS),
        "urgency": "normal",
        "topic": None,
        "notification": Notification(title="News", body=name),
        "data": None,
        "encoding": None,
        "headers": None,
    }
    return Message(**{**fields, **changed})


def push_url(name: str = "p1", *, site: str = "https://news.example", icon: str | None = None) -> PushUrl:
    return PushUrl(name, site, f"http://127.0.0.1:1/push/{name}", icon, None, rfc3339(NOW_MS))


def session(user: str = "u1", *, login: int = 1, account: str = "alice@dev-idp.localhost") -> Session:
    return Session(f"secret-{login}", user, f"device-of-{user}", "laptop", account, rfc3339(NOW_MS + HOUR_MS))
