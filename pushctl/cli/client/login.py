"""`pushctl client login`: become a device of a user, by whichever identity provider vouches for them.

Owns: the options, where a token or an assertion comes from, what a person is asked to do, and what a profile remembers
of a provider (issuer and client id, never a token of it).
Promises: no credential in the arguments; what a person must see goes to stderr.
Must not know: the protocol with a provider (pushctl/client/oidc.py), how a credential is checked.
"""

import os
import platform
import sys
import webbrowser
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from pushctl.cli import examples
from pushctl.cli.client.device import ApiUrl, BoxofficeUrl, Json, Profile, print_one, say, with_phone
from pushctl.cli.values import duration, first_line_of, issuer_url, text
from pushctl.client.foreign import printable
from pushctl.errors import TimedOut, Unreachable

if TYPE_CHECKING:
    from pushctl.client.oidc import Invitation, Wanted
    from pushctl.client.phone import Phone
    from pushctl.client.store import Session, Store

EXAMPLES: Final = examples(
    "pushctl client login alice           # by the development identity provider",
    "pushctl client login alice --profile phone --device-name 'My phone'",
    "pushctl client login alice --api https://push.example \\",
    "    --boxoffice https://where.push.example",
    "pushctl client login --provider accounts \\",
    "    --issuer https://accounts.example/ --client-id push-cli",
    "pushctl client login --provider accounts          # again: it is remembered",
    "pushctl client login --provider accounts --device # enter a code elsewhere",
    "get-token | pushctl client login --token-file -",
    "get-assertion | pushctl client login --assertion -",
)

LOGIN_SECONDS: Final = 300.0


def login(
    name: Annotated[
        str | None, typer.Argument(parser=text, metavar="NAME", help="User of the development identity provider.")
    ] = None,
    device_name: Annotated[
        str | None, typer.Option(parser=text, metavar="TEXT", help="What the device is called.", show_default=False)
    ] = None,
    api: ApiUrl = None,
    boxoffice: BoxofficeUrl = None,
    provider: Annotated[
        str | None,
        typer.Option(parser=text, metavar="NAME", help="An OpenID provider, by its name there.", show_default=False),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(parser=issuer_url, metavar="URL", help="Its issuer.", show_default="as last time")
    ] = None,
    client_id: Annotated[
        str | None, typer.Option(parser=text, metavar="ID", help="Our client id there.", show_default="as last time")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(parser=text, metavar="TEXT", help="What to ask for.", show_default="openid")
    ] = None,
    resource: Annotated[
        str | None,
        typer.Option(parser=text, metavar="URI", help="What an access token is for (RFC 8707).", show_default=False),
    ] = None,
    access_token: Annotated[
        bool, typer.Option("--access-token", help="Log in with the access token (a JWT), not the ID token.")
    ] = False,
    device: Annotated[
        bool, typer.Option("--device", help="Show a code to enter on another machine; needs no browser here.")
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the page's URL; a browser of this machine must open it.")
    ] = False,
    redirect_port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=0, max=65_535, help="Where the browser comes back to.", show_default="any free one"
        ),
    ] = 0,
    seconds: Annotated[
        float,
        typer.Option("--within", parser=duration, metavar="DURATION", help="Exit 4 after this.", show_default="5m"),
    ] = LOGIN_SECONDS,
    token_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A token got elsewhere, to be sent as it is; - = standard input.")
    ] = None,
    assertion: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A backed assertion from another identity provider; - = standard input."),
    ] = None,
    profile: Profile = "default",
    json: Json = False,
) -> None:
    """Log in and become a device of that user. Logging in again renews the session of the same device; as another user,
    the profile forgets what it knew.

    \b
    NAME          the service's development identity provider certifies
                  NAME@dev-idp.localhost, and a real assertion is signed.
    --provider, --issuer
                  an OpenID provider: a page opens in the browser, which comes
                  back to this machine (authorization code, PKCE); with --device
                  a code is shown instead. The first time say --issuer and
                  --client-id: the service has no route that tells them. The
                  profile remembers both, and no token of the provider.
    --token-file, --assertion
                  a credential got elsewhere, never an argument: others see those.
    """
    from pushctl.cli.answers import LoggedIn

    by_provider = token_file is None and (provider is not None or issuer is not None)
    if sum((name is not None, assertion is not None, token_file is not None, by_provider)) != 1:
        raise typer.BadParameter("give one of: a NAME, --provider or --issuer, --token-file FILE, --assertion FILE")
    credential = first_line_of(token_file or assertion or "") if token_file or assertion else ""
    called = device_name or (profile if profile != "default" else platform.node() or "device")

    async def open_session(phone: "Phone") -> "Session":
        if assertion is not None:
            return await phone.login_with(credential, called)
        if token_file is not None:
            return await phone.login_with_token(credential, called, provider)
        if not by_provider:
            return await _certified(phone, name or "", called)
        wanted = _wanted(phone.store, provider, issuer, client_id, scope, resource, access_token=access_token)
        token = await _token(wanted, device=device, browser=not no_browser, port=redirect_port, seconds=seconds)
        session = await phone.login_with_token(token, called, provider)
        _remember(phone.store, provider, wanted)
        return session

    async def act(phone: "Phone") -> "Session":
        session = await open_session(phone)
        phone.remember_urls()
        return session

    session = with_phone(profile, act, api=api, boxoffice=boxoffice)
    told = LoggedIn(session.user, session.device, session.device_name, session.expires_at)
    print_one(json, told, f"logged in: user {session.user}, device {session.device} ({session.device_name})")


