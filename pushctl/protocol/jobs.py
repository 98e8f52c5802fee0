"""What roles tell each other: jobs (api or socket server -> router) and hints (router -> socket server).

Owns: their shape and msgpack encoding. Each begins with its tag, which names the kind and its version.
Promises: a job is a hint, never the truth. Losing one costs latency; the event log decides. Roles of two neighbouring
releases understand each other: a field is only ever added at the end and with a default, which older readers skip and
newer ones fill in; anything else is another tag, which one release reads and the next one writes.
Must not know: streams, channels, who is connected.
"""

from contextlib import suppress
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

from pushctl.errors import Failed

EPHEMERAL_MS = 2000
"""A TTL 0 message is delivered within this time of its acceptance, or never."""


class HintedEvent(Struct, frozen=True, array_like=True):
    """One event at its place in the user's log, already encoded for devices.

    `seq`, `tag`: its position; `rank`: of its urgency for a message (protocol/frames.py), -1 for what no filter stops;
    `frame`: the text every device is sent; `accepted_ms`: when a message was accepted (registry time), for measuring
    only, 0 where it is not known.
    """

    seq: int
    tag: int
    rank: int
    frame: bytes
    accepted_ms: int = 0


class Appended(Struct, frozen=True, array_like=True, tag="a"):
    """Events were appended to a user's log, in this order, right after `previous_seq`/`previous_tag`."""

    user: str
    epoch: str
    previous_seq: int
    previous_tag: int
    events: Annotated[list[HintedEvent], Meta(min_length=1)]
    trace: bytes | None = None
    """Of the message in it, if that is followed (pushctl/traces)."""
    held: list[str] | None = None
    """By whom the user's devices were held when the events were appended: '<server> <generation>' each. Who came later
    has read them in the log. None: nobody looked."""


class Ephemeral(Struct, frozen=True, array_like=True, tag="e"):
    """A message with TTL 0: for whoever is connected now. Useless after `until_ms` (registry time), which is
    EPHEMERAL_MS after it was accepted. `trace`, `held`: as of Appended."""

    user: str
    until_ms: int
    rank: int
    frame: bytes
    trace: bytes | None = None
    held: list[str] | None = None


class Displaced(Struct, frozen=True, array_like=True, tag="d"):
    """A device connected anew: these older connections of it are to close with 4503. They hold no lease any more, so
    the job itself says which `servers` they are on. `for_good` False: the newer connection gave up its claim, and they
    are to look for themselves whether they hold the device again."""

    user: str
    connections: list[str]
    servers: list[str]
    for_good: bool = True


class SessionEnds(Struct, frozen=True, array_like=True, tag="s"):
    """These sessions of a user's end in `in_ms`: connections that still use them close with 4504."""

    user: str
    sessions: list[str]
    in_ms: int


Job = Appended | Ephemeral | Displaced | SessionEnds


class Batch(Struct, frozen=True, array_like=True, tag="b"):
    """What a router sends to one socket server at once."""

    jobs: list[Job]


class _Parts(Struct, frozen=True, array_like=True, tag="b"):
    """A Batch whose jobs nobody has looked at."""

    jobs: list[msgspec.Raw]


class Heard(Struct, frozen=True, array_like=True, tag="h"):
    """A socket server's answer to a Batch that was brought by RPC: users in it whom it does not hold."""

    missing: list[str]


class Probe(Struct, frozen=True, array_like=True, tag="p"):
    """A socket server's question to itself, through the channel it listens to: do you still hear?"""

    nonce: str


class News(Struct, frozen=True, array_like=True, tag="n"):
    """To every socket server: broadcasts have changed, look at them."""


T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_job_decoder: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)
_hint_decoder: msgspec.msgpack.Decoder[Batch | Probe | News] = msgspec.msgpack.Decoder(Batch | Probe | News)
_parts_decoder: msgspec.msgpack.Decoder[_Parts] = msgspec.msgpack.Decoder(_Parts)
_heard_decoder: msgspec.msgpack.Decoder[Heard] = msgspec.msgpack.Decoder(Heard)


class JobInvalid(Failed):
    """Bytes on a job stream, on a server's channel or in its answer that no role of this release wrote."""


class BatchInPart(JobInvalid):
    """Some jobs of a batch are of a kind that this release does not know. They cost only their own users latency;
    `known` are the others."""

    def __init__(self, message: str, known: Batch) -> None:
        super().__init__(message)
        self.known = known


def encode(value: Job | Batch | Heard | Probe | News) -> bytes:
    return _encoder.encode(value)


def decode_job(raw: bytes) -> Job:
    return _decoded(_job_decoder, raw)


def decode_hint(raw: bytes) -> Batch | Probe | News:
    """Raises BatchInPart if only some of its jobs can be read."""
    try:
        return _decoded(_hint_decoder, raw)
    except JobInvalid as error:
        known = _known_jobs(raw)
        if not known:
            raise
        raise BatchInPart(str(error), Batch(known)) from None


def _known_jobs(raw: bytes) -> list[Job]:
    known: list[Job] = []
    with suppress(JobInvalid):
        for each in _decoded(_parts_decoder, raw).jobs:
            with suppress(JobInvalid):
                known.append(decode_job(bytes(each)))
    return known


def decode_heard(raw: bytes) -> Heard:
    return _decoded(_heard_decoder, raw)


def _decoded(decoder: msgspec.msgpack.Decoder[T], raw: bytes) -> T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JobInvalid(str(error)) from None
