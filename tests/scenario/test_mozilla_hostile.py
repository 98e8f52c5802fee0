"""What no browser does, and what it may cost the others."""

import pytest
import trio

from tests.scenario.mozilla_peer import Browser
from tests.scenario.people import Town
from tests.scenario.raw_frames import TEXT, raw_frame, raw_peer, text


@pytest.mark.slow
async def test_a_browser_that_floods_with_large_frames_is_read_in_its_pace_and_closed(town: Town) -> None:
    """A frame of a thousand message ids takes 12 ms: with a hundred in a second one connection had the whole server."""
    url = town.service.sockets["s1"]
    ack = text({"messageType": "ack", "updates": [{"version": "A" * 76}] * 650})
    async with Browser(url).connected() as other:
        peer = await raw_peer(url)
        await peer.upgrade(protocol=b"push-notification")
        await peer.send(raw_frame(TEXT, b'{"messageType":"hello","use_webpush":true}'))
        await peer.read_until(b'"status":200')
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, ack * 100)
            with trio.fail_after(10):
                await other.ping()
            with trio.fail_after(15):
                await peer.closed()
