"""Log lines: one per event, on stderr, as text on a terminal and as JSON otherwise.

Owns: the spelling of a line and what must never stand in one. The event is a word (stages.py for messages) and
everything else is a key beside it.
Promises: stdout is never written (it belongs to data); values under secret names, credentials in URLs, push URLs and
Authorization values are redacted, also inside texts of exceptions; a line that cannot be written stops nothing.
Must not know: what any event means; whether lines are written one by one or together (log_gathering.py).
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import ModuleType
from typing import Any, Final, Literal

import msgspec

from pushctl import clock

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]
Line = dict[str, Any]

REDACTED = "[redacted]"

_LEVELS: Final[dict[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
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
_SUSPECT = re.compile(r"[/\s]")
"""None of those is in a text without one of these."""
_NUMBERS = (int, float, type(None))
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return not _SECRET_WORDS.isdisjoint(_WORD.findall(name.lower()))


def _redacted(name: str, value: Any) -> Any:
    if _is_secret(name):
        return REDACTED
    if isinstance(value, _NUMBERS):
        return value
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        if _SUSPECT.search(value):
            for pattern, replacement in _SCRUB:
                value = pattern.sub(replacement, value)
        return value
    if isinstance(value, Mapping):
        return {str(inner): _redacted(str(inner), kept) for inner, kept in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item) for item in value]
    return _redacted("", str(value))


def _harmless(line: Line) -> Line:
    """What a peer sent must not move the cursor of whoever reads the log: control characters are spelled out."""
    return {
        name: _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value) if isinstance(value, str) else value
        for name, value in line.items()
    }


def _as_json(line: Line) -> str:
    return msgspec.json.encode(line).decode()


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


def _structlog() -> ModuleType:
    """For terminals, and for tracebacks."""
    # For tracebacks in colour, which we never ask for, it would load what takes longer than all of structlog.
    with _unseen("rich"):
        import structlog
    return structlog


def _text_renderer() -> Callable[[Line], str]:
    structlog = _structlog()
    render = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=24,
    )
    return lambda line: render(None, line["level"], _harmless(line))


_least: int = _LEVELS["info"]
_render: Callable[[Line], str] = _as_json
"""As configured last. Loggers are made when modules are imported, before the configuration is read."""


class Logger:
    """`log.info("stored", user=user, seq=12)`."""

    __slots__ = ("_bound",)

    def __init__(self, bound: Line) -> None:
        self._bound = {name: _redacted(name, value) for name, value in bound.items()}

    def debug(self, event: str, **values: Any) -> None:
        if _least <= _LEVELS["debug"]:
            self._write("debug", event, values)

    def info(self, event: str, **values: Any) -> None:
        if _least <= _LEVELS["info"]:
            self._write("info", event, values)

    def warning(self, event: str, **values: Any) -> None:
        if _least <= _LEVELS["warning"]:
            self._write("warning", event, values)

    def error(self, event: str, **values: Any) -> None:
        self._write("error", event, values)

    def _write(self, level: Level, event: str, values: Line) -> None:
        if "exc_info" in values:
            _structlog().processors.format_exc_info(None, level, values)
        # When and what first: lines are read by people too.
        line = {"timestamp": clock.rfc3339(clock.system_clock()), "level": level, "event": _redacted("", event)}
        line |= self._bound
        for name, value in values.items():
            line[name] = _redacted(name, value)
        if _out is None:
            write_now(_render(line) + "\n")
        else:
            _out(_render(line) + "\n", _LEVELS[level] > _LEVELS["info"])


def write_now(lines: str) -> None:
    """To stderr. A reader that went away (a closed pipe, a full disk) costs log lines, not the service."""
    with suppress(OSError, ValueError):
        sys.stderr.write(lines)
        sys.stderr.flush()


Out = Callable[[str, bool], None]
"""Takes a line, and whether it is a warning or an error. Raises nothing."""

_out: Out | None = None


def write_by(out: Out | None) -> Out | None:
    """Who gets lines from now on (None: they are written at once); returns who got them before."""
    global _out
    before, _out = _out, out
    return before


def configure(level: Level = "info", log_format: Format = "auto") -> None:
    """Say what is written and how; for the whole process, from now on.

    `auto` is text if stderr is a terminal, in colour unless NO_COLOR is set, and JSON otherwise.
    """
    global _least, _render
    _least = _LEVELS[level]
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    _render = _text_renderer() if as_text else _as_json


def get_logger(**bound: Any) -> Logger:
    """A logger that adds `bound` to its lines."""
    return Logger(bound)
