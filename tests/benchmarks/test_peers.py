"""The benchmark of pushctl and its peers: small, with those that are installed, and what its devices and ledger make of
what they hear."""

import faulthandler
import json
import sys
from pathlib import Path

import pytest
import trio

from tests.benchmarks.bare import BINARY, TEXT, frames, masked
from tests.benchmarks.peer import Dialect, Heard, mosquitto, nats, nchan, pushctl, socketio
from tests.benchmarks.peers import missing
from tests.benchmarks.peers_devices import BODY, Ledger, Outcome
from tests.benchmarks.peers_run import PEERS

ONE, TWO = (BODY.format(number).encode() for number in (1, 2))


def heard_in_pieces(dialect: Dialect, data: bytes, size: int) -> Heard:
    """All that it makes of a stream that comes in frames of so many bytes."""
    found = Heard()
    for at in range(0, len(data), size):
        heard = dialect.hears(data[at : at + size])
        found.messages += heard.messages
        found.answers += heard.answers
        found.ready |= heard.ready
    return found


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_mqtt_is_understood_however_it_is_cut(size: int) -> None:
    said = b"".join(
        bytes([0x32, (len(body) + 5) & 127 | 128, (len(body) + 5) >> 7]) + b"\0\1t\0" + bytes([n]) + body
        for n, body in ((7, ONE), (8, TWO))
    )
    heard = heard_in_pieces(mosquitto.Dialect(5), b"\x20\2\1\0" + b"\x90\3\0\1\1" + said, size)
    assert (heard.messages, heard.ready) == ([1, 2], True)
    assert heard.answers == [b"\x40\2\0\7", b"\x40\2\0\10"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_nats_is_understood_however_it_is_cut(size: int) -> None:
    said = b"".join(b"MSG to.5 1 $JS.ACK.%d 200\r\n%s\r\n" % (n, body) for n, body in ((7, ONE), (8, TWO)))
    heard = heard_in_pieces(nats.Dialect(5), b'INFO {"a":1}\r\nPONG\r\n' + said + b"PING\r\n", size)
    assert (heard.messages, heard.ready) == ([1, 2], True)
    assert heard.answers == [b"PUB $JS.ACK.7 0\r\n\r\n", b"PUB $JS.ACK.8 0\r\n\r\n", b"PONG\r\n"]


def test_a_device_says_where_it_was_when_it_comes_again() -> None:
    ours = pushctl.Dialect("secret")
    heard = ours.hears(b'{"type":"message","cursor":"c1","message":{"notification":{"body":"%s"}}}' % ONE)
    assert (heard.messages, heard.answers) == ([1], [b'{"type": "ack", "cursor": "c1"}'])
    assert ours.hello() == [b'{"type": "hello", "token": "secret", "cursor": "c1"}']
    channel = nchan.Dialect(5)
    assert channel.hears(b"id: 17:0\ncontent-type: text/plain\n\n" + ONE).messages == [1]
    assert channel.request() == ("/listen/5?last_event_id=17:0", "ws+meta.nchan")
    room = socketio.Dialect(5)
    assert room.hears(b'40{"sid":"s","pid":"p"}').ready
    assert room.hears(b'42["message","%s","17-0"]' % ONE).messages == [1]
    assert room.hears(b'0{"sid":"s"}').answers == [b'40{"pid": "p", "offset": "17-0"}']


def test_frames_are_found_however_long_they_are() -> None:
    buffer = bytearray(bytes([0x80 | TEXT, 2]) + b"ab" + bytes([0x80 | BINARY, 126, 0, 200]) + ONE + b"\x81")
    assert list(frames(buffer)) == [(TEXT, b"ab"), (BINARY, ONE)]
    assert buffer == b"\x81"
    assert masked(TEXT, ONE) == bytes([0x80 | TEXT, 0xFE, 0, 200, 0, 0, 0, 0]) + ONE


async def test_what_was_confirmed_and_does_not_come_is_lost_and_what_comes_late_is_out_of_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ledger = Ledger()
    for _ in range(4):
        number = ledger.sends(device=5)
        await trio.sleep(1)
        if number != 3:
            ledger.confirms(number)
        await trio.sleep(1)
    for number in (1, 0, 0, 3):
        ledger.arrives(number, 5)
    await ledger.settled(10)
    assert ledger.outcome(range(4)) == Outcome(sent=4, confirmed=3, lost=1, twice=1, disordered=1)


@pytest.mark.long
@pytest.mark.alone
async def test_those_that_are_installed_are_measured_side_by_side(tmp_path: Path) -> None:
    faulthandler.cancel_dump_traceback_later()  # it takes a minute or two, and bounds itself
    names, told = [name for name in PEERS if not missing([name])], tmp_path / "peers.json"
    with trio.fail_after(400):
        command = [sys.executable, "-m", "tests.benchmarks.peers", "--quick", "--json", str(told), "--peers", *names]
        await trio.run_process(command, capture_stdout=True)
    lives = json.loads(told.read_text())["lives"]
    assert [life["peer"] for life in lives] == names
    assert all(life["away"]["confirmed"] == life["away"]["sent"] > 0 for life in lives)
