"""Log lines: one per event, on stderr, as text on a terminal and as JSON otherwise.

Owns: the spelling of a line and what must never stand in one. The event is a word (stages.py for messages) and
everything else is a key beside it.
Promises: stdout is never written (it belongs to data); values under secret names, credentials in URLs, push URLs and
Authorization values are redacted, also inside texts of exceptions; a line that cannot be written stops nothing.
Must not know: what any event means.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal, cast

from pushctl import clock


@contextmanager
def _unseen(library: str) -> Iterator[None]:
    """While the block lasts it is as if that were not installed."""
    modules: dict[str, Any] = sys.modules
    seen = modules.get(library)
    modules[library] = None
    try:
        yield
    finally:
        del modules[library]
        if seen is not None:
            modules[library] = seen


# For tracebacks in colour, which we never ask for, it would load what takes longer than all of structlog.
with _unseen("rich"):
    import structlog
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]
Logger = FilteringBoundLogger

REDACTED = "[redacted]"

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SECRET_WORDS = frozenset({"token", "authorization", "assertion", "certificate", "secret", "password", "bundle"})
_WORD = re.compile(r"[a-z0-9]+")
_CREDENTIAL = r"[A-Za-z0-9._~+/=-]{8,}"
_SCRUB = (
    (re.compile(r"(/push/)[A-Za-z0-9_-]+"), rf"\1{REDACTED}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/@\s]*@", re.IGNORECASE), rf"\1{REDACTED}@"),
    (
        re.compile(rf"\b((?:bearer|browserid|webpush|vapid)\s+){_CREDENTIAL}(?:,\s*{_CREDENTIAL})*", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor: what `_redacted` says of every key and value."""
    return {name: _redacted(name, value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:
    if not _SECRET_WORDS.isdisjoint(_WORD.findall(name.lower())):
        return REDACTED
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        for pattern, replacement in _SCRUB:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {str(inner): _redacted(str(inner), kept) for inner, kept in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item) for item in value]
    if isinstance(value, int | float | bool | None):
        return value
    return _redacted("", str(value))


def _harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What a peer sent must not move the cursor of whoever reads the log: control characters are spelled out."""
    return {
        name: _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """When and what first: lines are read by people too."""
    return {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event"), **event}


def _stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["timestamp"] = clock.rfc3339(clock.system_clock())
    return event


class _Stderr:
    """Writes finished lines to whatever sys.stderr is at that moment."""

    def msg(self, line: str) -> None:
        # A reader that went away (a closed pipe, a full disk) costs log lines, not the service.
        with suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _stderr(*_: Any) -> _Stderr:
    return _Stderr()


def _renderers(log_format: Format) -> list[Processor]:
    if log_format == "text" or (log_format == "auto" and sys.stderr.isatty()):
        return [
            _harmless,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=24,
            ),
        ]
    return [_in_order, structlog.processors.JSONRenderer(ensure_ascii=False)]


def configure(level: Level = "info", log_format: Format = "auto") -> None:
    """Say what is written and how; for the whole process, from now on.

    `auto` is text if stderr is a terminal, in colour unless NO_COLOR is set, and JSON otherwise.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _stamp,
            structlog.processors.format_exc_info,
            redact,
            *_renderers(log_format),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_stderr,
        # Loggers are made when modules are imported, before the configuration is read.
        cache_logger_on_first_use=False,
    )


def get_logger(**bound: Any) -> Logger:
    """A logger that adds `bound` to its lines: `log.info("stored", user=user, seq=12)`."""
    return cast(Logger, structlog.get_logger(**bound))


# Before the program says otherwise (tests, tools) lines must not go to stdout, structlog's own default.
configure()
