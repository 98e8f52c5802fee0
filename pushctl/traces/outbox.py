"""Spans on their way to a collector: OTLP over HTTP, in protobuf.

Owns: the queue, and what becomes of spans: `sent`; `dropped`, for there was no room; `failed`, for the collector was
away, slow or refused them. Promises: at most MAX_QUEUED wait, and who puts one in never waits; a collector that is away
costs one try a batch, each with a deadline; nothing is sent twice; `flush` is over after FLUSH_SECONDS. One task, no
thread: OpenTelemetry's own BatchSpanProcessor starts one that nobody owns.
Must not know: what spans say.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote

import httpx
import trio
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from pushctl.config.model import Traces as Settings
from pushctl.errors import ConfigError
from pushctl.log import get_logger

MAX_QUEUED: Final = 2048
BATCH: Final = 64
"""Spans in one request: encoding them must not hold up the event loop."""

LINGER_SECONDS: Final = 1.0
"""A batch waits so long for company."""

SEND_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 2.0

log = get_logger(part="traces")


class Outbox:
    """Run `run` in a nursery."""

    def __init__(self, settings: Settings, count: Callable[[str, int], None]) -> None:
        """`count`: told what became of how many. Raises ConfigError."""
        self._endpoint = settings.endpoint
        self._headers = {"content-type": "application/x-protobuf", **parse_headers(settings.headers)}
        self._count = count
        self._queue: deque[ReadableSpan] = deque()
        self._some, self._many = trio.Event(), trio.Event()
        self._sending = trio.Lock()
        self._http: httpx.AsyncClient
        self._begun = trio.Event()
        self._away = False

    def put(self, span: ReadableSpan) -> None:
        """A span has ended."""
        if len(self._queue) >= MAX_QUEUED:
            self._count("dropped", 1)
            return
        self._queue.append(span)
        self._some.set()
        if len(self._queue) >= BATCH:
            self._many.set()

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        async with httpx.AsyncClient(timeout=SEND_SECONDS) as self._http:
            self._begun.set()
            await self._keep_sending()

    async def _keep_sending(self) -> None:
        while True:
            await self._some.wait()
            with trio.move_on_after(LINGER_SECONDS):
                await self._many.wait()
            self._some, self._many = trio.Event(), trio.Event()
            await self._send_all()

    async def flush(self) -> None:
        """While `run` runs: send what waits, for FLUSH_SECONDS at most. What is left then has failed."""
        with trio.move_on_after(FLUSH_SECONDS):
            await self._begun.wait()
            await self._send_all()
        if self._queue:
            self._count("failed", len(self._queue))
            self._queue.clear()

    async def _send_all(self) -> None:
        async with self._sending:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                outcome = "failed"
                try:
                    if await self._send(batch):
                        outcome = "sent"
                finally:  # cancelled, too
                    self._count(outcome, len(batch))

    async def _send(self, batch: Sequence[ReadableSpan]) -> bool:
        problem = f"no answer within {SEND_SECONDS:g} s"
        with trio.move_on_after(SEND_SECONDS):
            try:
                body = encode_spans(batch).SerializeToString()
                answer = await self._http.post(self._endpoint, content=body, headers=self._headers)
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the two: of a host that is no name
                problem = str(error) or type(error).__name__
            else:
                problem = "" if answer.is_success else f"status {answer.status_code}"
        if bool(problem) != self._away:
            self._away = bool(problem)
            if problem:
                log.warning("collector_away", endpoint=self._endpoint, detail=problem)
            else:
                log.info("collector_back", endpoint=self._endpoint)
        return not problem


def parse_headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, values percent-encoded (as of OTEL_EXPORTER_OTLP_HEADERS). Raises ConfigError, which
    does not repeat the text."""
    headers = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = pair.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        if not equals or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(["traces.headers: expected name=value,name=value (not shown, it may hold a secret)"])
        if not value.isprintable() or not value.isascii():
            raise ConfigError([f"traces.headers: the value of {name} is no text for a header"])
        headers[name] = value
    return headers