async def _certified(phone: "Phone", name: str, called: str) -> "Session":
    """By the development identity provider: whoever has no service yet is told how to have one."""
    from pushctl.client.http import NoRoom

    try:
        return await phone.login(name, called)
    except NoRoom:
        raise
    except Unreachable as error:
        raise Unreachable(f"{error}; `pushctl serve all` starts a service here, --api names another") from None


def _wanted(
    store: "Store",
    provider: str | None,
    issuer: str | None,
    client_id: str | None,
    scope: str | None,
    resource: str | None,
    *,
    access_token: bool,
) -> "Wanted":
    """What the options say; where they say nothing, what was right the last time."""
    from msgspec.json import decode

    from pushctl.client.oidc import Wanted

    before = store.setting(_setting(provider))
    known = decode(before, type=Wanted) if before is not None and issuer is None else None
    issuer, client_id = issuer or (known.issuer if known else None), client_id or (known.client_id if known else None)
    if issuer is None or client_id is None:
        raise typer.BadParameter("say --issuer and --client-id, too: this profile does not know that provider yet")
    by_access = access_token or (known is not None and known.kind == "access_token")
    kind: Literal["id_token", "access_token"] = "access_token" if by_access else "id_token"
    scope = scope or (known.scope if known else "openid")
    if kind == "id_token" and "openid" not in scope.split():
        raise typer.BadParameter("--scope: an ID token needs openid in it; or log in with --access-token")
    return Wanted(issuer, client_id, scope, resource or (known.resource if known else None), kind)


def _remember(store: "Store", provider: str | None, wanted: "Wanted") -> None:
    from msgspec.json import encode

    store.set_setting(_setting(provider), encode(wanted).decode())


def _setting(provider: str | None) -> str:
    return f"oidc:{provider or ''}"


async def _token(wanted: "Wanted", *, device: bool, browser: bool, port: int, seconds: float) -> str:
    import trio

    from pushctl.client.http import open_client
    from pushctl.client.oidc import ProviderLogin
    from pushctl.client.redirect import redirect
    from pushctl.clock import system_clock

    async with open_client(wanted.issuer) as http:
        login = ProviderLogin(http, wanted, system_clock)
        try:
            with trio.fail_after(seconds):
                if device:
                    return await login.by_device(_invite_elsewhere)
                async with redirect(port) as back:
                    return await login.by_redirect(back, _open_page if browser and _has_browser() else _show_page)
        except trio.TooSlowError:
            raise TimedOut(f"nobody logged in at the provider within {seconds:g} s") from None


def _has_browser() -> bool:
    """Whether there is one with a window: one in this terminal would take it away from us."""
    windows = sys.platform in ("darwin", "win32")
    return windows or any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


async def _show_page(invitation: "Invitation") -> None:
    say(f"open this page in a browser of this machine:\n  {printable(invitation.url)}")


async def _open_page(invitation: "Invitation") -> None:
    import trio

    await _show_page(invitation)
    # Some browsers only return when they are closed.
    await trio.to_thread.run_sync(webbrowser.open, invitation.url, abandon_on_cancel=True)


async def _invite_elsewhere(invitation: "Invitation") -> None:
    say(f"open {printable(invitation.url)} on any machine and enter the code {printable(invitation.code)}")
