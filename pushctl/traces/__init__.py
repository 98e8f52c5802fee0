"""Traces: what happens to some of the messages, step by step, as OpenTelemetry spans. Off unless configured.

Owns: the decision which messages are followed, and a span as the rest of the program sees one. Promises: a context (24
bytes: of the trace, then of the span) exists if and only if its message is followed, so whoever was given none does
nothing, and nothing else travels or is stored; without `traces.enabled` no library is imported; nothing here waits; no
attribute says who a user, a device or a sender is, nor holds a push URL, a token or what a message says.
Must not know: how spans leave (outbox.py), what OpenTelemetry's library looks like (sdk.py).

pushctl/stages.py has the words of a message's life; span names are those of the steps: `POST /push/{token}`, `store`,
`job`, `route`, `deliver`, `acknowledge`.
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from types import TracebackType
from typing import Literal, Protocol, Self

from pushctl.config.model import Config, RoleName
from pushctl.errors import ConfigError

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int | bool

RawHeaders = Iterable[tuple[bytes, bytes]]


class Span(Protocol):
    """A step. Left as a context manager it ends, with the error that left it; or `finish` it."""

    context: bytes
    """What a step elsewhere needs to follow this one; empty: nobody follows."""

    def __bool__(self) -> bool:
        """It is recorded."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def child(self, name: str, kind: Kind = "internal") -> "Span":
        """A step of this one, beginning now."""
        ...

    def set(self, **attributes: Value) -> None:
        """Names with `__` for each dot: `http__route`."""
        ...

    def finish(self) -> None: ...


class _Nothing:
    """A step that nobody follows."""

    __slots__ = ()
    context = b""

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def child(self, name: str, kind: Kind = "internal") -> Span:
        del name, kind
        return self

    def set(self, **attributes: Value) -> None:
        pass

    def finish(self) -> None:
        pass


NOTHING: Span = _Nothing()


class Traces(Protocol):
    """Of one role. Run `run` in a nursery, and `flush` before that ends."""

    def begin(self, name: str, headers: RawHeaders, *, trusted: bool) -> Span:
        """What a request from outside sets off. `trusted`: its traceparent is the parent and decides; another's is at
        most linked to, so nobody outside can have us record anything."""
        ...

    def follow(self, name: str, context: bytes, kind: Kind) -> Span:
        """A step after one elsewhere. NOTHING for an empty context."""
        ...

    def link(self, name: str, context: bytes, kind: Kind) -> Span:
        """The beginning of a trace of its own that names the other: for what comes much later."""
        ...

    async def run(self) -> None:
        """Send what is recorded, until cancelled."""
        ...

    async def flush(self) -> None:
        """Send what is left, within a bound."""
        ...


class _Off:
    def begin(self, name: str, headers: RawHeaders, *, trusted: bool) -> Span:
        del name, headers, trusted
        return NOTHING

    def follow(self, name: str, context: bytes, kind: Kind) -> Span:
        del name, context, kind
        return NOTHING

    link = follow

    async def run(self) -> None:
        pass

    async def flush(self) -> None:
        pass


OFF: Traces = _Off()


def open_traces(config: Config, role: RoleName, label: str, count: Callable[[str, int], None]) -> Traces:
    """As configured. `label`: what tells roles of one name apart; `count`: told how many spans came to which end (see
    outbox.py). Raises ConfigError, also when the library is not there."""
    if not config.traces.enabled:
        return OFF
    if not all(map(_is_there, ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.common"))):
        raise ConfigError(
            ["traces.enabled: OpenTelemetry is not installed: pip install 'pushctl[otel]', or set it to false"]
        )
    from pushctl.traces.sdk import SdkTraces

    return SdkTraces(config.traces, role, label, count)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # nor what it is part of
        return False
