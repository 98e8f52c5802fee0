"""Whatever bytes a peer sends and however they are cut, our WebSocket hears the messages that wsproto hears, and makes
of the rest what it makes of it.

Where they may differ:
- wsproto has no limit: what is more than our largest message is 1009 here, when it is there or as soon as it is
  announced (`too_large`);
- wsproto waits for the whole head of a frame, whose first two bytes may be wrong enough;
- wsproto does not know 1014, a code in IANA's list;
- wsproto looks at every byte of a text at once: here what is no UTF-8 may be found at the message's end, if it comes.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter

import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from tests.conformance.cases import GOOD_CODES, INVALID_TEXTS, SECTIONS, UNFINISHED_TEXTS, VALID_TEXTS, frame
from tests.conformance.seam import Message, converse
from tests.scenario.raw_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

MOST_BYTES = 300
HUNG_UP = 1006
BAD_GATEWAY = 1014
LONG_HEAD = b"\1" * 14
"""Whatever is missing of a frame's head, and more."""


@dataclass
class Verdict:
    """What became of the bytes."""

    heard: list[Message] = field(default_factory=list)
    code: int = HUNG_UP
    """Of the peer's Close, or what it deserves; HUNG_UP: it was well until its end."""
    pings: list[bytes] = field(default_factory=list)


def by_wsproto(octets: bytes) -> Verdict:
    connection, verdict, pieces = Connection(ConnectionType.SERVER), Verdict(), list[Message]()
    connection.receive_data(octets)
    for event in connection.events():
        if isinstance(event, Ping):
            verdict.pings.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            return replace(verdict, code=int(event.code))
        elif isinstance(event, TextMessage | BytesMessage):
            pieces.append(event.data if isinstance(event.data, str) else bytes(event.data))
            if sum(len(each.encode() if isinstance(each, str) else each) for each in pieces) > MOST_BYTES:
                return replace(verdict, code=1009)
            if event.message_finished:
                verdict.heard.append(whole(pieces))
                pieces.clear()
    return verdict


def whole(pieces: Sequence[Message]) -> Message:
    """The last, empty piece of a text may come as bytes."""
    if isinstance(pieces[0], str):
        return "".join(each for each in pieces if isinstance(each, str))
    return b"".join(each for each in pieces if isinstance(each, bytes))


def by_ours(segments: Sequence[bytes]) -> tuple[Verdict, list[bytes], int | None]:
    """Its verdict, its pongs, and the code of its Close."""
    run = partial(converse, segments, max_message_bytes=MOST_BYTES)
    server, said = trio.run(run, clock=MockClock(autojump_threshold=0))
    assert server.gone is not None
    return Verdict(server.heard, server.gone.code), said.pongs, said.close_code


def too_large(octets: bytes) -> int | None:
    """How many messages are whole before one is announced that is too large; None: none is. Of bytes whose frames are
    right up to there."""
    messages = size = at = 0
    while len(octets) >= at + 2:
        opcode, short = octets[at] & 0x0F, octets[at + 1] & 0x7F
        extra = {126: 2, 127: 8}.get(short, 0)
        length = int.from_bytes(octets[at + 2 : at + 2 + extra]) if extra else short
        if len(octets) < at + 2 + extra:
            return None
        if opcode < 8:
            size += length
            if size > MOST_BYTES:
                return messages
            if octets[at] & 0x80:
                messages, size = messages + 1, 0
        at += 2 + extra + 4 + length
    return None


def agree(octets: bytes, segments: Sequence[bytes]) -> None:
    theirs = by_wsproto(octets)
    ours, pongs, close_code = by_ours(segments)
    assert close_code == (1000 if ours.code == HUNG_UP else ours.code) or (close_code, ours.code) == (1000, 1005)
    rest = iter(theirs.pings)
    if theirs.code != 1007:
        assert all(pong in rest for pong in pongs), "each answers a ping, in their order"
    if ours.code == 1009 and (heard := too_large(octets)) is not None:
        assert ours.heard == theirs.heard[:heard]
    elif theirs.code == 1007:
        # What a text that is none is followed by is never heard.
        assert ours.heard == theirs.heard
        assert ours.code in (1007, 1002, HUNG_UP) or by_peer(ours.code)
    elif theirs.code == HUNG_UP and ours.code == 1002:
        assert by_wsproto(octets + LONG_HEAD) == replace(theirs, code=1002)
        assert ours.heard == theirs.heard
    else:
        assert ours.heard == theirs.heard
        assert ours.code == theirs.code or (ours.code, theirs.code) == (BAD_GATEWAY, 1002)
        if ours.code == HUNG_UP:
            assert pongs[-1:] == theirs.pings[-1:], "the last ping is always answered"


def by_peer(code: int) -> bool:
    return code in (*GOOD_CODES, BAD_GATEWAY, 1005)


# --- what is sent ----------------------------------------------------------------------------------------------------

masks = st.binary(min_size=4, max_size=4)
good_texts = st.sampled_from(VALID_TEXTS).map(str.encode) | st.text(max_size=20).map(str.encode)
some_texts = good_texts | st.sampled_from(INVALID_TEXTS + UNFINISHED_TEXTS) | st.binary(max_size=20)
lengthy = st.integers(100, MOST_BYTES + 20).map(lambda size: b"x" * size)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A whole message, in one frame or in several, with pings and pongs between them."""
    opcode = draw(st.sampled_from((TEXT, BINARY)))
    payload = draw(good_texts | some_texts | lengthy)
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    edges = list(zip([0, *cuts], [*cuts, len(payload)], strict=True))
    octets = b""
    for number, (start, end) in enumerate(edges):
        octets += frame(
            CONTINUATION if number else opcode,
            payload[start:end],
            fin=number == len(edges) - 1,
            mask=draw(masks),
        )
        octets += draw(st.just(b"") | controls)
    return octets


controls = st.builds(frame, st.sampled_from((PING, PONG)), st.binary(max_size=8), mask=masks)
codes = st.sampled_from(GOOD_CODES) | st.integers(0, 65_535)
closes = st.builds(lambda code, reason: frame(CLOSE, struct.pack("!H", code) + reason), codes, some_texts)
anything = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=10) | lengthy,
    fin=st.booleans(),
    masked=st.booleans() | st.just(True),
    reserved=st.sampled_from((0, 0, 0, 0, 1, 2, 4)),
    mask=masks,
)
told = st.sampled_from([case for section in SECTIONS.values() for case in section.values() if len(case.octets) < 200])
frames = (
    messages()
    | messages()
    | messages()
    | controls
    | anything
    | closes
    | told.map(attrgetter("octets"))
    | st.binary(max_size=12)
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, Sequence[bytes]]:
    """Bytes, and how they are cut."""
    octets = bytearray(b"".join(draw(st.lists(frames, max_size=8))))
    for at, bits in draw(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), max_size=2) | st.just([])):
        if at < len(octets):
            octets[at] ^= bits
    whole = bytes(octets)
    return whole, list(cut(whole, draw(st.lists(st.integers(1, 60), max_size=30))))


def cut(octets: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        if octets[at:]:
            yield octets[at : at + size]
            at += size
    if octets[at:]:
        yield octets[at:]


@given(conversations())
@example((b"", []))
def test_our_websocket_and_wsproto_agree(conversation: tuple[bytes, Sequence[bytes]]) -> None:
    agree(*conversation)
