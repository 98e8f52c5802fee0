"""`pushctl client listen`: one line per event, or a command per message.

Owns: the command's options and its help, which documents the names of its JSON lines.
Must not know: when listening is over (listening.py), how a command is run (execution.py), how lines look (lines.py).
"""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pushctl.cli import examples
from pushctl.cli.client.device import Json, Profile, shower, with_phone
from pushctl.cli.values import duration, text

if TYPE_CHECKING:
    from pushctl.client.phone import Phone

MinUrgency = Annotated[
    Literal["very-low", "low", "normal", "high"],
    typer.Option(help="Only messages of this urgency or above; the others stay unread for later."),
]

EXAMPLES = examples(
    "pushctl client listen",
    "pushctl client listen --json | jq -r 'select(.event == \"message\") | .title'",
    "pushctl client listen --count 1 --for 30s      # exit 4 if nothing comes",
    "pushctl client listen --min-urgency high",
    "pushctl client listen --exec 'notify-send \"$PUSHCTL_TITLE\"' --read",
    "pushctl client listen --exec 'timeout 10 ./handle \"$PUSHCTL_ID\"' --json",
)


def listen(
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after N messages.")] = None,
    for_: Annotated[
        float | None,
        typer.Option(
            "--for", parser=duration, metavar="DURATION", help="Stop after this time; exit 4 if --count is short."
        ),
    ] = None,
    min_urgency: MinUrgency = "very-low",
    keep_trying: Annotated[
        bool, typer.Option("--keep-trying", help="Do not give up (exit 5) when the first connection fails.")
    ] = False,
    exec_: Annotated[
        str | None, typer.Option("--exec", parser=text, metavar="CMD", help="Have `sh -c CMD` run for each message.")
    ] = None,
    read: Annotated[
        bool,
        typer.Option("--read", help="Mark each message read once it was shown; with --exec once CMD ended with 0."),
    ] = False,
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Stay connected and print one line per event, each flushed at once.

    \b
    With --json, each line is an object with "event" and, always all of them:
      connected     server id user device
      sync          mode (delta, snapshot) events push_urls messages cursor;
                    what follows is live
      message       id push_url site title body icon url tag urgency topic data
                    encoding sent_at expires_at received_at latency_ms live cursor
      read          ids
      push_url      id site url icon
      revoked       id site
      dropped       ids reason (replaced, cancelled, evicted, gone)
      disconnected  server code reason next (box_office, server, login, stop)
                    after_ms
      retrying      reason after_ms

    What was missed comes before "sync", with "live": false; "icon" is the push URL's if the message has none; "gone"
    means: not in a snapshot any more.

    With --exec, `sh -c CMD` runs for each message, one at a time and in order, with every member of "message" in its
    environment: PUSHCTL_ID, PUSHCTL_PUSH_URL_ID, PUSHCTL_SITE, PUSHCTL_TITLE, PUSHCTL_BODY, PUSHCTL_URL, PUSHCTL_TAG,
    PUSHCTL_URGENCY, PUSHCTL_TOPIC and so on (empty where there is none), and all of it in PUSHCTL_JSON. Quote them
    ("$PUSHCTL_TITLE"): what they hold was written by whoever has the push URL. A NUL becomes U+FFFD; values above
    64 KiB are cut, and PUSHCTL_CUT names them. Standard input is empty; standard output is CMD's, so our lines go to
    standard error, or the other way round with --json. A CMD that fails is said on standard error. Without --read
    each message is tried once. With --read a message stays unread until CMD ended with 0, and what is unread comes
    first at the next start: each is tried until it is done or expires. CMD ends when this does.

    A lost connection is made again, with growing pauses. Exit codes: 0 after --count or --for, 1 if the session ended
    or another client uses this profile, 3 if CMD failed or was ended by --for, 4 if --for ended before --count, 5 if
    the service cannot be reached, 130 after Ctrl-C.
    """
    from pushctl.cli.client.execution import Execution, judged
    from pushctl.cli.client.listening import listen as listening

    execution = Execution(exec_, to_stderr=json) if exec_ is not None else None

    async def act(phone: "Phone") -> None:
        show = shower(json, all_to_stderr=execution is not None)
        await listening(
            phone,
            show,
            count=count,
            seconds=for_,
            min_urgency=min_urgency,
            keep_trying=keep_trying,
            execution=execution,
            read=read,
        )

    with judged(execution):
        with_phone(profile, act)
