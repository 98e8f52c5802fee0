"""`pushctl broadcast`: set, remove and list the broadcasts that browsers listen to.

Owns: what people type, and exit codes. Must not know: how servers are told (pushctl/registry/broadcasts.py).
"""

import os
import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pushctl import cli

if TYPE_CHECKING:
    from pushctl.config.model import Config

_ID: Final = re.compile(r"[!-~]{1,128}")
_VERSION: Final = re.compile(r"[ -~]{1,256}")

app = typer.Typer()


@app.command(
    epilog=cli.examples(
        "pushctl broadcast remote-settings/monitor_changes '\"1763900000000\"'",
        "pushctl broadcast --list",
        "pushctl broadcast --list --json | jq -c '[.id, .version]'",
        "pushctl broadcast news/edition --remove",
    )
)
def broadcast(
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="What browsers listen to.")] = None,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="What they are told.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="There is no such broadcast any more.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show those there are.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per broadcast.")] = False,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
) -> None:
    """Set a broadcast: connected browsers that listen to it learn its version at once, others with their next hello.

    A broadcast is a name and a version, the same for every browser of the subprotocol push-notification. Firefox
    listens to remote-settings/monitor_changes, whose versions have quotes of their own.

    Exit codes: 0 done, 1 there is no such broadcast, or there are too many.
    """
    import trio

    from pushctl.config.load import load
    from pushctl.errors import ConfigError

    if [list_, remove and id_ is not None and version is None, version is not None and not remove].count(True) != 1:
        raise ConfigError(["give ID and VERSION, or ID --remove, or --list"])
    if id_ is not None and _ID.fullmatch(id_) is None:
        raise ConfigError(["ID has 1 to 128 visible ASCII characters"])
    if version is not None and _VERSION.fullmatch(version) is None:
        raise ConfigError(["VERSION has 1 to 256 printable ASCII characters"])
    loaded = load(config, sets or [], os.environ).config
    if id_ is None:
        trio.run(_list, loaded, json)
    else:
        trio.run(_set, loaded, id_, version)


async def _list(config: "Config", as_json: bool) -> None:
    from pushctl.cli.answers import BroadcastVersion
    from pushctl.client.events import json_line
    from pushctl.registry import open_registry

    async with open_registry(config, name="broadcast") as registry:
        found = (await registry.broadcasts.all()).by_id
    for id_, version in sorted(found.items()):
        print(json_line(BroadcastVersion(id_, version)) if as_json else f"{id_}  {version}")


async def _set(config: "Config", id_: str, version: str | None) -> None:
    from pushctl.errors import Failed, LimitReached
    from pushctl.registry import open_registry

    async with open_registry(config, name="broadcast") as registry:
        try:
            changed = await registry.broadcasts.set(id_, version or "")
        except LimitReached as error:
            raise Failed(error.detail) from None
    if version is None and not changed:
        raise Failed(f"there is no broadcast {id_}")
    print(f"{id_} is {version if changed else f'{version} already'}" if version else f"{id_} is removed")
