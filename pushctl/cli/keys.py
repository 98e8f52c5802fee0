"""`pushctl keys`: the secrets that the service and its senders need.

Owns: the commands. Promises: no secret is ever printed, and a file that is there is never overwritten.
Must not know: what the keys are for (identity/keys.py, webpush/signing.py).
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from pushctl import cli
from pushctl.config.render import toml_value
from pushctl.identity.keys import Keys
from pushctl.webpush.signing import VapidKey

app = typer.Typer(
    help="Make the secrets that the service and its senders need.",
    no_args_is_help=True,
    epilog=cli.examples("pushctl keys new /etc/pushctl/keys.toml", "pushctl keys vapid vapid.pem"),
)


@app.callback()
def _keys() -> None:
    """Make the secrets that the service and its senders need."""


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


@app.command(
    epilog=cli.examples(
        "pushctl keys vapid", "pushctl client allow news.example --web-push --vapid-key $(pushctl keys vapid site.pem)"
    )
)
def vapid(
    file: Annotated[Path, typer.Argument(help="Where to write; must not be there yet.")] = Path("vapid.pem"),
) -> None:
    """Make a sender's key (VAPID, RFC 8292; PEM, mode 0600) and print its public half.

    The public half is what a page passes as applicationServerKey; `pushctl send --vapid` and other senders sign with
    the file.
    """
    key = VapidKey.generate()
    key.write(file)
    print(key.public)
