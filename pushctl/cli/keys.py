"""`pushctl keys`: the secrets that the service needs.

Owns: the command. Promises: no secret is ever printed, and a file that is there is never overwritten.
Must not know: what the keys are for (identity/keys.py).
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pushctl import cli
from pushctl.config.render import toml_value
from pushctl.identity.keys import Keys

app = typer.Typer(
    help="Make the secrets that the service needs.",
    no_args_is_help=True,
    epilog=cli.examples("pushctl keys new /etc/pushctl/keys.toml"),
)


@app.callback()
def _keys() -> None:
    """Make the secrets that the service needs."""


@app.command(epilog=cli.examples("pushctl keys new", "sudo -u pushctl pushctl keys new /etc/pushctl/keys.toml"))
def new(
    file: Annotated[Path, typer.Argument(help="Where to write; must not be there yet.")] = Path("keys.toml"),
) -> None:
    """Make a keys file (mode 0600) and print the line of configuration that names it.

    All roles of an installation share one file. Keep a copy in a safe place: without it nobody's push URLs open.
    """
    Keys.generate().write(file)
    print("pushctl: in 10-common.toml, under [identity]:", file=sys.stderr)
    print(f"keys_file = {toml_value(str(file.absolute()))}")
