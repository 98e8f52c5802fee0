"""What is said to terminals that show pictures, and that nothing is said to others."""

import pytest

from pushctl.cli.client.live.graphics import MOST_IMAGES, ITerm, Kitty, Placed, graphics_of

NEWS = Placed(3, 2, 4, 2, b"news")
SHOP = Placed(5, 2, 4, 2, b"shop")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kitty(0.32.2)", Kitty),
        ("ghostty 1.0.1", Kitty),
        ("WezTerm 20240203-110809", Kitty),
        ("iTerm2 3.5.0", ITerm),
        ("tmux 3.3a", None),
        ("XTerm(379)", None),
        ("VTE(7006)", None),
        ("", None),
    ],
)
def test_only_terminals_known_to_show_pictures_are_sent_any(name: str, kind: type[Kitty | ITerm] | None) -> None:
    found = graphics_of(name)
    assert found is None if kind is None else isinstance(found, kind)


def test_kitty_gets_an_image_once_and_its_places_when_they_change() -> None:
    kitty = Kitty()
    first = kitty.show([NEWS, SHOP], set())
    assert first.count("a=t,f=100") == 2
    assert "\x1b[4;3H\x1b_Ga=p,q=2,C=1" in first
    assert kitty.show([NEWS, SHOP], {3, 4}) == ""
    moved = kitty.show([SHOP], set())
    assert (moved.count("a=t"), moved.count("a=d,q=2,d=i"), moved.count("a=p")) == (0, 2, 1)


def test_kitty_forgets_what_it_was_sent() -> None:
    kitty = Kitty()
    kitty.show([NEWS], set())
    assert kitty.clear().count("d=I") == 1
    assert kitty.clear() == ""
    assert kitty.show([NEWS], set()).count("a=t,f=100") == 1


def test_kitty_is_not_filled_with_images() -> None:
    kitty = Kitty()
    for number in range(MOST_IMAGES + 1):
        kitty.show([Placed(0, 0, 4, 2, str(number).encode())], set())
    assert kitty.show([NEWS], set()).count("d=I") == MOST_IMAGES + 1


def test_a_large_image_goes_in_pieces_a_terminal_takes() -> None:
    said = Kitty().show([Placed(0, 0, 4, 2, b"x" * 10_000)], set())
    pieces = [piece.rpartition(";")[2] for piece in said.split("\x1b\\") if ",m=" in piece]
    assert [len(piece) for piece in pieces] == [4096, 4096, 4096, 1048]


def test_iterm_is_sent_a_picture_again_only_where_text_was_written() -> None:
    iterm = ITerm()
    first = iterm.show([NEWS, SHOP], set())
    assert first.count("\x1b]1337;File=inline=1;width=4;height=2;size=4:bmV3cw==\a") == 1
    assert iterm.show([NEWS, SHOP], {0, 1, 7}) == ""
    assert iterm.show([NEWS, SHOP], {6}).startswith("\x1b[6;3H\x1b]1337;")
