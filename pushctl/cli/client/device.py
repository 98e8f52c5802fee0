"""What the commands of `pushctl client` share: the phone of a profile, and how one thing is printed.

Owns: where the service's URLs come from, and stdout and stderr of these commands.
Promises: a flag comes before the environment, that before what the profile remembers, that before the default. Every
line is flushed.
Must not know: what the commands do.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from pushctl.cli import suggestions
from pushctl.cli.values import server_url
from pushctl.errors import Failed

if TYPE_CHECKING:
    from pushctl.client.events import Event
    from pushctl.client.phone import Phone
    from pushctl.client.store import Store

T = TypeVar("T")

Profile = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Which simulated device: each has a file of its own.",
        autocompletion=suggestions.profiles,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on stdout.")]

DEFAULT_URLS: Final = {"api": "http://127.0.0.1:8080", "boxoffice": "http://127.0.0.1:8081"}
ApiUrl = Annotated[
    str | None,
    typer.Option("--api", parser=server_url, metavar="URL", help="The client API.", show_default=DEFAULT_URLS["api"]),
]
BoxofficeUrl = Annotated[
    str | None,
    typer.Option(
        "--boxoffice", parser=server_url, metavar="URL", help="The Box Office.", show_default=DEFAULT_URLS["boxoffice"]
    ),
]
URL_VARIABLES: Final = {"api": "PUSHCTL_CLIENT_API", "boxoffice": "PUSHCTL_CLIENT_BOXOFFICE"}


def with_phone(
    profile: str, act: "Callable[[Phone], Awaitable[T]]", *, api: str | None = None, boxoffice: str | None = None
) -> T:
    """Runs `act` with the phone of a profile; the store and all connections are closed when it is over."""
    import trio

    from pushctl.client.phone import open_phone
    from pushctl.client.profile import profile_path
    from pushctl.client.store import Store

    async def main() -> T:
        with Store(profile_path(profile, os.environ)) as store:
            api_url = _url("api", api, store)
            boxoffice_url = _url("boxoffice", boxoffice, store)
            async with open_phone(store, api_url=api_url, boxoffice_url=boxoffice_url) as phone:
                return await act(phone)

    return trio.run(main)


def _url(setting: str, flag: str | None, store: "Store") -> str:
    return said_url(setting, flag) or store.setting(setting) or DEFAULT_URLS[setting]


def said_url(setting: str, flag: str | None) -> str | None:
    """What the flag says, or the environment."""
    from_environment = os.environ.get(URL_VARIABLES[setting])
    if flag is None and from_environment:
        return server_url(from_environment)
    return flag


async def whole_ids(phone: "Phone", beginnings: Sequence[str]) -> list[str]:
    """The ids of the messages that begin so. What is not here may be newer than what this device has: it is brought up
    to date first. Failed for what is not there then, either."""
    if not all(phone.store.message_ids(beginning) for beginning in beginnings):
        await phone.sync()
    return [_whole_id(phone.store, beginning) for beginning in beginnings]


def _whole_id(store: "Store", beginning: str) -> str:
    found = store.message_ids(beginning)
    if not found:
        raise Failed(f"no message here has the id {beginning!r}: `pushctl client messages` lists those there are")
    if len(found) > 1 and beginning not in found:
        raise typer.BadParameter(f"{len(found)} messages begin with {beginning!r}: give more of the id")
    return beginning if beginning in found else found[0]


def print_one(json: bool, value: Any, human: Any) -> None:
    """One line on stdout, flushed: JSON, or for people (in colour on a terminal)."""
    if json:
        from msgspec.json import encode

        print(encode(value).decode(), flush=True)
    else:
        _console().print(human, soft_wrap=True)


def shower(json: bool, *, all_to_stderr: bool = False) -> "Callable[[Event], None]":
    """Prints events: as JSON, or for people with the time, news of the connection (or `all`) on stderr."""

    def show(event: "Event") -> None:
        from pushctl.cli.client.lines import event_line, is_data, with_time

        if json:
            print_one(True, event, None)
        else:
            _console(stderr=all_to_stderr or not is_data(event)).print(with_time(event_line(event)), soft_wrap=True)

    return show


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _console(*, stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)
