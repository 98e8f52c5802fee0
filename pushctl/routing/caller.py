"""One socket server's internal listener, as a router calls it: POST /hints/<server>/<generation>.

Owns: the request, its signature and deadline, the meaning of its answers. Promises: a batch is sent again only on
proof that the server did nothing with it (it refused the signature's moment).
Must not know: jobs, presence, strategies.
"""

from urllib.parse import urlsplit

import trio

from pushctl.errors import PushctlError
from pushctl.identity.peers import PeerKeys
from pushctl.ids import ServerId
from pushctl.keepalive import Answer, KeepAlive, Unanswered
from pushctl.protocol.jobs import JobInvalid, decode_heard

__all__ = ["MOMENT_HEADER", "Caller", "Replaced", "Unanswered", "purpose_of"]

ANSWER_SECONDS = 1.0
"""A server that has not answered by then is suspected. Its jobs are not lost: see rpc.py."""

MOMENT_HEADER = "pushctl-moment"
"""In every answer: what time it is on the server's own clock, in ms, for the next signature."""


class Replaced(PushctlError):
    """The server is there, and of another generation: whoever was held by the one meant is gone."""


class Caller:
    """Of one generation of a server. Several tasks may call."""

    def __init__(self, keys: PeerKeys, server: ServerId, generation: int, url: str) -> None:
        """`url`: of its internal listener, http://host:port."""
        address = urlsplit(url)
        self._http = KeepAlive(address.hostname or "", address.port or 80)
        self._keys = keys
        self._purpose = purpose_of(server, generation)
        self._path = address.path.rstrip("/") + self._purpose
        self._ahead_ms = 0.0
        """How far the server's clock is ahead of ours; learned from its first answer."""

    async def tell(self, batch: bytes) -> list[str]:
        """Hand a batch over. Returns its users whom the server does not hold. Raises Unanswered, Replaced."""
        with trio.move_on_after(ANSWER_SECONDS):
            answer = await self._post(batch)
            if answer.status == 401 and MOMENT_HEADER in answer.headers:
                answer = await self._post(batch)
            return _read(answer)
        raise Unanswered(f"no answer within {ANSWER_SECONDS:g} s")

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._http.close()

    async def _post(self, batch: bytes) -> Answer:
        signature = self._keys.sign(self._purpose, round(trio.current_time() * 1000 + self._ahead_ms), batch)
        headers = {"Authorization": signature, "Content-Type": "application/msgpack"}
        answer = await self._http.post(self._path, headers, batch)
        moment = answer.headers.get(MOMENT_HEADER, "")
        if moment.isascii() and moment.isdigit() and len(moment) <= 16:
            self._ahead_ms = int(moment) - trio.current_time() * 1000
        return answer


def purpose_of(server: ServerId, generation: int) -> str:
    """The path, which is also what the signature is good for."""
    return f"/hints/{server}/{generation}"


def _read(answer: Answer) -> list[str]:
    if answer.status == 404:
        raise Replaced("another generation answers there")
    if answer.status != 200:
        raise Unanswered(f"it answered {answer.status}")
    try:
        return decode_heard(answer.body).missing
    except JobInvalid:
        raise Unanswered("it does not answer like a socket server") from None
