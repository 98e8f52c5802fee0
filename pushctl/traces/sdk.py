"""Spans with OpenTelemetry's library: the only file, with outbox.py, that imports it.

Owns: the resource, contexts as bytes, what a span says of an error. Promises: it samples before the library is asked,
so what is not followed costs one random number; spans that ended go to the outbox, and no thread is started.
Must not know: messages, roles' steps.
"""

import random
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import trio
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pushctl import __version__
from pushctl.config.model import RoleName
from pushctl.config.model import Traces as Settings
from pushctl.errors import Problem
from pushctl.ids import new_id
from pushctl.traces import NOTHING, Kind, RawHeaders, Span, Value
from pushctl.traces.outbox import Outbox

TRACE_BYTES: Final = 16
SPAN_BYTES: Final = 8

_propagator = TraceContextTextMapPropagator()


def pack(context: SpanContext) -> bytes:
    return context.trace_id.to_bytes(TRACE_BYTES, "big") + context.span_id.to_bytes(SPAN_BYTES, "big")


def unpack(raw: bytes) -> SpanContext | None:
    """None for what is no context of ours."""
    if len(raw) != TRACE_BYTES + SPAN_BYTES:
        return None
    trace_id, span_id = int.from_bytes(raw[:TRACE_BYTES], "big"), int.from_bytes(raw[TRACE_BYTES:], "big")
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return context if context.is_valid else None


class SdkTraces:
    """See pushctl.traces.Traces."""

    def __init__(self, settings: Settings, role: RoleName, label: str, count: Callable[[str, int], None]) -> None:
        """Raises ConfigError."""
        self._ratio = settings.sample_ratio
        self.outbox = Outbox(settings, count)
        resource = Resource.create(
            {
                "service.namespace": "pushctl",
                "service.name": f"pushctl-{role}",
                "service.version": __version__,
                "service.instance.id": label if role == "socket" else new_id(),
            }
        )
        provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        provider.add_span_processor(_Ended(self.outbox.put))
        self._tracer = provider.get_tracer("pushctl", __version__)

    def begin(self, name: str, headers: RawHeaders, *, trusted: bool) -> Span:
        if trusted:
            theirs = _theirs(headers)
            if theirs is not None:
                if not theirs.trace_flags.sampled:
                    return NOTHING
                return self._span(name, "server", parent=theirs)
        if random.random() >= self._ratio:  # noqa: S311 - no secret
            return NOTHING
        theirs = _theirs(headers)
        return self._span(name, "server", link=None if trusted else theirs)

    def follow(self, name: str, context: bytes, kind: Kind) -> Span:
        parent = unpack(context)
        return NOTHING if parent is None else self._span(name, kind, parent=parent)

    def link(self, name: str, context: bytes, kind: Kind) -> Span:
        linked = unpack(context)
        return NOTHING if linked is None else self._span(name, kind, link=linked)

    def _span(
        self, name: str, kind: Kind, *, parent: SpanContext | None = None, link: SpanContext | None = None
    ) -> Span:
        around = Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
        links = [] if link is None else [Link(link)]
        span = self._tracer.start_span(name, around, SpanKind[kind.upper()], links=links)
        return _Span(self._tracer, span)

    async def run(self) -> None:
        await self.outbox.run()

    async def flush(self) -> None:
        await self.outbox.flush()


class _Span:
    """See pushctl.traces.Span."""

    __slots__ = ("_span", "_tracer", "context")

    def __init__(self, tracer: Tracer, span: SdkSpan) -> None:
        self._tracer = tracer
        self._span = span
        self.context = pack(span.get_span_context())

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._failed(error)
        self._span.end()

    def _failed(self, error: BaseException) -> None:
        """By its word alone: what an error says in full may hold what a peer sent."""
        word = error.code if isinstance(error, Problem) else type(error).__name__
        self._span.set_attribute("error.type", word)
        if isinstance(error, Problem):
            self._span.set_attribute("http.response.status_code", error.status)
        if not isinstance(error, Problem) or error.status >= 500:  # a peer's mistake is no error of a server's span
            self._span.set_status(Status(StatusCode.ERROR, "cancelled" if isinstance(error, trio.Cancelled) else word))

    def child(self, name: str, kind: Kind = "internal") -> Span:
        around = set_span_in_context(self._span, Context())
        return _Span(self._tracer, self._tracer.start_span(name, around, SpanKind[kind.upper()]))

    def set(self, **attributes: Value) -> None:
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("__", "."), value)

    def finish(self) -> None:
        self._span.end()


class _Ended(SpanProcessor):
    """Hands over what has ended."""

    def __init__(self, put: Callable[[ReadableSpan], None]) -> None:
        self._put = put

    def on_end(self, span: ReadableSpan) -> None:
        self._put(span)


def _theirs(headers: RawHeaders) -> SpanContext | None:
    """What a traceparent header says (W3C Trace Context); None without a good one."""
    carrier = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if name in (b"traceparent", b"tracestate")
    }
    if not carrier:
        return None
    context = get_current_span(_propagator.extract(carrier, Context())).get_span_context()
    return context if context.is_valid else None
