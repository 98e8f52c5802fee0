"""`pushctl stats`: what the shared registry says, for people as tables, for machines as JSON lines.

Owns: the tables, `--watch`, `--expect`. Must not know: how it is gathered (pushctl/overview.py).
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
        "pushctl stats servers --watch 2s",
        "pushctl stats --json --config conf.d | tail -1",
        "pushctl stats servers --expect 3        # exit 3 when fewer than 3 live",
        "pushctl stats --set redis.url=unix:///run/redis.sock",
    )
)
def stats(
    section: Annotated[
        str | None, typer.Argument(help="servers, users, messages, routing or redis; all without it.")
    ] = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    watch: Annotated[
        float | None,
        typer.Option("--watch", metavar="DURATION", parser=values.duration, help="Look again this often."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per look, a line each.")] = False,
    expect: Annotated[
        int | None, typer.Option("--expect", min=0, help="Exit 3 unless so many socket servers live.")
    ] = None,
) -> None:
    """What the shared registry says, with the age of every row. Redis is all it asks."""
    import trio

    from pushctl.cli.stats_view import SECTIONS, show
    from pushctl.config.load import load

    if section is not None and section not in SECTIONS:
        raise typer.BadParameter(f"{section!r} is not a section: {', '.join(SECTIONS)}")
    loaded = load(config, sets or [], os.environ)
    trio.run(show, loaded.config, section, watch, as_json, expect)
