"""`pushctl send`: be a third party and send one message to a push URL.

Owns: what people type, and what is printed.
Must not know: HTTP (client/sender.py).
"""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from pushctl.cli import examples
from pushctl.cli.values import duration, first_line_of, header_text, is_web_url, text, text_from, whole_seconds

if TYPE_CHECKING:
    from pushctl.client.sender import Push, Sent, WaitFor
    from pushctl.webpush.encryption import Subscription

VARIABLE: Final = "PUSHCTL_PUSH_URL"

app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

EXAMPLES = examples(
    "pushctl send https://push.example/push/AbC... 'Hello'",
    "pushctl send @push_url.txt 'Build finished' --title CI --urgency high",
    "PUSHCTL_PUSH_URL=... pushctl send 'Hello'          # not in the process list",
    "make 2>&1 | tail -3 | pushctl send @push_url.txt - --title make",
    "pushctl send @push_url.txt 'Score 2:1' --topic match-17   # replaces 2:0",
    "pushctl send @push_url.txt 'Lunch?' --wait read --timeout 2m || echo nobody",
    "pushctl send --encrypt subscription.json Hello    # from a browser",
    "pushctl send --encrypt subscription.json Hello --vapid vapid.pem \\",
    "    --contact mailto:ops@news.example",
    "pushctl send @push_url.txt Hello --json | jq -r .location",
)


@app.command(epilog=EXAMPLES)
def send(
    push_url: Annotated[
        str | None,
        typer.Argument(metavar="PUSH_URL", help="Push URL, or @FILE that holds it.", show_default=False),
    ] = None,
    message: Annotated[
        str | None,
        typer.Argument(parser=text, metavar="MESSAGE", help="Text, or - for standard input.", show_default=False),
    ] = None,
    title: Annotated[str | None, typer.Option(parser=text, metavar="TEXT", help="Title of the notification.")] = None,
    icon: Annotated[str | None, typer.Option(parser=text, metavar="URL", help="Icon of the notification.")] = None,
    url: Annotated[str | None, typer.Option(parser=text, metavar="URL", help="What a click opens.")] = None,
    tag: Annotated[
        str | None, typer.Option(parser=text, metavar="TEXT", help="Devices show one notification per tag.")
    ] = None,
    ttl: Annotated[
        int | None,
        typer.Option(
            parser=whole_seconds,
            metavar="DURATION",
            help="How long it is kept for devices that are away: 1h, 90 (seconds); 0 = now or never.",
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(parser=header_text, metavar="TEXT", help="Replaces the unread message of this topic.")
    ] = None,
    urgency: Annotated[
        Literal["very-low", "low", "normal", "high"] | None, typer.Option(help="Devices may filter by it.")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(parser=header_text, metavar="TEXT", help="The same key within 5 minutes stores at most once."),
    ] = None,
    encrypt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Only the device can read it: a subscription's JSON with its keys; PUSH_URL may then be left out.",
            show_default=False,
        ),
    ] = None,
    vapid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Sign with this key (`pushctl keys vapid` makes one).", show_default=False),
    ] = None,
    contact: Annotated[
        str | None,
        typer.Option(
            parser=header_text, metavar="URL", help="With --vapid: who can be asked, mailto:... or https://..."
        ),
    ] = None,
    wait: Annotated[
        Literal["stored", "delivered", "read"] | None,
        typer.Option(help="Wait until this has happened; exit 4 if it does not within --timeout."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(parser=duration, metavar="DURATION", help="For all of it.", show_default="30s")
    ] = 30.0,
    json: Annotated[bool, typer.Option("--json", help="Print id, location, ttl_seconds and state as JSON.")] = False,
) -> None:
    """Send one message to a push URL, as a third party would.

    A push URL is a secret: whoever has it can write to the user. Arguments can be seen by everybody on this machine, so
    rather keep it in a file (@FILE) or in the environment variable PUSHCTL_PUSH_URL; then PUSH_URL may be left out.

    With a MESSAGE alone, the notification has only a body. Without both it is an empty push: something is
    new, nothing is said. Prints the message's id and its state.

    Exit codes: 0 sent (and what --wait wanted has happened), 1 refused (410: the user revoked the push URL), 2 wrong
    usage, 3 the message died before it was delivered or read, 4 timed out, 5 cannot connect, or the service is busy.
    """
    import trio

    from pushctl.client.events import json_line
    from pushctl.client.sender import Push
    from pushctl.protocol.frames import Notification
    from pushctl.webpush.signing import VapidKey

    subscription = _subscription(encrypt) if encrypt is not None else None
    if contact is not None and vapid is None:
        raise typer.BadParameter("--contact is part of a signature: give --vapid, too")
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
    sent = trio.run(partial(_send, target, push, None if wait == "stored" else wait, timeout))
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
