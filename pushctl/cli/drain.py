"""`pushctl drain`: empty a running socket server at a pace, and watch it.

Owns: what people type, how the way to the end is shown, and exit codes. Promises: stdout has the result (with --json
every look), stderr the progress; however the watching ends, the drain goes on.
Must not know: how a server is asked (pushctl/emptying.py), how it drains.
"""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pushctl import cli
from pushctl.cli import values

if TYPE_CHECKING:
    from pushctl.config.model import Config
    from pushctl.emptying import Progress

PATIENCE_SECONDS: Final = 30.0
"""Beyond the time that the server was given, unless --timeout says otherwise."""

By = Annotated[
    str | None,
    typer.Option(
        "--by", parser=values.text, metavar="TEXT", help="Who asks, for `pushctl stats` and logs. Default: user@host."
    ),
]
Server = Annotated[str, typer.Argument(metavar="SERVER", help="The socket server's id (socket.id).")]

app = typer.Typer()


@app.command(
    epilog=cli.examples(
        "pushctl drain s1 --config conf.d               # within 5 minutes",
        "pushctl drain s1 --over 30m --by 'ada, OPS-17'",
        "pushctl drain s1 --over 1m && systemctl restart pushctl-socket@s1",
        "pushctl drain s1 --no-wait                     # only ask",
        "pushctl drain s1 --json | jq -c '[.state, .connections]'",
        "pushctl undrain s1                             # changed our mind",
    )
)
def drain(
    server: Server,
    over: Annotated[
        float,
        typer.Option(
            parser=values.duration,
            metavar="DURATION",
            help="How long it may take: its clients leave evenly spread over it.",
            show_default="5m",
        ),
    ] = 300.0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it is empty, or at once.")] = True,
    timeout: Annotated[
        float | None,
        typer.Option(
            parser=values.duration,
            metavar="DURATION",
            help="Stop waiting after so long (exit 4). Default: --over and 30 s.",
        ),
    ] = None,
    by: By = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a second, a line each.")] = False,
) -> None:
    """Send all clients of a running socket server elsewhere, at a pace, and wait until it is empty.

    The Box Office stops naming it, and it takes nobody new; its clients are told in random order when to leave, spread
    evenly over DURATION, and lose nothing. Then it keeps running, empty, until it is stopped, or asked to be ready
    again: `pushctl undrain SERVER`. When it is started anew, it is ready.

    Redis is all that is asked ([redis] url): the server hears of it with its next heartbeat, within 3 s. Ctrl-C ends
    the waiting, not the drain.

    Exit codes: 0 empty (or, with --no-wait, asked), 1 it was restarted, died or was taken back meanwhile, 2 no such
    server, 4 not empty in time.
    """
    import trio

    from pushctl.config.load import load

    loaded = load(config, sets or [], os.environ)
    patience = over + PATIENCE_SECONDS if timeout is None else timeout
    try:
        trio.run(
            _drain, loaded.config, server.strip(), over, by or values.whoami(), patience if wait else None, as_json
        )
    except* KeyboardInterrupt:
        print(f"pushctl: {server} goes on draining; `pushctl undrain {server}` takes it back", file=sys.stderr)
        raise


async def _drain(config: "Config", server: str, over: float, by: str, patience: float | None, as_json: bool) -> None:
    import trio

    from pushctl import emptying
    from pushctl.cli.drain_view import DrainView
    from pushctl.errors import TimedOut
    from pushctl.registry import open_registry

    latest: Progress | None = None
    async with open_registry(config, name="drain") as registry:
        row = await emptying.find(registry, server)
        wish = await emptying.ask_to_drain(registry, row, by=by, over_seconds=over)
        if patience is None:
            print(f"{server} was asked to drain its {row.connections:,} connections over {over:g} s")
            return
        with DrainView(as_json) as view:
            try:
                with trio.fail_after(patience):
                    async for latest in emptying.watch_drain(registry, row, wish):
                        view.show(latest)
            except trio.TooSlowError:
                left = row.connections if latest is None else latest.connections
                raise TimedOut(f"{server} is not empty after {patience:g} s: {left:,} connections left") from None
