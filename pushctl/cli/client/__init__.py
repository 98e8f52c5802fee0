"""`pushctl client`: be a device. Log in, allow sites, receive and read messages.

Owns: the commands' options and what each prints.
Promises: with --json every line on stdout is one JSON object with the names of docs/protocol.md or of
pushctl/client/events.py.
Must not know: sockets, HTTP, SQLite (pushctl/client), how lines look (lines.py).
"""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pushctl.cli import Group, examples
from pushctl.cli.client import account, listen, login, swarm
from pushctl.cli.client.device import Json, Profile, print_one, say, shower, whole_ids, with_phone
from pushctl.cli.client.listen import MinUrgency
from pushctl.cli.values import icon, site, text
from pushctl.client.foreign import printable

if TYPE_CHECKING:
    from pushctl.client.events import Event
    from pushctl.client.phone import Phone
    from pushctl.webpush.encryption import Subscription

_HELP: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings=_HELP,
    epilog=examples(
        "pushctl client login alice       # where `pushctl serve all` runs",
        "pushctl client allow news.example --icon icon.png",
        "pushctl client listen            # one line per event, until Ctrl-C",
        "pushctl client run               # the live screen",
        "pushctl client login alice --profile phone   # a second device of alice",
        "pushctl client listen --profile phone --json --count 1 --for 30s",
        "pushctl client swarm --users 1000 --duration 2m   # many devices at once",
    ),
)


@app.callback()
def client() -> None:
    """Be a device: log in, allow sites, receive messages.

    Each --profile is one simulated device: a SQLite file with its session, push URLs, messages and cursor, in the
    directory PUSHCTL_CLIENT_DIR (by default where this system keeps a user's data). The service's URLs are remembered
    from the login; PUSHCTL_CLIENT_API and PUSHCTL_CLIENT_BOXOFFICE come before what is remembered.
    """


app.command(epilog=login.EXAMPLES)(login.login)


@app.command(
    epilog=examples(
        "pushctl client logout",
        "pushctl client logout --profile phone",
        "pushctl client logout --everywhere     # also on a device that was lost",
    )
)
def logout(
    everywhere: Annotated[bool, typer.Option("--everywhere", help="End the sessions of all devices.")] = False,
    profile: Profile = "default",
) -> None:
    """End the session and forget messages and push URLs on this device. Other devices keep theirs."""

    async def act(phone: "Phone") -> None:
        await phone.logout(everywhere=everywhere)

    with_phone(profile, act)
    say("logged out")


