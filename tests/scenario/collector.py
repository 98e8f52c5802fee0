"""A collector at the edge of the world: takes OTLP over HTTP, and keeps the spans as OpenTelemetry's own messages.

Nothing of our code decodes anything here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A span that arrived. Ids in hex; `parent`: of the span above it; `links`: (trace, span)."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    kind: int
    ended_after_it_began: bool
    failed: bool
    attributes: dict[str, Any]
    links: list[tuple[str, str]]


@dataclass
class Collector:
    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    def take(self, headers: dict[str, str], body: bytes) -> None:
        self.headers.append(headers)
        self.raw.append(body)
        if self.status == 200:
            self.spans += _spans(body)

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]


def _spans(body: bytes) -> list[Seen]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Seen(
            name=span.name,
            service=_values(of_role.resource.attributes)["service.name"],
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            kind=span.kind,
            ended_after_it_began=span.end_time_unix_nano >= span.start_time_unix_nano > 0,
            failed=span.status.code == 2,
            attributes=_values(span.attributes),
            links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        )
        for of_role in request.resource_spans
        for of_library in of_role.scope_spans
        for span in of_library.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Listens on loopback until the block is left."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
