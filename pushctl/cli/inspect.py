"""`pushctl inspect`: one user, message, push URL or socket server in full, with why it is where it is.

Owns: what people type, and exit codes: 1 for what is not there. Promises: nothing that is typed is repeated, for it may
be a secret; nothing is written anywhere.
Must not know: what a report says (pushctl/inspection), how it looks (inspect_view.py).
"""

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer
from typer.core import TyperCommand

from pushctl import cli
from pushctl.cli.values import first_line_of

if TYPE_CHECKING:
    from pushctl.config.model import Config
    from pushctl.identity.sealing import Sealer
    from pushctl.registry import Registry

T = TypeVar("T")

app = typer.Typer(
    cls=cli.Group,
    no_args_is_help=True,
    epilog=cli.examples(
        "pushctl inspect user 6fGZ0uMe7nqv1rkDyq0hvA --config conf.d",
        "pushctl inspect push-url @push_url.txt --config conf.d",
        "pushctl inspect message 6fGZ0uMe7nqv1rkDyq0hvA/17 --config conf.d",
        "pushctl inspect server s1 --json | jq -r '.why[]'",
    ),
)

_DASHED_ID: Final = re.compile(r"-[A-Za-z0-9_-]{11,}(/[A-Za-z0-9_-]+)?")


class _Look(TyperCommand):
    """Takes an id that begins with a dash, as one in 64 does, for what it is. No option here is so long."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ids = [] if "--" in args else [arg for arg in args if _DASHED_ID.fullmatch(arg)]
        if ids:
            args = [*(arg for arg in args if arg not in ids), "--", *ids]
        return super().parse_args(ctx, args)


Json = Annotated[bool, typer.Option("--json", help="One JSON object, on one line.")]


@app.callback()
def _inspect() -> None:
    """Look at one user, push URL, message or socket server in full, with why it is where it is.

    Redis is all that is asked ([redis] url), and nothing is changed. What is not there is exit code 1, with what is
    known of it. Push URLs, message ids and what messages say are never shown.
    """


@app.command(
    cls=_Look,
    epilog=cli.examples(
        "pushctl inspect user 6fGZ0uMe7nqv1rkDyq0hvA",
        "pushctl inspect user 6fGZ0uMe7nqv1rkDyq0hvA --json | jq .unread.messages",
    ),
)
def user(
    user_id: Annotated[str, typer.Argument(metavar="ID", help="The user's id, as in the logs.")],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    as_json: Json = False,
) -> None:
    """A user's inbox: its log, unread messages, push URLs; which devices are behind, by how much and why."""
    from pushctl.cli.inspect_view import user_view
    from pushctl.inspection import inspect_user
    from pushctl.inspection.targets import user_target

    target = _typed(lambda: user_target(user_id.strip()))
    _show(_loaded(config, sets), as_json, user_view, lambda registry, config: inspect_user(registry, config, target))


@app.command(
    "push-url",
    cls=_Look,
    epilog=cli.examples(
        "pushctl inspect push-url @push_url.txt",
        "pushctl inspect push-url 6fGZ0uMe7nqv1rkDyq0hvA/1hG8kkB0yXzQ   # USER/ID",
        "pbpaste | pushctl inspect push-url @- --json | jq .sender_gets",
    ),
)
def push_url(
    id_: Annotated[
        str, typer.Argument(metavar="ID", help="The push URL, its token, @FILE that holds one of them, or USER/ID.")
    ],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    as_json: Json = False,
) -> None:
    """A push URL: whose it is, what a sender gets and why, and which messages wait.

    A push URL is a secret, and arguments can be seen by everybody on this machine: rather give @FILE, or @- for
    standard input. To open one takes the keys file ([identity] keys_file). Exit code 1 unless it is live.
    """
    from pushctl.cli.inspect_view import push_url_view
    from pushctl.errors import Failed
    from pushctl.inspection import inspect_push_url
    from pushctl.inspection.targets import push_url_target

    loaded = _loaded(config, sets)
    target = _typed(lambda: push_url_target(_given(id_), lambda: _sealer(loaded)))
    report = _show(loaded, as_json, push_url_view, lambda registry, config: inspect_push_url(registry, config, target))
    if report.state != "live":
        raise Failed(report.why[0])


@app.command(
    cls=_Look,
    epilog=cli.examples(
        "pushctl inspect message 6fGZ0uMe7nqv1rkDyq0hvA/17   # USER/SEQ, as in logs",
        "pushctl send @push_url.txt Hello --json | jq -r .location > message.txt",
        "pushctl inspect message @message.txt",
    ),
)
def message(
    id_: Annotated[
        str,
        typer.Argument(metavar="ID", help="The message's id or Location, @FILE that holds one of them, or USER/SEQ."),
    ],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    as_json: Json = False,
) -> None:
    """A message: its state and since when, and for each device whether it has it, and why not.

    A message's id is the right to cancel it: rather give @FILE, or @- for standard input. To open one takes the keys
    file ([identity] keys_file). What it says is not shown.
    """
    from pushctl.cli.inspect_view import message_view
    from pushctl.inspection import inspect_message
    from pushctl.inspection.targets import message_target

    loaded = _loaded(config, sets)
    target = _typed(lambda: message_target(_given(id_), lambda: _sealer(loaded)))
    _show(loaded, as_json, message_view, lambda registry, _: inspect_message(registry, target))


@app.command(
    cls=_Look, epilog=cli.examples("pushctl inspect server s1", "pushctl inspect server s1 --json | jq .seen_ms_ago")
)
def server(
    server_id: Annotated[str, typer.Argument(metavar="ID", help="The socket server's id (socket.id).")],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    as_json: Json = False,
) -> None:
    """A socket server: what it says of itself, whether it counts as alive and why, what the Box Office does with it."""
    from pushctl.cli.inspect_view import server_view
    from pushctl.inspection import inspect_server
    from pushctl.inspection.targets import server_target

    target = _typed(lambda: server_target(server_id.strip()))
    _show(
        _loaded(config, sets), as_json, server_view, lambda registry, config: inspect_server(registry, config, target)
    )


def _loaded(config: list[Path] | None, sets: list[str] | None) -> "Config":
    from pushctl.config.load import load

    return load(config, sets or [], os.environ).config


def _given(text: str) -> str:
    return first_line_of(text[1:]) if text.startswith("@") else text


def _typed(read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _sealer(config: "Config") -> "Sealer":
    from pushctl.errors import ConfigError
    from pushctl.identity.keys import Keys
    from pushctl.identity.sealing import Sealer

    keys = Keys.configured(config.identity)
    if keys is None:
        advice = "required to open push URLs and message ids; or give USER/ID, USER/SEQ"
        raise ConfigError([f"identity.keys_file: {advice}"])
    return Sealer(keys)


def _show(
    config: "Config",
    as_json: bool,
    view: Callable[[T], Any],
    ask: "Callable[[Registry, Config], Awaitable[T]]",
) -> T:
    """Ask once and print the report; it is returned, too."""
    import trio

    from pushctl.cli.layout import print_report
    from pushctl.registry import open_registry

    async def look() -> T:
        async with open_registry(config, name="inspect") as registry:
            return await ask(registry, config)

    report = trio.run(look)
    print_report(report, None if as_json else view)
    return report
