"""The inbox in a browser: its files under /inbox/, and what the page must be told (`api.inbox`).

Owns: these paths, their headers, and which origins the page may talk to.
Promises: the page runs nothing but its own scripts, stands in no other page and tells nobody where it is. What it is
told is public: no secret, nothing of a user. A browser asks each time whether a file is still the same (ETag), so that
all of them are always of one version.
Must not know: how the page works, sessions, Redis.

Which socket servers there are is not known here (they come and go while the page is open), so `connect-src` allows
WebSockets to anywhere, over TLS unless the service itself goes without. docs/inbox.md says what that is worth.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from pushctl.config.check import dev_idp_on
from pushctl.config.model import Config, OidcProvider
from pushctl.config.oidc_rules import active_providers
from pushctl.errors import BodyInvalid, ConfigError, MethodNotAllowed, NotFound, Problem
from pushctl.http.asgi import Headers, Receive, Scope, Send, respond
from pushctl.http.observe import name_route
from pushctl.http.problem import send_problem
from roles.api import checks

PATH: Final = "/inbox"
ALLOW: Final = ("GET", "HEAD", "OPTIONS")
CONFIG: Final = "config.json"

FOLDER: Final = Path(__file__).with_name("inbox_files")
"""Part of the package; examples/inbox is a link to it."""

_KINDS: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_VERSION: Final = b"{version}"
"""Where it stands in a file, the version of all files is put."""


class ProviderOut(Struct, frozen=True):
    """How the page asks an OpenID provider for a token: as a public client, by authorization code with PKCE."""

    name: str
    kind: Literal["id_token", "access_token"]
    issuer: str
    client_id: str
    scope: str
    resource: str | None


class ConfigOut(Struct, frozen=True):
    """What the page must know. `audience`: what assertions are made for; `dev_idp`: anybody may log in as anybody."""

    api: str
    boxoffice: str
    audience: str
    dev_idp: bool
    providers: list[ProviderOut]


class InboxPage:
    """ASGI app for every path under /inbox. Raises ConfigError where a browser could not be told of an origin."""

    def __init__(self, config: Config, *, public_url: str, audience: str) -> None:
        """`public_url`: of the api, perhaps with a port picked at start; `config.boxoffice.public_url` is known."""
        providers = [each for each in active_providers(config) if each.inbox_client_id]
        self._headers = _headers(config, public_url, providers)
        told = ConfigOut(
            api=public_url,
            boxoffice=config.boxoffice.public_url,
            audience=audience,
            dev_idp=dev_idp_on(config),
            providers=[_told(each) for each in providers],
        )
        self._files = _files()
        self._files[CONFIG] = (b"application/json", msgspec.json.encode(told))

    @staticmethod
    def owns(path: str) -> bool:
        return path == PATH or path.startswith(f"{PATH}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, send)
        except Problem as problem:
            await send_problem(send, problem)

    async def _answer(self, scope: Scope, send: Send) -> None:
        name_route(scope, "/inbox/{file}")
        if scope["method"] == "OPTIONS":
            await _respond_empty(send, 204, [(b"allow", ", ".join(ALLOW).encode())])
        elif scope["method"] != "GET":
            raise MethodNotAllowed("the page is only to be looked at", allow=ALLOW)
        elif scope["path"] == PATH:  # its files are named relative to the folder
            await respond(send, 308, [(b"location", b"/inbox/"), *self._headers])
        else:
            await self._send_file(scope, send)

    async def _send_file(self, scope: Scope, send: Send) -> None:
        found = self._files.get(scope["path"].removeprefix(f"{PATH}/") or "index.html")
        if found is None:
            raise NotFound("the page has no such file")
        kind, body = found
        etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'.encode()
        headers = [(b"etag", etag), (b"cache-control", b"no-cache"), *self._headers]
        if (b"if-none-match", etag) in scope["headers"]:
            await _respond_empty(send, 304, headers)
        else:
            await respond(send, 200, [(b"content-type", kind), *headers], body)


async def _respond_empty(send: Send, status: int, headers: Headers) -> None:
    """An answer that has no body by its status, and so no length either."""
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    await send({"type": "http.response.body", "body": b""})


def _files() -> dict[str, tuple[bytes, bytes]]:
    """By name: content type and text. A README beside them is for people."""
    texts = {file.name: file.read_bytes() for file in sorted(FOLDER.iterdir()) if file.suffix in _KINDS}
    version = hashlib.sha256(b"".join(texts.values())).hexdigest()[:16].encode()
    return {name: (_KINDS[Path(name).suffix], text.replace(_VERSION, version)) for name, text in texts.items()}


def _told(provider: OidcProvider) -> ProviderOut:
    wants_resource = provider.kind == "access_token" and provider.check_audience
    return ProviderOut(
        name=provider.name,
        kind=provider.kind,
        issuer=provider.issuer,
        client_id=provider.inbox_client_id,
        scope=f"openid {provider.required_scope}".strip(),
        resource=provider.audiences[0] if wants_resource else None,
    )


def _headers(config: Config, public_url: str, providers: Iterable[OidcProvider]) -> list[tuple[bytes, bytes]]:
    """Of every answer here."""
    plain = public_url.startswith("http:")
    asked = {"boxoffice.public_url": config.boxoffice.public_url}
    for provider in providers:
        asked[f"issuer of {provider.name}"] = provider.issuer
        if provider.inbox_token_origin:
            asked[f"inbox_token_origin of {provider.name}"] = provider.inbox_token_origin
    origins = sorted({_origin(url, key) for key, url in asked.items()})
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data: https:" + (" http:" if plain else ""),
        "connect-src": " ".join(["'self'", *origins, "wss:", *(["ws:"] if plain else [])]),
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "inbox",
    }
    return [
        (b"content-security-policy", "; ".join(f"{name} {value}" for name, value in policy.items()).encode()),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
        (b"referrer-policy", b"no-referrer"),
    ]


def _origin(url: str, key: str) -> str:
    parts = urlsplit(url)
    try:
        return checks.site(f"{parts.scheme}://{parts.netloc}")
    except BodyInvalid:
        raise ConfigError([f"{key}: {url!r}: expected a URL such as https://push.example"]) from None
