"""Why a connection failed, in the operating system's words.

Owns: finding them. Must not know: who wanted to connect, and where.
"""

import os
import socket
import ssl


def cause_of(error: BaseException) -> str:
    """The operating system's words where there are any: libraries only say that all attempts failed."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError | socket.gaierror):
            return seen.strerror or str(seen)
        if isinstance(seen, OSError) and seen.errno:
            return os.strerror(seen.errno).lower()
        group = seen.exceptions[0] if isinstance(seen, BaseExceptionGroup) else None
        seen = group or seen.__cause__ or seen.__context__
    return str(error) or type(error).__name__
