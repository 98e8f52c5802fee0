"""`pushctl client identities | link | unlink | devices | remove`: who may log in to the account, and on what.

Owns: these commands' options and what each prints.
Promises: with --json every line on stdout is one JSON object with the names of docs/protocol.md, section 1.
Must not know: HTTP, SQLite (pushctl/client/), how the other commands look (lines.py).
"""

from typing import TYPE_CHECKING, Annotated

import typer

from pushctl.cli import examples
from pushctl.cli.client.device import Json, Profile, print_one, say, with_phone
from pushctl.cli.values import first_line_of, text
from pushctl.client.foreign import printable

if TYPE_CHECKING:
    from pushctl.client.api import DeviceRow, IdentityRow
    from pushctl.client.phone import Phone

LINK_EXAMPLES = examples(
    "pushctl client link work         # another name at the development provider",
    "get-assertion | pushctl client link --assertion -",
    "get-token | pushctl client link --token-file - --provider accounts",
)
IDENTITIES_EXAMPLES = examples("pushctl client identities", "pushctl client identities --json | jq -r .id")
UNLINK_EXAMPLES = examples("pushctl client unlink Xq3rT0aBcD4e")
DEVICES_EXAMPLES = examples("pushctl client devices", "pushctl client devices --profile phone --json")
REMOVE_EXAMPLES = examples("pushctl client remove Xq3rT0aBcD4e     # a device that was lost")


def link(
    name: Annotated[
        str | None, typer.Argument(parser=text, metavar="NAME", help="User of the development identity provider.")
    ] = None,
    assertion: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A backed assertion of the other identity; - = standard input."),
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A token of an OpenID provider; - = standard input.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(parser=text, metavar="NAME", help="Which OpenID provider the token is of.")
    ] = None,
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Let another identity log in to this account.

    The service asks for both: the session of this profile, and a fresh proof of the other identity. One that has logged
    in before has an account of its own and is refused.
    """
    if sum(way is not None for way in (name, assertion, token_file)) != 1:
        raise typer.BadParameter("give one of NAME, --assertion FILE and --token-file FILE")
    if provider is not None and token_file is None:
        raise typer.BadParameter("--provider goes with --token-file")
    credential = None
    if assertion is not None:
        credential = f"BrowserID {first_line_of(assertion)}"
    elif token_file is not None:
        credential = f"Bearer {first_line_of(token_file)}"

    async def act(phone: "Phone") -> "IdentityRow":
        if credential is not None:
            return await phone.link_with(credential, provider)
        return await phone.link(name or "")

    identity = with_phone(profile, act)
    print_one(json, identity, f"linked: identity {identity.id} ({printable(identity.provider)})")


def identities(profile: Profile = "default", json: Json = False) -> None:
    """List the identities that may log in to this account. Who they are at their providers is stored nowhere."""

    async def act(phone: "Phone") -> "list[IdentityRow]":
        return await phone.identities()

    for each in with_phone(profile, act):
        here = "  this device's" if each.current else ""
        said = f"{each.id}  {printable(each.provider)}  linked {each.linked_at}  last used {each.last_used_at}{here}"
        print_one(json, each, said)


def unlink(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `pushctl client identities` shows it.")],
    profile: Profile = "default",
) -> None:
    """Take an identity from this account, never the last: it may not log in any more, and what it opened ends."""

    async def act(phone: "Phone") -> None:
        await phone.unlink(identity)

    with_phone(profile, act)
    say("unlinked")


def devices(profile: Profile = "default", json: Json = False) -> None:
    """List the devices of this user, the oldest first."""

    async def act(phone: "Phone") -> "list[DeviceRow]":
        return await phone.devices()

    for each in with_phone(profile, act):
        state = "connected" if each.connected else "away"
        here = "  this one" if each.current else ""
        print_one(json, each, f"{each.id}  {printable(each.name)}  {state}  last seen {each.last_seen_at}{here}")


def remove(
    device: Annotated[str, typer.Argument(metavar="ID", help="As `pushctl client devices` shows it.")],
    profile: Profile = "default",
) -> None:
    """Remove a device of this user: its session ends, and its open connection within a second."""

    async def act(phone: "Phone") -> None:
        await phone.remove_device(device)

    with_phone(profile, act)
    say("removed")


def add_commands(app: typer.Typer) -> None:
    """To the group of `pushctl client`."""
    for command, epilog in (
        (identities, IDENTITIES_EXAMPLES),
        (link, LINK_EXAMPLES),
        (unlink, UNLINK_EXAMPLES),
        (devices, DEVICES_EXAMPLES),
        (remove, REMOVE_EXAMPLES),
    ):
        app.command(epilog=epilog)(command)
