"""What a peer may send after the upgrade, and what RFC 6455 makes of it. The sections are those of the Autobahn
test suite.

Owns: the octets and the verdicts. Must not know: our server, but for the size of the largest message.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.conformance.server_frames import NO_CODE
from tests.scenario.raw_frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, raw_frame

MASK: Final = b"\x37\xfa\x21\x3d"  # of the RFC's own example
MAX_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Case:
    sent: tuple[bytes, ...]
    """Frames, each whole or as much of it as there is."""
    heard: tuple[str | bytes, ...] = ()
    """The messages in it."""
    codes: tuple[int, ...] = (1000,)
    """One of these is in the Close that comes back, when a Close with 1000 has come behind it."""
    pings: tuple[bytes, ...] = ()
    """Each may be answered, and the last must be, unless it is followed by a Close or by what is wrong."""

    goes_on: bool = False
    """The connection does, until that Close."""

    @property
    def octets(self) -> bytes:
        return b"".join(self.sent)


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, reserved: int = 0, mask: bytes = MASK
) -> bytes:
    return raw_frame(opcode, payload, fin=fin, masked=masked, reserved=reserved, mask=mask)


def text(words: str) -> bytes:
    return frame(TEXT, words.encode())


def part(payload: bytes, *, first: bool = False, last: bool = False, opcode: int = TEXT) -> bytes:
    """Of a message in fragments."""
    return frame(opcode if first else CONTINUATION, payload, fin=last)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def parts(*payloads: bytes, opcode: int = TEXT) -> tuple[bytes, ...]:
    """A message in these fragments."""
    end = len(payloads) - 1
    return tuple(part(each, first=at == 0, last=at == end, opcode=opcode) for at, each in enumerate(payloads))


def fine(*sent: bytes, heard: tuple[str | bytes, ...] = (), pings: tuple[bytes, ...] = ()) -> Case:
    return Case(sent, heard, pings=pings, goes_on=True)


def wrong(*sent: bytes, code: int = 1002, heard: tuple[str | bytes, ...] = ()) -> Case:
    """And whatever comes behind it is not looked at."""
    return Case((*sent, text("behind it")), heard, (code,))


# --- 1: framing, and 10: lengths and masks ---------------------------------------------------------------------------

SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 124, 125, 126, 127, 128, 4095, 4096, 4097, 65_535, 65_536)


def _framing() -> Iterator[tuple[str, Case]]:
    for size in SIZES:
        words = ("*pushctl" * (size // 8 + 1))[:size]
        yield f"1.1 text of {size} bytes", fine(text(words), heard=(words,))
        octets = bytes(range(256)) * (size // 256 + 1)
        yield f"1.2 bytes, {size} of them", fine(frame(BINARY, octets[:size]), heard=(octets[:size],))
    many = tuple(str(number) for number in range(50))
    yield "1.3 fifty messages", fine(*map(text, many), heard=many)


def _lengths() -> Iterator[tuple[str, Case]]:
    zeros = b"\0\0\0\0"
    for size in (0, 1, 125):
        yield f"10.1 {size} in 16 bits", wrong(b"\x81\xfe" + struct.pack("!H", size) + zeros + b"x" * size)
        yield f"10.2 {size} in 64 bits", wrong(b"\x81\xff" + struct.pack("!Q", size) + zeros + b"x" * size)
    for size in (126, 65_535):
        yield f"10.2 {size} in 64 bits", wrong(b"\x81\xff" + struct.pack("!Q", size) + zeros + b"x" * size)
    for size in (2**63, 2**64 - 1, 2**63 | 5):
        yield f"10.3 the highest bit of 64, {size:#x}", wrong(b"\x81\xff" + struct.pack("!Q", size) + zeros + b"hello")


def _masks() -> Iterator[tuple[str, Case]]:
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0", MASK):
        words = "masked, and of no multiple of four"
        yield f"10.4 masked with {mask.hex()}", fine(frame(TEXT, words.encode(), mask=mask), heard=(words,))
    fragments = (
        frame(TEXT, b"hel", fin=False, mask=b"\1\2\3\4"),
        frame(PING, b"ping", mask=b"\5\6\7\x08"),
        frame(CONTINUATION, b"l", fin=False, mask=b"\0\0\0\0"),
        frame(CONTINUATION, b"o", mask=b"\xf0\xf1\xf2\xf3"),
    )
    yield "10.5 each fragment with a mask of its own", fine(*fragments, heard=("hello",), pings=(b"ping",))
    for name, opcode in (("text", TEXT), ("bytes", BINARY), ("a ping", PING), ("a pong", PONG)):
        yield f"10.6 {name} without a mask", wrong(frame(opcode, b"{}", masked=False))
        yield f"10.7 {name} without a mask, empty", wrong(frame(opcode, masked=False))
    yield "10.6 a Close without a mask", wrong(frame(CLOSE, b"\x03\xe8", masked=False))
    yield "10.6 a continuation without a mask", wrong(part(b"x", first=True), frame(CONTINUATION, b"x", masked=False))
    yield "10.6 text without a mask, after one with", wrong(text("a"), frame(TEXT, b"b", masked=False), heard=("a",))


# --- 2: pings and pongs ----------------------------------------------------------------------------------------------


def _control() -> Iterator[tuple[str, Case]]:
    for payload in (b"", b"p", b"\0\xff\xfe\xfd\xfc\xfb\0\xff", b"x" * 124, b"x" * 125):
        yield f"2.1 a ping of {len(payload)} bytes", fine(frame(PING, payload), pings=(payload,))
        yield f"2.2 a pong unasked, of {len(payload)} bytes", fine(frame(PONG, payload), text("x"), heard=("x",))
    for name, opcode in (("ping", PING), ("pong", PONG), ("Close", CLOSE)):
        for size in (126, 127, 65_536):
            yield f"2.3 a {name} of {size} bytes", wrong(frame(opcode, b"\x03\xe8" + b"x" * (size - 2)))
        yield f"2.4 a {name} that is not final", wrong(frame(opcode, b"\x03\xe8", fin=False))
        yield f"2.4 a {name} in fragments", wrong(frame(opcode, fin=False), frame(CONTINUATION))
        # A short one, said in a long way.
        yield f"2.5 a {name} whose length has 16 bits", wrong(bytes([0x80 | opcode]) + b"\xfe\0\x05\0\0\0\0hello")
        yield f"2.5 a {name} whose length has 64 bits", wrong(bytes([0x80 | opcode]) + b"\xff" + b"\0" * 12)
    pings = tuple(b"%d" % number for number in range(10))
    yield "2.6 ten pings", fine(*(frame(PING, payload) for payload in pings), pings=pings)
    yield "2.7 a ping between messages", fine(text("a"), frame(PING, b"!"), text("b"), heard=("a", "b"), pings=(b"!",))


# --- 3: reserved bits, and 4: opcodes --------------------------------------------------------------------------------


def _reserved() -> Iterator[tuple[str, Case]]:
    for bits in range(1, 8):
        for name, opcode in (("text", TEXT), ("bytes", BINARY), ("ping", PING), ("pong", PONG), ("Close", CLOSE)):
            payload = b"\x03\xe8" if opcode == CLOSE else b""
            yield f"3.1 {name} with reserved bits {bits:03b}", wrong(frame(opcode, payload, reserved=bits))
    yield "3.2 a reserved bit in a continuation", wrong(part(b"x", first=True), frame(CONTINUATION, reserved=4))
    yield "3.3 a reserved bit, after a message", wrong(text("a"), frame(TEXT, reserved=4), heard=("a",))


def _opcodes() -> Iterator[tuple[str, Case]]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"4.1 opcode {opcode}", wrong(frame(opcode))
        yield f"4.2 opcode {opcode}, of 125 bytes", wrong(frame(opcode, b"x" * 125))
        yield f"4.3 opcode {opcode}, after a message", wrong(text("a"), frame(opcode, b"x"), heard=("a",))
        yield f"4.4 opcode {opcode}, between fragments", wrong(part(b"a", first=True), frame(opcode, b"x"))


# --- 5: fragments ----------------------------------------------------------------------------------------------------


def _fragments() -> Iterator[tuple[str, Case]]:
    yield "5.1 text in two", fine(*parts(b"hel", b"lo"), heard=("hello",))
    yield "5.1 text in fragments of a byte", fine(*parts(*(b"%c" % each for each in b"hello")), heard=("hello",))
    yield "5.1 text in 200 fragments", fine(*parts(*[b"ab"] * 200), heard=("ab" * 200,))
    yield "5.2 bytes in three", fine(*parts(b"\xff", b"\0", b"\xfe", opcode=BINARY), heard=(b"\xff\0\xfe",))
    yield "5.3 the first one empty", fine(*parts(b"", b"x"), heard=("x",))
    yield "5.3 the last one empty", fine(*parts(b"x", b""), heard=("x",))
    yield "5.3 text of nothing but empty ones", fine(*parts(b"", b"", b""), heard=("",))
    yield "5.3 bytes of nothing but empty ones", fine(*parts(b"", b"", b"", opcode=BINARY), heard=(b"",))
    yield "5.3 empty ones in the middle", fine(*parts(b"x", b"", b"", b"y", opcode=BINARY), heard=(b"xy",))
    yield "5.3 a hundred empty ones", fine(*parts(b"x", *[b""] * 100, b"y"), heard=("xy",))
    start, end = part(b"hel", first=True), part(b"lo", last=True)
    yield "5.4 a ping between", fine(start, frame(PING, b"p"), end, heard=("hello",), pings=(b"p",))
    yield "5.4 a pong between", fine(start, frame(PONG, b"p"), end, heard=("hello",))
    pings = [frame(PING, b"1"), frame(PING, b"2")]
    yield "5.4 pings between", fine(start, pings[0], part(b""), pings[1], end, heard=("hello",), pings=(b"1", b"2"))
    yield "5.5 one message after the other", fine(*parts(b"a", b"b"), *parts(b"c", b"d"), heard=("ab", "cd"))
    yield "5.5 text, then bytes", fine(*parts(b"a", b"b"), *parts(b"c", b"d", opcode=BINARY), heard=("ab", b"cd"))
    yield "5.6 a continuation of nothing", wrong(part(b"x", last=True))
    yield "5.6 a continuation of nothing, not final", wrong(part(b"x"))
    yield "5.6 a continuation of nothing, empty", wrong(part(b"", last=True))
    yield "5.6 a continuation of a message that is whole", wrong(text("a"), part(b"x", last=True), heard=("a",))
    ended = parts(b"a", b"b")
    yield "5.6 a continuation behind the last", wrong(*ended, part(b"c", last=True), heard=("ab",))
    for name, opcode in (("text", TEXT), ("bytes", BINARY)):
        yield f"5.7 {name} within text", wrong(start, frame(opcode, b"x"))
        yield f"5.7 fragments of {name} within text", wrong(start, frame(opcode, b"x", fin=False))
        yield f"5.7 {name} within bytes", wrong(part(b"x", first=True, opcode=BINARY), frame(opcode, b"x"))


# --- 6: text is UTF-8 ------------------------------------------------------------------------------------------------

VALID_TEXTS = (
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\0\x7f",
    "\x80\u07ff",
    "\u0800\ud7ff\ue000\ufffd\uffff",
    "\U00010000\U0010ffff",
    "\ufeffa mark of byte order stays",
    "\ufffe\U0001fffe\U000fffff",
    "🦊🦊🦊",
)
INVALID_TEXTS = (
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80",
    b"\xc0\x80",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc2a",
    b"\xe2\x82a",
    b"\xf0\x9f\xa6a",
    b"\xc3\xa9\xa9",
)
UNFINISHED_TEXTS = (b"\xc2", b"\xdf", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\xa6", b"\xf4\x8f\xbf")


def _texts() -> Iterator[tuple[str, Case]]:
    for words in VALID_TEXTS:
        octets = words.encode()
        yield f"6.1 {words!a}", fine(text(words), heard=(words,))
        yield f"6.2 {words!a} byte by byte", fine(*parts(*(b"%c" % each for each in octets)), heard=(words,))
    for octets in INVALID_TEXTS:
        around = "κ".encode() + octets + "κ".encode()
        yield f"6.3 {octets.hex()}", wrong(frame(TEXT, octets), code=1007)
        yield f"6.3 {octets.hex()} within text", wrong(frame(TEXT, around), code=1007)
        yield f"6.4 {octets.hex()} byte by byte", wrong(*parts(*(b"%c" % each for each in around)), code=1007)
        yield f"6.5 {octets.hex()} as bytes is fine", fine(frame(BINARY, octets), heard=(octets,))
    for octets in UNFINISHED_TEXTS:
        yield f"6.6 {octets.hex()} and no more", wrong(frame(TEXT, b"x" + octets), code=1007)
        yield f"6.6 {octets.hex()} and an empty fragment", wrong(*parts(b"x" + octets, b""), code=1007)
        yield f"6.6 {octets.hex()} and other text", wrong(*parts(b"x" + octets, b"y"), code=1007)
    fox = "🦊".encode()
    between = (part(fox[:1], first=True), frame(PING, fox[1:2]), part(fox[1:3]), part(b""), part(fox[3:], last=True))
    yield "6.7 a character in fragments, with a ping between", fine(*between, heard=("🦊",), pings=(fox[1:2],))
    yield "6.8 half a character is not the next message's", wrong(frame(TEXT, fox[:2]), frame(TEXT, fox[2:]), code=1007)
    yield "6.8 a good text before", wrong(text("🦊"), frame(TEXT, b"\xff"), code=1007, heard=("🦊",))


# --- 7: closing ------------------------------------------------------------------------------------------------------

GOOD_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4001, 4503, 4999)
BAD_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 32_768, 65_535)


def _closes() -> Iterator[tuple[str, Case]]:
    for code in GOOD_CODES:
        yield f"7.1 {code}", Case((close(code),), codes=(code,))
    yield "7.1 1014, which the registry has and not every library", Case((close(1014),), codes=(1014, 1002))
    for code in BAD_CODES:
        yield f"7.2 {code}", wrong(close(code))
        yield f"7.2 {code} with a reason", wrong(close(code, b"because"))
    yield "7.3 without a code", Case((frame(CLOSE),), codes=(NO_CODE, 1000))
    yield "7.4 of one byte", wrong(frame(CLOSE, b"\x03"))
    for reason in (b"bye", "κόσμε".encode(), b"x" * 123):
        yield f"7.5 a reason of {len(reason)} bytes", Case((close(3000, reason),), codes=(3000,))
    yield "7.6 a reason of 124 bytes", wrong(close(1000, b"x" * 124))
    for octets in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"good \xe2\x82"):
        yield f"7.7 a reason of {octets.hex()}", wrong(close(1000, octets), code=1007)
    yield "7.8 text behind it", Case((close(4000), text("late")), codes=(4000,))
    yield "7.8 a ping behind it", Case((close(4000), frame(PING, b"late")), codes=(4000,))
    yield "7.8 nonsense behind it", Case((close(4000), b"\xff" * 50), codes=(4000,))
    yield "7.8 another one behind it", Case((close(4000), close(3000)), codes=(4000,))
    yield "7.9 a message before it", Case((text("a"), close(4000)), ("a",), (4000,))
    yield "7.9 a ping before it", Case((frame(PING, b"p"), close(4000)), codes=(4000,), pings=(b"p",))
    yield "7.10 between fragments", Case((part(b"x", first=True), close(4000)), codes=(4000,))


# --- 9: limits -------------------------------------------------------------------------------------------------------


def _limits() -> Iterator[tuple[str, Case]]:
    full = b"x" * MAX_BYTES
    yield "9.1 the largest in two", fine(*parts(full[1:], b"x"), heard=(full.decode(),))
    yield "9.1 the largest, and empty fragments", fine(*parts(full, b"", b""), heard=(full.decode(),))
    between = (part(full[:-1], first=True), frame(PING, b"between"), part(b"x", last=True))
    yield "9.1 the largest, and a ping between", fine(*between, heard=(full.decode(),), pings=(b"between",))
    yield "9.2 a byte too many", wrong(frame(TEXT, full + b"x"), code=1009)
    yield "9.2 a byte too many, of bytes", wrong(frame(BINARY, full + b"x"), code=1009)
    yield "9.3 a byte too many in the second", wrong(*parts(full, b"x"), code=1009)
    yield "9.3 a byte too many in the last of many", wrong(*parts(*[full[:4096]] * 16, b"", b"x"), code=1009)
    yield "9.3 a byte too many, and no end", wrong(part(full, first=True), part(b"x"), code=1009)
    yield "9.4 too many bytes, if not characters", wrong(text("€" * 22_000), code=1009)
    huge = b"\x81\xff" + struct.pack("!Q", 2**63 - 1) + b"\0\0\0\0"
    yield "9.5 the largest length there is", Case((huge + full + b"x",), codes=(1009,))
    small = tuple(f"{number:01000}" for number in range(100))
    yield "9.6 a hundred small ones", fine(*map(text, small), heard=small)
    halves = ("x" * 40_000, "y" * 40_000)
    again = [each for half in halves for each in parts(half[:9].encode(), half[9:].encode())]
    yield "9.6 the sum begins anew, in fragments", fine(*again, heard=halves)
    yield "9.6 the sum begins anew", fine(text("x" * 40_000), text("y" * 40_000), heard=("x" * 40_000, "y" * 40_000))


def _announced() -> Iterator[tuple[str, Case]]:
    """Nothing of the message comes but its length."""
    for name, head in (
        ("65537", b"\x81\xff" + struct.pack("!Q", 65_537)),
        ("2^63-1", b"\x82\xff" + struct.pack("!Q", 2**63 - 1)),
    ):
        yield f"9.7 {name} announced", Case((head + MASK,), codes=(1009,))
    rest = b"\x80\xff" + struct.pack("!Q", 65_536) + MASK
    yield "9.7 too much announced by the second fragment", Case((part(b"x", first=True), rest), codes=(1009,))


SECTIONS: Final[Mapping[str, Mapping[str, Case]]] = {
    "1 framing": dict(_framing()),
    "2 pings and pongs": dict(_control()),
    "3 reserved bits": dict(_reserved()),
    "4 opcodes": dict(_opcodes()),
    "5 fragments": dict(_fragments()),
    "6 UTF-8": dict(_texts()),
    "7 closing": dict(_closes()),
    "9 limits": dict(_limits()),
    "10 lengths and masks": dict(_lengths()) | dict(_masks()),
}
ANNOUNCED: Final[Mapping[str, Case]] = dict(_announced())
