"""A request over HTTP to somebody who may die at any moment of it.

Promises: what httpx promises, without the async generator that it leaves behind for the garbage collector when the
connection ends in the middle of a request. Must not know: who is asked.
"""

from typing import Any

import httpx


class _Bytes(httpx.AsyncByteStream):
    """A body, in one piece."""

    def __init__(self, content: bytes) -> None:
        self._pieces = [content]

    def __aiter__(self) -> "_Bytes":
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()


async def ask(http: httpx.AsyncClient, method: str, url: str, **options: Any) -> httpx.Response:
    """The answer, read. `options`: as of httpx. Raises httpx.TransportError."""
    request = http.build_request(method, url, **options)
    request.stream = _Bytes(request.content)
    return await http.send(request)
