"""`pushctl undrain`: a socket server that drains takes clients again.

Owns: what people type, and exit codes. Must not know: how a server is asked (pushctl/emptying.py).
"""

import os
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pushctl import cli
from pushctl.cli import values
from pushctl.cli.drain import By, Server

if TYPE_CHECKING:
    from pushctl.config.model import Config

PATIENCE_SECONDS: Final = 15.0

app = typer.Typer()


@app.command(
    epilog=cli.examples(
        "pushctl undrain s1 --config conf.d",
        "pushctl undrain s1 --no-wait",
        "pushctl undrain s1 && pushctl stats servers --expect 3",
    )
)
def undrain(
    server: Server,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it is ready again, or at once.")] = True,
    by: By = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
) -> None:
    """Take a `pushctl drain` back, half-way or when it is over: the server takes clients again.

    Those who were told to leave and have not yet still go; nobody else is sent away. Of a server that does not drain
    nothing is changed. A server that was sent SIGTERM ends whatever is said here.

    Exit codes: 0 ready, 1 it has died or left, 2 no such server, 4 not ready in time.
    """
    import trio

    from pushctl.config.load import load

    loaded = load(config, sets or [], os.environ)
    trio.run(_undrain, loaded.config, server.strip(), by or values.whoami(), wait)
    print(f"{server.strip()} {'takes clients again' if wait else 'was asked to take clients again'}")


async def _undrain(config: "Config", server: str, by: str, wait: bool) -> None:
    import trio

    from pushctl import emptying
    from pushctl.cli.reach import reached
    from pushctl.errors import TimedOut

    async with reached(config, name="undrain") as registry:
        row = await emptying.find(registry, server)
        await emptying.ask_to_be_ready(registry, row, by=by)
        if not wait:
            return
        try:
            with trio.fail_after(PATIENCE_SECONDS):
                await emptying.wait_until_ready(registry, row)
        except trio.TooSlowError:
            raise TimedOut(f"{server} still drains after {PATIENCE_SECONDS:g} s") from None
