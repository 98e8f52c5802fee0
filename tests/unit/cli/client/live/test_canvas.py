"""A terminal as a sheet of lines: what is written to it, and that it is given back."""

from io import StringIO

from rich.console import Console
from rich.text import Text

from pushctl.cli.client.live.canvas import Canvas, place
from pushctl.cli.client.live.icons import Picture


def sheet(**options: bool) -> tuple[Canvas, StringIO]:
    written = StringIO()
    canvas = Canvas(Console(file=written, force_terminal=True, color_system="256", width=20, height=4, **options))  # type: ignore[arg-type]
    canvas.open()
    return canvas, written


def said(written: StringIO) -> str:
    """Since the last time."""
    text = written.getvalue()
    written.seek(0)
    written.truncate()
    return text


def test_only_lines_that_differ_are_written() -> None:
    canvas, written = sheet()
    canvas.draw([Text("one"), Text("two")])
    said(written)
    canvas.draw([Text("one"), Text("2", style="bold")])
    second = said(written)
    assert ("one" in second, "\x1b[2;1H" in second) == (False, True)
    canvas.draw([Text("one"), Text("2", style="bold")])
    assert said(written) == ""
    canvas.forget()
    canvas.draw([Text("one"), Text("2", style="bold")])
    assert "one" in said(written)


def test_a_line_as_wide_as_the_terminal_is_not_cut_by_erasing_what_follows() -> None:
    canvas, written = sheet()
    said(written)
    canvas.draw([Text("x" * 20)])
    assert said(written).endswith("x" * 20 + "\x1b[?2026l")


def test_the_terminal_is_asked_for_its_name_before_anything_is_drawn_and_given_back_once() -> None:
    canvas, written = sheet()
    assert said(written).startswith("\x1b[>0q\x1b[?1049h")
    canvas.close()
    canvas.close()
    canvas.draw([Text("late")])
    assert said(written) == "\x1b[0m\x1b[?2004l\x1b[?7h\x1b[?25h\x1b[?1049l"


def test_pictures_go_to_terminals_that_show_them_and_end_with_the_screen() -> None:
    picture = Picture(b"png", {})
    line = Text.assemble("  ", place(picture, 4, 2)[0], " news")
    canvas, written = sheet()
    canvas.draw([Text(), line, Text()])
    assert "\x1b_G" not in said(written)
    canvas.named("kitty(0.32)")
    canvas.draw([Text(), line, Text()])
    assert "\x1b[2;3H\x1b_Ga=p,q=2,C=1" in said(written)
    canvas.draw([Text(), Text(), line])
    assert "a=p" not in said(written), "only half of it fits"
    canvas.close()
    assert "d=I" in said(written)


def test_without_colours_there_are_neither_pictures_nor_blocks() -> None:
    canvas, _ = sheet(no_color=True)
    canvas.named("kitty(0.32)")
    assert (canvas.pictures, canvas.blocks) == (False, False)


def test_what_is_copied_goes_to_the_clipboard_of_the_terminal() -> None:
    canvas, written = sheet()
    said(written)
    canvas.copy("https://x.example/ü")
    assert said(written) == "\x1b]52;c;aHR0cHM6Ly94LmV4YW1wbGUvw7w=\a"
