"""Icons of sites as small pictures, decoded from what is here already, bounded, on a thread.

Owns: which icons are decoded and how far; the pixels as half blocks (two pixels a cell, which any terminal with
256 colours shows, through tmux and ssh, too).
Promises: nothing a site chose is fetched. An icon that is an http(s) URL would tell its server where this device is and
when its user looks, so only `data:` URLs are shown; for anything else there is the coloured letter of the site. A
broken or oversized image, or one of a format that is not wanted, is no picture, never an error. No more than KEPT are
remembered. Without Pillow (`pip install 'pushctl[icons]'`) there are no pictures.
Must not know: where a picture is shown, what a terminal can (graphics.py).
"""

import base64
import binascii
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Final
from urllib.parse import unquote_to_bytes

import trio
from rich.color import Color
from rich.style import Style
from rich.text import Text

MAX_URL_CHARACTERS: Final = 64 * 1024
"""The service takes 16 KiB (docs/protocol.md, section 1); another one may not."""

MAX_PIXELS: Final = 512 * 512
"""Of the image as it was sent: 12 KB of PNG can claim to be a gigapixel. What claims more is not decoded at all."""

FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "ICO")
PNG_SIDE: Final = 64
SMALL, LARGE = (4, 2), (12, 6)
"""Cells, wide and high: nearly square."""

KEPT: Final = 256
WAITING: Final = 64

_DATA_URL: Final = re.compile(r"data:image/[\w.+-]+((?:;[\w.+=-]+)*),(.*)", re.DOTALL)

Size = tuple[int, int]
Grid = list[list[tuple[int, int, int] | None]]
"""Rows of pixels; None is transparent."""


@dataclass(frozen=True, slots=True)
class Picture:
    """`png`: at most 64 x 64 pixels, encoded by us, so that no byte of the sender's reaches a terminal's decoder."""

    png: bytes
    grids: dict[Size, Grid]

    def blocks(self, size: Size) -> list[Text]:
        """As half blocks, a Text per row."""
        grid = self.grids[size]
        return [_row(grid[2 * row], grid[2 * row + 1]) for row in range(size[1])]


class Icons:
    """Those of one screen. `run` decodes what `picture` was asked for; `changed` is called when there is a new one."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.available = find_spec("PIL") is not None
        self._changed = changed
        self._known: OrderedDict[str, Picture | None] = OrderedDict()
        self._asked, self._to_decode = trio.open_memory_channel[str](WAITING)

    def picture(self, icon: str | None) -> Picture | None:
        """None if there is none, or not yet."""
        if icon is None or not self.available or not icon.startswith("data:"):
            return None
        if icon in self._known:
            self._known.move_to_end(icon)
            return self._known[icon]
        try:
            self._asked.send_nowait(icon)
        except trio.WouldBlock:
            return None  # asked again when the screen is drawn again
        self._keep(icon, None)
        return None

    async def run(self) -> None:
        async for icon in self._to_decode:
            picture = await trio.to_thread.run_sync(decode, icon)
            if picture is not None:
                self._keep(icon, picture)
                self._changed()

    def _keep(self, icon: str, picture: Picture | None) -> None:
        self._known[icon] = picture
        if len(self._known) > KEPT:
            self._known.popitem(last=False)


def decode(icon: str) -> Picture | None:
    """The picture in a `data:` URL, or None. Needs Pillow; bounded in memory and, nearly, in time."""
    from PIL import Image, ImageOps

    raw = _bytes_in(icon)
    if raw is None:
        return None
    # An image inside of another (ICO holds PNG) is held to this by Pillow itself: it refuses twice as many.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        # What Pillow warns of would be written over the screen.
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(raw), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            whole = image.convert("RGBA")
    except Exception:  # noqa: BLE001 (Pillow raises whatever a format makes it stumble over: SyntaxError, struct.error)
        return None
    whole.thumbnail((PNG_SIDE, PNG_SIDE))
    side = max(whole.size)
    square = ImageOps.pad(whole, (side, side), color=(0, 0, 0, 0))
    png = BytesIO()
    square.save(png, "PNG")
    grids = {size: _grid(square.resize((size[0], 2 * size[1])).tobytes(), size[0]) for size in (SMALL, LARGE)}
    return Picture(png.getvalue(), grids)


def _bytes_in(icon: str) -> bytes | None:
    match = _DATA_URL.fullmatch(icon) if len(icon) <= MAX_URL_CHARACTERS else None
    if match is None:
        return None
    raw = unquote_to_bytes(match[2])
    if not match[1].endswith(";base64"):
        return raw
    try:
        return base64.b64decode(raw)
    except binascii.Error:
        return None


def _grid(rgba: bytes, width: int) -> Grid:
    pixels = [(*rgba[at : at + 3], rgba[at + 3]) for at in range(0, len(rgba), 4)]
    seen = [(red, green, blue) if opaque >= 128 else None for red, green, blue, opaque in pixels]
    return [seen[at : at + width] for at in range(0, len(seen), width)]


def _row(upper: list[tuple[int, int, int] | None], lower: list[tuple[int, int, int] | None]) -> Text:
    row = Text()
    for top, bottom in zip(upper, lower, strict=True):
        if top is None:
            row.append(" " if bottom is None else "▄", Style(color=_colour(bottom)))
        else:
            row.append("▀", Style(color=_colour(top), bgcolor=_colour(bottom)))
    return row


def _colour(pixel: tuple[int, int, int] | None) -> Color | None:
    return None if pixel is None else Color.from_rgb(*pixel)
