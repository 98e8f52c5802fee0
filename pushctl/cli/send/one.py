"""One message of `pushctl send`: to a push URL, and what became of it.

Owns: which of the two arguments is what, what may be left out, and what is printed.
Must not know: HTTP (pushctl/client/sender.py), which options there are (__init__.py).
"""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import typer

from pushctl.cli.values import first_line_of, is_web_url, text_from

if TYPE_CHECKING:
    from pushctl.client.sender import Push, Sent, WaitFor
    from pushctl.webpush.encryption import Subscription

VARIABLE: Final = "PUSHCTL_PUSH_URL"
TIMEOUT_SECONDS: Final = 30.0


def send_one(
    *,
    push_url: str | None,
    message: str | None,
    title: str | None,
    icon: str | None,
    url: str | None,
    tag: str | None,
    ttl: int | None,
    topic: str | None,
    urgency: Literal["very-low", "low", "normal", "high"] | None,
    idempotency_key: str | None,
    encrypt: Path | None,
    vapid: Path | None,
    contact: str | None,
    wait: Literal["stored", "delivered", "read"] | None,
    timeout: float | None,
    json: bool,
) -> None:
    """As typed; None: not said. Raises what the exit code says."""
    import trio

    from pushctl.client.events import json_line
    from pushctl.client.sender import Push
    from pushctl.protocol.frames import Notification
    from pushctl.webpush.signing import VapidKey

    subscription = _subscription(encrypt) if encrypt is not None else None
    known = os.environ.get(VARIABLE) or (subscription.endpoint if subscription else None)
    target, typed = _target_and_message(push_url, message, known)
    body = text_from(typed) if typed is not None else None
    notification = None
    if any(part is not None for part in (title, body, icon, url, tag)):
        if title is None and body is None:
            raise typer.BadParameter("a notification needs a MESSAGE or a --title")
        notification = Notification(title=title, body=body, icon=icon, url=url, tag=tag)
    if wait is not None and ttl == 0:
        raise typer.BadParameter("--ttl 0 is never stored, so there is nothing to --wait for")
    push = Push(
        notification=notification,
        ttl_seconds=ttl,
        topic=topic,
        urgency=urgency,
        idempotency_key=idempotency_key,
        encrypt_for=subscription.keys if subscription else None,
        sign_with=VapidKey.load(vapid) if vapid is not None else None,
        receipt=wait in ("delivered", "read"),
        contact=contact,
    )
    # 201 means stored: nothing is left to wait for then.
    patience = TIMEOUT_SECONDS if timeout is None else timeout
    sent = trio.run(partial(_send, target, push, None if wait == "stored" else wait, patience))
    print(json_line(sent) if json else f"{sent.id}  {sent.state}, ttl {sent.ttl_seconds} s", flush=True)


def _subscription(file: Path) -> "Subscription":
    from pushctl.webpush.encryption import parse_subscription

    try:
        return parse_subscription(file.read_bytes())
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise typer.BadParameter(f"{file}: {error}") from None


async def _send(target: str, push: "Push", wait: "WaitFor | None", seconds: float) -> "Sent":
    import trio

    from pushctl.client import sender
    from pushctl.client.http import open_client, origin_of
    from pushctl.errors import TimedOut

    sent = None
    try:
        with trio.fail_after(seconds):
            async with open_client(target) as client:
                sent = await sender.send(client, target, push)
                return sent if wait is None else await sender.wait_for(client, sent, wait)
    except trio.TooSlowError:
        if sent is None:
            raise TimedOut(f"{origin_of(target)} did not answer within {seconds:g} s") from None
        raise TimedOut(f"message {sent.id} is stored, but was not {wait} within {seconds:g} s") from None


def _target_and_message(first: str | None, second: str | None, variable: str | None) -> tuple[str, str | None]:
    """Which of the arguments is what. Never guesses: with the variable set, one argument that is no web address is the
    message. What is wrong is said without repeating a push URL."""
    if first is None:
        target, message = variable, None
    elif first.startswith(("http://", "https://")):
        target, message = first, second
    elif variable and second is None:
        target, message = variable, first
    elif first.startswith("@"):
        if (first, second) == ("@-", "-"):
            raise typer.BadParameter("the push URL and the message cannot both come from standard input")
        target, message = first_line_of(first[1:]), second
    else:
        raise typer.BadParameter("the first argument is no push URL: give https://..., or @FILE that holds one")
    if not target:
        raise typer.BadParameter(f"give a push URL: https://..., @FILE, or the variable {VARIABLE}")
    if not is_web_url(target):
        raise typer.BadParameter("what should be the push URL is not an http:// or https:// URL")
    return target, message
