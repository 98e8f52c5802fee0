"""Images as sites send them."""

import base64
import struct
import zlib
from io import BytesIO

from PIL import Image


def data_url(raw: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"


def image(kind: str = "PNG", size: tuple[int, int] = (32, 32), colour: tuple[int, ...] = (255, 0, 0)) -> bytes:
    raw = BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(raw, kind)
    return raw.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few KiB with side x side pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * ((side // 8 + 1) * min(side, 3000)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def ico_with(png: bytes) -> bytes:
    """A PNG of any size in an ICO that says 16 x 16."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + png
