"""The one place where errors of any kind end: around somebody else's code, for one request or one connection.

Owns: the line between "this request failed" and "this server failed".
Promises: cancellation and whatever else is no Exception goes through; what is kept is there to be logged.
Must not know: what failed.
"""

from types import TracebackType


class Contained:
    """`with Contained() as call: ...`, then look at `call.error`."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> "Contained":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error = error
        return True


def is_caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Is `error` of that kind, or did one of that kind lead to it (cause, context, members of a group)?"""
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        at = ahead.pop()
        if at is None or id(at) in seen:
            continue
        if isinstance(at, kind):
            return True
        seen.add(id(at))
        ahead += [at.__cause__, at.__context__]
        if isinstance(at, BaseExceptionGroup):
            ahead += at.exceptions
    return False
