"""The first frame of a connection, which must be a hello, and frames as they come from a device, decoded.

Owns: these. Must not know: what a frame does.
"""

import trio

from pushctl.errors import TooSlow
from pushctl.protocol import frames, mozilla
from roles.socket.wire import Wire


def decode(message: str | bytes) -> frames.ClientFrame:
    if isinstance(message, bytes):
        raise frames.FrameInvalid("binary frames mean nothing here; send JSON as text", field="$")
    return frames.decode_client_frame(message)


async def read_hello(wire: Wire, seconds: float) -> frames.Hello:
    """The first frame, which must be a hello. Raises Problem or Disconnected."""
    with trio.move_on_after(seconds):
        frame = decode(await wire.receive())
        if not isinstance(frame, frames.Hello):
            raise frames.FrameInvalid("the first frame is hello", field="$.type")
        return frame
    raise TooSlow(f"no hello within {seconds:g} s")


async def read_browser_hello(wire: Wire, conversation: mozilla.Conversation, seconds: float) -> mozilla.Hello:
    """The first frame of a browser. Raises Problem or Disconnected."""
    with trio.move_on_after(seconds):
        frame = conversation.hear(await wire.receive(), trio.current_time())
        assert isinstance(frame, mozilla.Hello)
        return frame
    raise TooSlow(f"no hello within {seconds:g} s")
