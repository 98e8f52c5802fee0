"""What Mozilla's operators' tools ask of the public listener: `/__heartbeat__`, `/__lbheartbeat__`, `/__version__`.

Owns: their answers. Must not know: why the registry is not ready, beyond its own words.
"""

from litestar import Response, get
from msgspec import Struct

from pushctl import __version__
from roles.api.services import ApiRequest


class HeartbeatOut(Struct, frozen=True):
    status: str
    reasons: list[str]


class VersionOut(Struct, frozen=True):
    """The members of Mozilla's Dockerflow; what a build does not know is null."""

    name: str
    version: str
    source: str | None = None
    commit: str | None = None
    build: str | None = None


@get(
    "/__heartbeat__",
    summary="Can this server do its work?",
    description="200 if what it depends on works, else 503 with the reasons.",
    tags=["operations"],
)
async def heartbeat(request: ApiRequest) -> Response[HeartbeatOut]:
    reasons = await request.services.registry.check()
    if reasons:
        said = HeartbeatOut("error", [reason.detail for reason in reasons])
        return Response(said, status_code=503, headers={"retry-after": "1"})
    return Response(HeartbeatOut("ok", []))


@get("/__lbheartbeat__", summary="Does this server answer?", tags=["operations"])
async def lbheartbeat() -> HeartbeatOut:
    return HeartbeatOut("ok", [])


@get("/__version__", summary="Which version is this?", tags=["operations"])
async def version() -> VersionOut:
    return VersionOut("pushctl", __version__)


TOOLING = (heartbeat, lbheartbeat, version)
