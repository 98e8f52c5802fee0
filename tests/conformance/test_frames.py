"""What RFC 6455 demands of a server when frames come, case by case (cases.py), at the seam and over TCP."""

from collections.abc import Callable, Mapping, Sequence

import pytest
from trio.testing import MockClock

from tests.conformance.cases import ANNOUNCED, SECTIONS, Case, close, frame
from tests.conformance.seam import Peer, Said, Server, converse, listening
from tests.scenario.raw_frames import PING

FIRST_BYTES, STEP = 60, 997
"""Of what comes byte by byte: so many, the rest in larger segments."""


def in_one(case: Case) -> list[bytes]:
    return [case.octets]


def byte_by_byte(case: Case) -> list[bytes]:
    octets = case.octets
    first = [octets[at : at + 1] for at in range(min(FIRST_BYTES, len(octets)))]
    return first + [octets[at : at + STEP] for at in range(FIRST_BYTES, len(octets), STEP)]


def faults(case: Case, server: Server, said: Said) -> list[str]:
    found = [] if server.crashed is None else [f"crashed: {server.crashed!r}"]
    if tuple(server.heard) != case.heard:
        found.append(f"heard {server.heard!r:.200}")
    if said.close_code not in case.codes:
        found.append(f"closed with {said.close_code}, not {case.codes}")
    if not is_answered(case, said.pongs):
        found.append(f"pongs {said.pongs}")
    return found


def is_answered(case: Case, pongs: Sequence[bytes]) -> bool:
    """Each pong answers a ping, in their order, and the last ping has one."""
    rest = iter(case.pings)
    return all(pong in rest for pong in pongs) and (not case.goes_on or pongs[-1:] == list(case.pings[-1:]))


async def verdicts(
    cases: Mapping[str, Case], cut: Callable[[Case], Sequence[bytes]] = in_one
) -> Mapping[str, Sequence[str]]:
    """Of each that is not met, why."""
    found = {name: faults(case, *await converse([*cut(case), close(1000)])) for name, case in cases.items()}
    return {name: why for name, why in found.items() if why}


@pytest.mark.parametrize("cut", [in_one, byte_by_byte])
@pytest.mark.parametrize("section", SECTIONS)
async def test_frames(section: str, cut: Callable[[Case], Sequence[bytes]], autojump_clock: MockClock) -> None:
    assert await verdicts(SECTIONS[section], cut) == {}


CONVERSATION = (
    "1.1 text of 0 bytes",
    "2.1 a ping of 8 bytes",
    "2.2 a pong unasked, of 0 bytes",
    "5.4 pings between",
    "5.5 text, then bytes",
    "6.7 a character in fragments, with a ping between",
)


async def test_a_conversation_may_be_cut_anywhere(autojump_clock: MockClock) -> None:
    cases = {name: case for section in SECTIONS.values() for name, case in section.items()}
    whole = joined([cases[name] for name in CONVERSATION])
    for at in range(1, len(whole.octets)):
        assert faults(whole, *await converse([whole.octets[:at], whole.octets[at:], close(1000)])) == [], at


def joined(cases: Sequence[Case]) -> Case:
    """One after the other."""
    return Case(
        tuple(octets for case in cases for octets in case.sent),
        tuple(message for case in cases for message in case.heard),
        pings=tuple(ping for case in cases for ping in case.pings),
        goes_on=True,
    )


async def test_a_length_that_is_too_much_is_enough(autojump_clock: MockClock) -> None:
    assert await verdicts(ANNOUNCED) == {}


OVER_TCP = ("1 framing", "5 fragments", "7 closing", "9 limits")

OVER = b"over"
"""In a last ping, over TCP: with its pong all that came before has been heard."""


async def test_frames_over_tcp() -> None:
    server = Server()
    found: dict[str, Sequence[str]] = {}
    async with listening(lambda stream: server.serve(stream)) as connect:
        for name, case in [each for section in OVER_TCP for each in SECTIONS[section].items()]:
            server = Server()
            last = joined([case, Case((frame(PING, OVER),), pings=(OVER,))]) if case.goes_on else case
            async with Peer(await connect()) as peer:
                await peer.ask()
                await peer.send(last.octets)
                if case.goes_on:
                    await peer.until(OVER)
                    await peer.send(close(1000))
                said = await peer.rest()
            if why := faults(last, server, said):
                found[name] = why
    assert found == {}
