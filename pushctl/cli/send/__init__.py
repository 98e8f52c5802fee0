"""`pushctl send`: be a third party and send one message to a push URL, or a load to those of a file.

Owns: what people type, and which form it is: one message (one.py) or a load (load.py).
Must not know: what either does.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from pushctl.cli import examples
from pushctl.cli.values import Sizes, duration, header_text, rate, share, sizes, text, whole_seconds

ONE_MESSAGE: Final = ("push_url", "title", "icon", "url", "tag", "idempotency_key", "encrypt", "wait")
LOAD: Final = (
    "count", "per_second", "seconds", "concurrency", "octets", "warmup", "seed", "max_p99", "max_errors", "csv",
    "histogram",
)  # fmt: skip
"""Parameters that only one of the two forms has."""

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
    "pushctl send --targets targets.txt --rate 100/s --duration 30s --warmup 5s",
    "pushctl send --targets targets.txt --count 10000 --concurrency 64",
    "pushctl send --targets targets.txt --rate 500/s --max-p99 200ms || echo slow",
)


@app.command(epilog=EXAMPLES)
def send(
    context: typer.Context,
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
        float | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="For all of it, 30s. With --targets for each message, 10s.",
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print id, location, ttl_seconds and state as JSON; of a load, the report.")
    ] = False,
    targets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A load: to the push URLs in this file, one a line.", show_default=False),
    ] = None,
    per_second: Annotated[
        float | None,
        typer.Option(
            "--rate",
            parser=rate,
            metavar="RATE",
            help="Open loop: so many are due, however those before fare. Default: closed loop.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--duration", parser=duration, metavar="T", help="How long. Default: 10s, or until --count."),
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many, without warm-up.")] = None,
    warmup: Annotated[
        float | None, typer.Option(parser=duration, metavar="T", help="Sent first so long, and not counted.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=10_000, help="Under way at once, at most. Default: 32.")
    ] = None,
    octets: Annotated[
        Sizes | None,
        typer.Option("--size", parser=sizes, metavar="SIZE", help="Of a message: 200B (default), or 100B-2KiB."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Draws targets and sizes: the same ones again. Default: 1.")
    ] = None,
    max_p99: Annotated[
        float | None,
        typer.Option(parser=duration, metavar="DURATION", help="Exit 3 if 99% did not take at most so long."),
    ] = None,
    max_errors: Annotated[
        float | None,
        typer.Option(parser=share, metavar="SHARE", help="Exit 3 if more were not accepted. Default: 0%."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Add this run to FILE, one row.")
    ] = None,
    histogram: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the raw histogram of latencies (CSV).")
    ] = None,
) -> None:
    """Send one message to a push URL, as a third party would; or with --targets a load to many.

    A push URL is a secret: whoever has it can write to the user. Arguments can be seen by everybody on this machine, so
    rather keep it in a file (@FILE) or in the environment variable PUSHCTL_PUSH_URL; then PUSH_URL may be left out.

    With a MESSAGE alone, the notification has only a body. Without both it is an empty push: something is
    new, nothing is said. Prints the message's id and its state.

    A load goes to the push URLs in FILE (# comments; mode 0600; `pushctl client swarm --targets` writes one), drawn by
    --seed. A line may be a subscription in JSON: then it is encrypted to its keys. With --rate each message is due at a
    moment fixed beforehand, and its latency runs from then: a service that stops for a second cannot hide it. What is
    due and finds no place waits; what waits too long counts as not sent. Refusals are counted, not repeated; a push URL
    that answers 410 gets nothing more. docs/operations.md has all names of the report.

    Exit codes: 0 sent (and what --wait wanted has happened), 1 refused (410: the user revoked the push URL), 2 wrong
    usage, 3 the message died before it was delivered or read, or a load was not good: something not accepted, p99 too
    long; 4 timed out, 5 cannot connect, or the service is busy, 130 Ctrl-C (of a load, after the report).
    """
    given = {name: value for name, value in locals().items() if value is not None}
    if contact is not None and vapid is None:
        raise typer.BadParameter("--contact is part of a signature: give --vapid, too")
    if targets is not None:
        _refuse(context, given, ONE_MESSAGE, "is of one message, not of a load (--targets)")
        _load(targets, given)
        return
    _refuse(context, given, LOAD, "is of a load: give --targets FILE")
    from pushctl.cli.send.one import send_one

    send_one(
        push_url=push_url,
        message=message,
        title=title,
        icon=icon,
        url=url,
        tag=tag,
        ttl=ttl,
        topic=topic,
        urgency=urgency,
        idempotency_key=idempotency_key,
        encrypt=encrypt,
        vapid=vapid,
        contact=contact,
        wait=wait,
        timeout=timeout,
        json=json,
    )


def _refuse(context: typer.Context, given: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    """BadParameter for what belongs to the other form."""
    for parameter in context.command.params:
        if parameter.name in names and parameter.name in given:
            said = parameter.opts[0] if parameter.opts[0].startswith("-") else str(parameter.metavar)
            raise typer.BadParameter(f"{said} {why}")


def _load(targets: Path, given: dict[str, Any]) -> None:
    from pushctl.cli.send.load import Options, send_load

    headers = {"TTL": "ttl", "Topic": "topic", "Urgency": "urgency"}
    send_load(
        Options(
            targets=targets,
            count=given.get("count"),
            rate=given.get("per_second"),
            seconds=given.get("seconds"),
            concurrency=given.get("concurrency"),
            sizes=given.get("octets"),
            warmup_seconds=given.get("warmup"),
            seed=given.get("seed"),
            answer_seconds=given.get("timeout"),
            headers={header: str(given[name]) for header, name in headers.items() if name in given},
            vapid=given.get("vapid"),
            contact=given.get("contact"),
            max_p99_ms=given["max_p99"] * 1000 if "max_p99" in given else None,
            max_errors=given.get("max_errors", 0.0),
            csv=given.get("csv"),
            histogram=given.get("histogram"),
            json=given["json"],
        )
    )
