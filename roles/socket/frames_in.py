"""Frames as they come from a device: decoded, and the first of them, which must be a hello.

Owns: these two. Must not know: what a frame does.
"""

import trio

from pushctl.errors import TooSlow
from pushctl.protocol import frames
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
