"""`pushctl doctor`: is all in place? Says what was found, what it means and what to change.

Owns: the options and exit codes. Must not know: what is asked, how it is told (doctor_view.py).
"""

import os
from typing import Annotated

import typer

from pushctl import cli
from pushctl.cli import suggestions, values

app = typer.Typer()


@app.command(
    epilog=cli.examples(
        "pushctl doctor --config /etc/pushctl/conf.d",
        "pushctl doctor socket --set socket.id=s1       # all that this role needs",
        "pushctl doctor --set redis.url=unix:///run/redis.sock",
        "pushctl doctor --adopt         # Redis lost everything, and that is accepted",
        """pushctl doctor --json | jq -r 'select(.verdict == "bad") | .check'""",
    )
)
def doctor(
    roles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ROLE", autocompletion=suggestions.roles, help="Roles that run here: check what they need, too."
        ),
    ] = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per finding, a line each.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="First make this Redis the installation's, whatever was lost in it.")
    ] = False,
) -> None:
    """Look at this machine, the configuration and every master of Redis, and say what to change.

    Changes nothing without --adopt. Exit codes: 0 nothing is bad (there may be warnings), 2 the configuration is wrong,
    5 Redis cannot be reached, 3 anything else is bad; of several the first in this order. Limits are those of the shell
    it runs in.
    """
    import trio

    from pushctl.checkup import Here
    from pushctl.cli.doctor_view import Report, examine, examine_unread
    from pushctl.config.load import load
    from pushctl.errors import ConfigError

    named = [values.role(role) for role in roles or []]
    report = Report(as_json=as_json)
    try:
        here = Here(load(config, sets or [], os.environ).config, named)
    except ConfigError as error:
        trio.run(examine_unread, report, error.mistakes)
    else:
        trio.run(examine, report, here, adopt)
    report.finish()
    raise typer.Exit(report.exit_code)
