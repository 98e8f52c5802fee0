"""The development identity provider over HTTP: certificates for `<name>@dev-idp.localhost`, for this machine alone.

Owns: its routes and pages, and who may reach them: the Host must be a loopback name (which also stops DNS rebinding),
minting wants a header that no foreign page can send without a preflight (which gets no answer), and a foreign Origin
is refused. Its sign-in page runs nothing but its own scripts, talks to nobody else and stands in no other page.
Promises: imported only while the provider is on; otherwise its paths are 404 like any other.
Must not know: what it certifies, or how.
"""

import html
import re
from pathlib import Path
from typing import Annotated, Any, Final

from litestar import Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.params import HeaderParameter, JSONBody
from msgspec import Meta, Struct

from pushctl.errors import Forbidden, NotFound
from pushctl.http.rest import may_answer
from pushctl.identity.dev_idp import DEFAULT_SECONDS, PROVISION_PATH, SIGN_IN_PATH, DevIdp
from roles.api.services import ApiRequest

ON_EVERY_ANSWER: Final = (b"x-pushctl-dev-idp", b"on")

_LOCAL_HOST: Final = r"(localhost|127\.0\.0\.1|\[::1\]|dev-idp\.localhost)(:[0-9]{1,5})?"
_HOST = re.compile(_LOCAL_HOST, re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile("https?://" + _LOCAL_HOST, re.IGNORECASE | re.ASCII)


_PAGES: Final = Path(__file__).with_name("dev_idp_pages")
_SCRIPT: Final = "text/javascript"
_PAGE_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


class PublicKeyIn(Struct, frozen=True, forbid_unknown_fields=True):
    algorithm: str
    n: Annotated[str, Meta(max_length=640)]
    e: Annotated[str, Meta(max_length=16)]


class CertificateIn(Struct, frozen=True, forbid_unknown_fields=True):
    email: Annotated[str, Meta(max_length=254)]
    public_key: PublicKeyIn
    duration_seconds: int = DEFAULT_SECONDS


class CertificateOut(Struct, frozen=True):
    certificate: str


async def _only_here(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
    """Guard: to any other Host these routes do not exist. Our public name must not become an identity provider."""
    hosts = connection.headers.getall("host", [])
    if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
        raise NotFound("no such route")


async def _no_foreign_page(connection: ASGIConnection[Any, Any, Any, State], _: BaseRouteHandler) -> None:
    """Guard: a page of the developer's browser that is not from this machine mints nothing."""
    if connection.headers.get("x-pushctl-dev") != "1":
        raise Forbidden("send the header X-Pushctl-Dev: 1", field="X-Pushctl-Dev")
    for origin in connection.headers.getall("origin", []):
        if not _ORIGIN.fullmatch(origin):
            raise Forbidden("pages of other origins get no certificate", field="Origin")


def _provider(request: ApiRequest) -> DevIdp:
    provider = request.services.dev_idp
    assert provider is not None, "these routes are only added with it"
    return provider


@get(
    "/.well-known/browserid",
    summary="Support document of the development identity provider",
    tags=["development"],
    guards=[_only_here],
    responses=may_answer(404),
)
async def support_document(request: ApiRequest) -> Response[dict[str, Any]]:
    return Response(_provider(request).document(), headers={"cache-control": "no-store"})


@post(
    "/dev/browserid/certificate",
    status_code=200,
    summary="Certify a key for an address of the development domain",
    tags=["development"],
    guards=[_only_here, _no_foreign_page],
    responses=may_answer(400, 403, 404, 415),
)
async def certificate(
    request: ApiRequest,
    data: JSONBody[CertificateIn],
    marker: Annotated[str, HeaderParameter(name="X-Pushctl-Dev", description="1")],
) -> CertificateOut:
    made = _provider(request).certificate(
        data.email,
        {"algorithm": data.public_key.algorithm, "n": data.public_key.n, "e": data.public_key.e},
        data.duration_seconds,
        now_ms=request.services.clock(),
    )
    return CertificateOut(made)


@get(PROVISION_PATH, media_type="text/plain", guards=[_only_here], include_in_schema=False)
async def provisioning() -> str:
    """The support document must name it. No browser opens it any more."""
    return "development identity provider\n"


def _page(name: str, content_type: str, audience: str = "") -> Response[str]:
    text = (_PAGES / name).read_text(encoding="utf-8").replace("{audience}", html.escape(audience))
    return Response(text, media_type=content_type, headers=_PAGE_HEADERS)


@get(SIGN_IN_PATH, guards=[_only_here], include_in_schema=False, sync_to_thread=False)
def sign_in(request: ApiRequest) -> Response[str]:
    """For browsers: makes a key, has it certified, signs an assertion, and logs in."""
    return _page("sign_in.html", "text/html", request.services.verifier.audience)


@get("/dev/browserid/sign_in.mjs", guards=[_only_here], include_in_schema=False, sync_to_thread=False)
def sign_in_script() -> Response[str]:
    return _page("sign_in.mjs", _SCRIPT)


@get("/dev/browserid/browserid.mjs", guards=[_only_here], include_in_schema=False, sync_to_thread=False)
def browserid_script() -> Response[str]:
    """What the sign-in page does, for other pages of this origin."""
    return _page("browserid.mjs", _SCRIPT)


DEV_IDP_ROUTES: Final = (support_document, certificate, sign_in, sign_in_script, browserid_script, provisioning)
