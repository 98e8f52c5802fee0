"""`pushctl stats`: what the shared registry says, for people as tables, for machines as JSON lines or for Prometheus.

Owns: the options and what they mean together. Must not know: how it is gathered (pushctl/overview), how it looks
(view.py), when it looks (watch.py).
"""

import os
from typing import Annotated

import typer

from pushctl import cli
from pushctl.cli import values

app = typer.Typer()


@app.command(
    epilog=cli.examples(
        "pushctl stats",
        "pushctl stats --watch 2s                # in place, with trends",
        "pushctl stats servers --sort fill --top 10",
        "pushctl stats --json --config conf.d | jq '.warnings[].text'",
        "pushctl stats --json --watch 10s >> stats.jsonl",
        "pushctl stats --prom > pushctl.prom     # for node_exporter",
        "pushctl stats servers --expect 3        # exit 3 when fewer than 3 live",
        "pushctl stats --set redis.url=unix:///run/redis.sock",
    )
)
def stats(
    section: Annotated[
        str | None,
        typer.Argument(metavar="SECTION", help="servers, users, messages, routing or redis; all without it."),
    ] = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    watch: Annotated[
        float | None,
        typer.Option("--watch", metavar="DURATION", parser=values.duration, help="Look again this often."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per look, a line each.")] = False,
    prom: Annotated[bool, typer.Option("--prom", help="Prometheus text.")] = False,
    expect: Annotated[
        int | None, typer.Option("--expect", min=0, metavar="N", help="Exit 3 unless so many socket servers live.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="ORDER",
            help="Servers by id; or most first: connections, fill, messages, lag, cpu, memory, seen.",
        ),
    ] = "id",
    top: Annotated[int, typer.Option("--top", min=0, metavar="N", help="So many servers in the table; 0: all.")] = 0,
) -> None:
    """What the shared registry says, with the age of every row. Redis is all it asks.

    What is out of the ordinary comes first, in words. Figures a second are of the last ten seconds, by the processes'
    own count; those of Redis are between two looks with --watch. Users and unread messages are as gc last counted.

    On a terminal --watch redraws in place until q; elsewhere it prints each look. While Redis is away it says so and
    goes on trying. docs/operations.md lists every name of --json and --prom.

    Exit codes: 0 done, 3 fewer servers than --expect, 5 Redis cannot be reached at the start, 130 after Ctrl-C. q and
    Ctrl-C leave the last look on the screen.
    """
    import trio

    from pushctl.cli.stats.table import SORTS, Look
    from pushctl.cli.stats.watch import AS_JSON, AS_PROM, AS_TABLES, Wish, show
    from pushctl.config.load import load
    from pushctl.overview import SECTIONS

    if section is not None and section not in SECTIONS:
        raise typer.BadParameter(f"{section!r} is not a section: {', '.join(SECTIONS)}")
    order = next((each for each in SORTS if each == sort), None)
    if order is None:
        raise typer.BadParameter(f"--sort {sort!r}: one of {', '.join(SORTS)}")
    if prom and as_json:
        raise typer.BadParameter("--json or --prom, not both")
    if watch is not None and watch < 0.1:
        raise typer.BadParameter("--watch: at least 100ms, so that Redis is not kept busy by who only looks")
    loaded = load(config, sets or [], os.environ)
    style = AS_PROM if prom else AS_JSON if as_json else AS_TABLES
    trio.run(show, loaded.config, Wish(Look(section, sort=order, top=top), style, watch, expect))
