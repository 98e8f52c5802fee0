"""`pushctl client swarm`: be thousands of devices at once, and report what became of them.

Owns: the options, the file of push URLs, and the exit code.
Promises: on stdout there is the report and nothing else; Ctrl-C ends the run early and still gives it; push URLs go to
a file that only its owner can read, and are never printed.
Must not know: devices (pushctl/client/fleet.py), how a report looks (swarm_view.py).
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from pushctl.cli import examples
from pushctl.cli.client.device import DEFAULT_URLS, ApiUrl, BoxofficeUrl, said_url, say
from pushctl.cli.values import duration, rate, share, site
from pushctl.collector import Collector
from pushctl.errors import Failed, NotGood, Unreachable

if TYPE_CHECKING:
    from pushctl.client.fleet import Plan
    from pushctl.client.report import Report

DEFAULT_SITE: Final = "https://swarm.example"

EXAMPLES: Final = examples(
    "pushctl client swarm --users 100 --devices 2 --duration 1m",
    "pushctl client swarm --users 5000 --arrivals 500/s --duration 10m",
    "pushctl client swarm --users 1000 --targets targets.txt --read 50%",
    "pushctl client swarm --users 2000 --json | jq '{lost, latency_ms}'",
    "pushctl client swarm --api https://push.example \\",
    "    --boxoffice https://where.push.example",
)


def swarm(
    users: Annotated[int, typer.Option(metavar="N", min=1, help="So many users, new ones for this run.")] = 100,
    devices: Annotated[int, typer.Option(metavar="M", min=1, max=50, help="Devices of each user.")] = 1,
    seconds: Annotated[
        float,
        typer.Option(
            "--duration", parser=duration, metavar="T", help="How long to stay once all set out.", show_default="1m"
        ),
    ] = 60.0,
    arrivals: Annotated[
        float, typer.Option(parser=rate, metavar="RATE", help="How fast they come.", show_default="100/s")
    ] = 100.0,
    allow: Annotated[
        str | None,
        typer.Option(
            parser=site,
            metavar="SITE",
            help="The site of the push URLs.",
            show_default=f"{DEFAULT_SITE}, with --targets",
        ),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Where to write a push URL of each user, one a line."),
    ] = None,
    read: Annotated[
        float,
        typer.Option(parser=share, metavar="SHARE", help="How much of it each device marks read.", show_default="0%"),
    ] = 0.0,
    min_urgency: Annotated[
        Literal["very-low", "low", "normal", "high"],
        typer.Option(help="Only messages of this urgency or above. Then events left out cannot be seen."),
    ] = "very-low",
    keep: Annotated[bool, typer.Option("--keep", help="Do not delete the accounts at the end.")] = False,
    api: ApiUrl = None,
    boxoffice: BoxofficeUrl = None,
    json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Be thousands of devices in one process, and report what became of them.

    Logs in N users with M devices each at the development identity provider, connects them at the given rate, and keeps
    them connected as `pushctl client run` would: the Box Office's list in order, growing random pauses, Retry-After,
    close codes, cursors. In the end it asks the service what each user has unread, and whether each device has it.

    With --targets, each user allows SITE, and FILE (mode 0600) holds the push URLs for a sender once all are logged in.
    A push URL is a secret, and dies with the account at the end of the run.

    \b
    With --json, the report is one object; counts are of all devices together:
      users devices seconds logged_in connected ever_connected
      received_live received_later  messages as they were sent, and by a sync
      lost       unread at the service, and never told to a device that was
                 told of later ones
      skipped    events left out within a connection
      duplicate reordered
      behind     messages that were still to come when it ended
      unchecked  users of whom it could not be found out
      deltas snapshots reads reads_confirmed
      refused_by_api refused_by_boxoffice refused_by_servers unreachable
      disconnects given_up          by close code; 1006 = without one
      connect_ms latency_ms         p50 p90 p99 max
    latency_ms is from a message's sent_at, by the service's clock, to when
    the device had it, by this host's: run both on one, or mind the difference.

    One process can hold as many connections as it may open files. Ctrl-C ends the run and gives the report; again, it
    skips the checks. Exit codes: 0 all well, 3 not: something lost, skipped, duplicate or reordered, users unchecked,
    or not all devices connected at the end; 5 no device could connect; 130 after Ctrl-C.
    """
    import trio

    from pushctl.client.fleet import Plan

    if allow is not None and targets is None:
        raise typer.BadParameter("--allow needs --targets FILE: nobody could use the push URLs otherwise")
    plan = Plan(
        api_url=said_url("api", api) or DEFAULT_URLS["api"],
        boxoffice_url=said_url("boxoffice", boxoffice) or DEFAULT_URLS["boxoffice"],
        users=users,
        devices=devices,
        seconds=seconds,
        arrivals=arrivals,
        site=(allow or DEFAULT_SITE) if targets is not None else None,
        read_share=read,
        min_urgency=min_urgency,
        keep=keep,
    )
    trio.run(_run, plan, targets, json)


async def _run(plan: "Plan", targets: Path | None, json: bool) -> None:
    """Raises what the exit code says."""
    from pushctl.cli.client.swarm_view import print_swarm, watched
    from pushctl.cli.interrupts import interruptible
    from pushctl.client.fleet import Fleet
    from pushctl.client.http import open_client

    def ready(push_urls: list[str]) -> None:
        if targets is not None:
            write_targets(targets, push_urls)
            say(f"{len(push_urls):,} push URLs in {targets}")

    async with open_client(plan.api_url, plan.boxoffice_url) as client:
        fleet = Fleet(plan, client, ready=ready)
        # Else it would stop us for seconds, and that would be taken for the service's latency.
        with Collector() as collector:
            collector.begin()
            async with watched(fleet):
                found = await interruptible(fleet.run, fleet.interrupt)
    print_swarm(found, json=json)
    if fleet.was_interrupted:
        raise KeyboardInterrupt
    raise_unless_good(found)


def raise_unless_good(found: "Report") -> None:
    """Unreachable or NotGood, in words."""
    if not found.ever_connected:
        raise Unreachable("no device could connect")
    if found.is_good:
        return
    wrong = [f"{getattr(found, name):,} {name}" for name in ("lost", "skipped", "duplicate", "reordered")]
    said = [words for words in wrong if not words.startswith("0 ")]
    if found.connected < found.devices:
        said.append(f"{found.devices - found.connected:,} of {found.devices:,} devices not connected at the end")
    if found.unchecked:
        said.append(f"{found.unchecked:,} users could not be checked")
    raise NotGood("not good: " + ", ".join(said))


def write_targets(path: Path, push_urls: list[str]) -> None:
    """One a line, mode 0600, all at once: who waits for the file never sees a part of it. Failed if it cannot be."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(f"{push_url}\n" for push_url in push_urls)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise Failed(f"{path}: {error.strerror}") from None
