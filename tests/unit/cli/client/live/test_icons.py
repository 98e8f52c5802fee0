"""Icons of sites: what becomes a picture, what does not, and that nothing else happens."""

import warnings
from io import BytesIO

import pytest
import trio
from PIL import Image

from pushctl.cli.client.live.icons import LARGE, SMALL, Icons, decode
from tests.unit.cli.pictures import bomb, data_url, ico_with, image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "ICO"])
def test_an_icon_becomes_a_small_picture_of_our_own_encoding(kind: str) -> None:
    picture = decode(data_url(image(kind, (300, 200))))
    assert picture is not None
    assert picture.png.startswith(b"\x89PNG")
    assert {size: (len(grid[0]), len(grid)) for size, grid in picture.grids.items()} == {SMALL: (4, 4), LARGE: (12, 12)}
    red = picture.grids[SMALL][2][2]
    assert red is not None
    assert red[0] > 240


def test_a_picture_as_half_blocks_leaves_out_what_is_transparent() -> None:
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    half.paste((0, 255, 0, 255), (0, 0, 2, 1))
    raw = BytesIO()
    half.save(raw, "PNG")
    picture = decode(data_url(raw.getvalue()))
    assert picture is not None
    upper, lower = picture.blocks(SMALL)
    assert (len(upper.plain), lower.plain) == (4, "    ")
    assert {str(span.style) for span in upper.spans} == {"#00ff00 on #00ff00"}


@pytest.mark.parametrize(
    "icon",
    [
        "https://news.example/i.png",
        "data:text/html;base64,AAAA",
        "data:image/png;base64,",
        "data:image/png;base64,!!!",
        "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>",
        data_url(image()[:60]),
        data_url(image("BMP"), "bmp"),
        data_url(b"\0" * 500),
        data_url(image() + b"\0" * 60_000),
    ],
    ids=["remote", "no image", "empty", "no base64", "svg", "cut off", "other format", "zeros", "too long"],
)
def test_what_is_no_picture_is_none(icon: str) -> None:
    assert decode(icon) is None


@pytest.mark.parametrize(
    "raw", [bomb(30_000), bomb(3000), bomb(600), ico_with(bomb(3000))], ids=["900 Mpx", "9 Mpx", "0.4 Mpx", "in ico"]
)
def test_an_image_that_claims_to_be_huge_is_not_decoded_nor_warned_of_over_the_screen(raw: bytes) -> None:
    assert len(raw) < 40_000
    with warnings.catch_warnings(record=True, action="always") as warned:
        assert decode(data_url(raw)) is None
    assert warned == []


async def test_icons_are_decoded_beside_the_screen_and_once() -> None:
    decoded = trio.Event()
    icons = Icons(decoded.set)
    icon = data_url(image())
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            assert icons.picture(icon) is None
            nursery.start_soon(icons.run)
            await decoded.wait()
            assert icons.picture(icon) is icons.picture(icon) is not None
            nursery.cancel_scope.cancel()


async def test_a_remote_icon_is_never_asked_for() -> None:
    icons = Icons()
    assert icons.picture("https://news.example/i.png") is None
    assert icons._to_decode.statistics().current_buffer_used == 0


async def test_without_pillow_there_are_none() -> None:
    icons = Icons()
    icons.available = False
    assert icons.picture(data_url(image())) is None


async def test_no_more_than_so_many_are_remembered() -> None:
    icons = Icons()
    for number in range(1000):
        icons._keep(f"data:{number}", None)
    assert len(icons._known) == 256