@app.command(
    epilog=examples(
        "pushctl client allow https://news.example",
        "pushctl client allow news.example --icon icon.png   # at most 12 KB of image",
        "pushctl client allow news.example > push_url.txt",
        "pushctl send @push_url.txt Hello",
        "pushctl client allow news.example --web-push > subscription.json",
        "pushctl send --encrypt subscription.json Hello",
    )
)
def allow(
    site_: Annotated[str, typer.Argument(parser=site, metavar="SITE", help="The site; https:// if not said.")],
    icon_: Annotated[
        str | None, typer.Option("--icon", parser=icon, metavar="URL|FILE", help="Its icon: a URL or an image file.")
    ] = None,
    web_push: Annotated[
        bool, typer.Option("--web-push", help="Make keys and print a subscription, as a browser gives it to a page.")
    ] = False,
    vapid_key: Annotated[
        str | None,
        typer.Option(parser=text, metavar="KEY", help="Only messages signed by this key (`pushctl keys vapid`)."),
    ] = None,
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Allow a site to send messages: prints the push URL to give to it.

    The same site always has the same push URL (one for each --vapid-key); another icon replaces the one before. With
    --web-push the site gets keys, too, and what it encrypts to them (`pushctl send --encrypt`) this profile decrypts.
    """
    from msgspec.structs import asdict

    from pushctl.cli.answers import Allowed
    from pushctl.client.events import json_line

    if web_push:

        async def subscribe(phone: "Phone") -> "Subscription":
            return await phone.subscribe(site_, icon_, vapid_key=vapid_key)

        print(json_line(with_phone(profile, subscribe)), flush=True)
        return

    async def act(phone: "Phone") -> "Allowed":
        push_url, created = await phone.allow(site_, icon_, vapid_key=vapid_key)
        return Allowed(**asdict(push_url), created=created)

    made = with_phone(profile, act)
    print_one(json, made, made.url)
    if not json:
        say("a new push URL" if made.created else "the push URL this site already has")


@app.command(epilog=examples("pushctl client revoke news.example", "pushctl client revoke https://news.example --json"))
def revoke(
    site_: Annotated[str, typer.Argument(metavar="SITE", help="The site, or the id of a push URL.")],
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Take the permission away: the site's push URL answers 410 from now on."""

    from pushctl.cli.answers import Revoked

    async def act(phone: "Phone") -> "list[Revoked]":
        # An id has no dot and no colon; a site without either is localhost at most.
        found = await phone.revoke(site(site_) if "." in site_ or ":" in site_ or site_ == "localhost" else site_)
        return [Revoked(push_url.id, push_url.site) for push_url in found]

    for revoked in with_phone(profile, act):
        print_one(json, revoked, f"revoked {printable(revoked.site)}")


@app.command(epilog=examples("pushctl client urls", "pushctl client urls --json | jq -r .url"))
def urls(
    offline: Annotated[bool, typer.Option("--offline", help="Only what this device knows; ask nobody.")] = False,
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Show the push URLs of this user. Brings the device up to date first."""
    from pushctl.cli.client.lines import push_url_line

    async def act(phone: "Phone") -> "list[Any]":
        if not offline:
            await phone.sync()
        return phone.store.push_urls()

    push_urls = with_phone(profile, act)
    widest = max((len(push_url.site) for push_url in push_urls), default=0)
    for push_url in push_urls:
        print_one(json, push_url, push_url_line(push_url, widest))


@app.command(epilog=examples("pushctl client sync", "pushctl client sync --json"))
def sync(profile: Profile = "default", json: Json = False) -> None:
    """Fetch everything missed, over HTTP, and print it. The last line says how: delta or snapshot.

    With --json: the events of `pushctl client listen --json`, the last of them "sync".
    """

    async def act(phone: "Phone") -> "list[Event]":
        return await phone.sync()

    for event in with_phone(profile, act):
        shower(json)(event)


@app.command(
    epilog=examples(
        "pushctl client messages",
        "pushctl client messages --all",
        "pushctl client messages --offline --json | jq -r .body",
    )
)
def messages(
    all_: Annotated[bool, typer.Option("--all", help="Also those that were read and have not expired.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Only what this device knows; ask nobody.")] = False,
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Show the unread messages, oldest first. Brings the device up to date first.

    With --json: the fields of a "message" event, without latency_ms, live and cursor, and with "read".
    """
    from pushctl.cli.client.lines import message_line
    from pushctl.client.events import stored_event
    from pushctl.clock import system_clock

    async def act(phone: "Phone") -> "list[Any]":
        if not offline:
            await phone.sync()
        return phone.store.messages(read_too=all_)

    for stored in with_phone(profile, act):
        told = stored_event(stored.message, icon=stored.icon, received_at_ms=stored.received_at_ms, read=stored.read)
        print_one(json, told, message_line(stored, system_clock()))


@app.command(
    epilog=examples(
        "pushctl client read --all", "pushctl client read AvkzYm9vLW0   # any beginning of an id that is one"
    )
)
def read(
    ids: Annotated[list[str] | None, typer.Argument(parser=text, metavar="ID", help="Messages, by id.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that are unread.")] = False,
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Mark messages read: they disappear on all devices of the user.

    If the service cannot be reached, they are read on this device all the same, and it is told later. An id that no
    message has is exit code 1, and nothing is read then.
    """
    from pushctl.cli.answers import MarkedRead

    if bool(ids) == all_:
        raise typer.BadParameter("give either message IDs or --all")

    async def act(phone: "Phone") -> int:
        if all_:
            await phone.sync()
            return await phone.read([stored.message.id for stored in phone.store.messages()])
        return await phone.read(await whole_ids(phone, ids or []))

    count = with_phone(profile, act)
    print_one(json, MarkedRead(count), f"{count} marked read")


app.command(epilog=listen.EXAMPLES)(listen.listen)


@app.command(
    epilog=examples(
        "pushctl client run",
        "pushctl client run --profile phone",
        "NO_COLOR=1 pushctl client run --min-urgency normal",
    )
)
def run(min_urgency: MinUrgency = "very-low", profile: Profile = "default") -> None:
    """The live screen: connection, push URLs with their sites' icons, messages as they come.

    Keys: Tab goes from messages to push URLs and back, arrows or j and k select, Enter shows one in full; r reads the
    selected message, A reads all, a allows a site, x revokes it, c copies its push URL, R reconnects, ? helps, q quits.

    Icons that are data: URLs (as `pushctl client allow SITE --icon FILE` makes them) are shown as pictures by terminals
    that can (kitty, ghostty, WezTerm, iTerm2), elsewhere in half blocks, with `pip install 'pushctl[icons]'`. Without
    that, without colours, and for icons that sites keep elsewhere, a letter stands for the site: fetching them would
    tell the site that you look.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter("the live screen needs a terminal; in pipes use `pushctl client listen`")
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        said = os.environ.get("TERM") or "not set"
        raise typer.BadParameter(
            f"TERM is {printable(said)}: the live screen needs a terminal that can move its cursor;"
            " use `pushctl client listen`"
        )
    from pushctl.cli.client.live import watch

    async def act(phone: "Phone") -> None:
        await watch(phone, min_urgency)

    with_phone(profile, act)


account.add_commands(app)
app.command(epilog=swarm.EXAMPLES)(swarm.swarm)
