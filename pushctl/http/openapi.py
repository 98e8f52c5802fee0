"""GET /openapi.json and GET /docs: the contract as a machine reads it, and a page that draws it.

Owns: the generation (once, at the first question) and the page, which needs nothing from outside: one file, its
script and style allowed by their hashes alone.
Must not know: any route of a role.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final

import msgspec
import trio
from litestar import Litestar, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from pushctl import __version__

SESSION: Final[dict[str, list[str]]] = {"session": []}
"""Security requirement: `Authorization: Bearer <session token>`."""

_SCHEMES = {
    "session": SecurityScheme(type="http", scheme="Bearer", description="the token that POST /v1/login answered"),
    "browserid": SecurityScheme(type="http", scheme="BrowserID", description="a backed assertion"),
    "oidc": SecurityScheme(
        type="http", scheme="Bearer", bearer_format="JWT", description="a token of an OpenID provider"
    ),
}

_PAGE = resources.files("pushctl.http").joinpath("docs.html").read_bytes()


class PlainLitestar(Litestar):
    """Litestar without the plug-ins for pydantic, which happens to be installed with it: importing that takes longer
    than the whole rest of a start."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def _hash_of(tag: str) -> str:
    inside = re.search(f"<{tag}>(.*?)</{tag}>".encode(), _PAGE, re.DOTALL)
    assert inside is not None
    return "'sha256-" + base64.b64encode(hashlib.sha256(inside[1]).digest()).decode() + "'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src {_hash_of('script')}; style-src {_hash_of('style')}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def document_routes(
    handlers: Sequence[HTTPRouteHandler],
    *,
    title: str,
    description: str,
    request_class: type[Request[Any, Any, Any]],
    more_paths: Mapping[str, Any],
) -> list[HTTPRouteHandler]:
    """The two handlers to register beside `handlers`. `more_paths`: path items of routes answered elsewhere."""

    document: bytes | None = None
    making = trio.Lock()

    @get("/openapi.json", include_in_schema=False, media_type="application/json")
    async def openapi_json() -> bytes:
        nonlocal document
        async with making:
            if document is None:
                # A tenth of a second of CPU: other requests go on meanwhile.
                document = await trio.to_thread.run_sync(
                    _document, handlers, title, description, request_class, more_paths
                )
        return document

    return [openapi_json, _docs_page]


@get("/docs", include_in_schema=False, media_type="text/html", sync_to_thread=False)
def _docs_page() -> Response[bytes]:
    return Response(_PAGE, headers={"content-security-policy": CONTENT_SECURITY_POLICY})


def _document(
    handlers: Sequence[HTTPRouteHandler],
    title: str,
    description: str,
    request_class: type[Request[Any, Any, Any]],
    more_paths: Mapping[str, Any],
) -> bytes:
    """An app that answers nobody, made for its generator: the routes it adds for its own pages are not wanted."""
    config = OpenAPIConfig(
        title=title,
        version=__version__,
        description=description,
        components=Components(security_schemes=dict(_SCHEMES)),
        use_handler_docstrings=True,
        render_plugins=[JsonRenderPlugin()],
    )
    app = PlainLitestar(
        list(handlers), request_class=request_class, openapi_config=config, logging_config=None, debug=False
    )
    document = app.openapi_schema.to_schema()
    document["paths"] = {**document["paths"], **more_paths}
    return msgspec.json.encode(document)
