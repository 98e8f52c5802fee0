"""How the live screen looks: its state as lines, at any size.

Owns: layout, words and colours of the screen. With little room the connection keeps its place, then messages, then
push URLs; each push URL takes two lines (with its icon and its URL) where there are enough of them.
Promises: exactly as many lines as the terminal has, none wider than it, whatever senders wrote. What a colour says, a
word or a sign says too.
Must not know: keys (screen.py), how a line reaches the terminal (canvas.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Final

from rich.console import Console
from rich.text import Text

from pushctl.cli.client.lines import host_of, initial, message_line, urgency
from pushctl.cli.client.live.canvas import place
from pushctl.cli.client.live.icons import LARGE, SMALL, Icons, Picture, Size
from pushctl.cli.client.live.screen import Help, InFull, Screen, Sure, Typing
from pushctl.cli.client.live.selection import window
from pushctl.cli.values import age
from pushctl.client.foreign import printable
from pushctl.client.store import StoredMessage
from pushctl.clock import parse_rfc3339
from pushctl.protocol.frames import PushUrl

MIN_WIDTH, MIN_HEIGHT = 20, 6
TALL: Final = 20
"""From this height on push URLs take two lines."""

MOST_CHARACTERS: Final = 20_000
"""Of a message in full."""

LETTER_CELLS: Final = 3
_MEASURE: Final = Console(file=StringIO(), width=80)

_KEYS: Final = (
    ("Tab", "go to the other list (messages, push URLs)"),
    ("↑ ↓ j k", "select; PgUp PgDn Home End g G go further"),
    ("Enter", "show what is selected in full; Esc goes back"),
    ("r", "read the selected message (the newest if none is selected)"),
    ("A", "read all; read ones disappear on your other devices"),
    ("a", "allow a site: type it, get its push URL"),
    ("x", "revoke the selected push URL, or that of the message"),
    ("c", "copy the push URL, or the message's link or text"),
    ("R", "reconnect now"),
    ("Ctrl-L", "draw everything again"),
    ("q", "quit; Ctrl-Z suspends"),
)
_HINTS: Final = ("? help", "q quit", "r read", "A all", "a allow", "x revoke", "Enter open", "Tab list", "R reconnect")


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal can: `pictures` (its own graphics), `blocks` (colours enough for half blocks)."""

    icons: Icons
    pictures: bool = False
    blocks: bool = False

    def slot(self, site: str, icon: str | None, size: Size) -> list[Text]:
        """The icon of a site in so many cells; the coloured letter at the left of the first line where it has none."""
        picture = self.icons.picture(icon) if self.pictures or self.blocks else None
        if picture is not None and (self.pictures or size in picture.grids):
            return place(picture, *size) if self.pictures else picture.blocks(size)
        blank = " " * size[0]
        letter = initial(site)
        letter.pad_right(max(size[0] - letter.cell_len, 0))
        return [letter, *(Text(blank) for _ in range(size[1] - 1))]

    def beside(self, site: str, icon: str | None) -> Text:
        """In one line: a picture if the terminal has them, for half blocks are too coarse here, else the letter."""
        picture: Picture | None = self.icons.picture(icon) if self.pictures else None
        return initial(site) if picture is None else Text.assemble(place(picture, 2, 1)[0], " ")


def frame(screen: Screen, look: Look, width: int, height: int) -> list[Text]:
    """Exactly `height` lines, none wider than `width` cells."""
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        return _fitted([Text("too small; q quits")], width, height)
    screen.refresh()
    top = _header(screen, width, height)
    room = height - len(top) - 1
    match screen.mode:
        case Help():
            body = _scrolled(screen.mode, "Help", _help(screen, look), width, room)
        case InFull():
            body = _in_full(screen, screen.mode, look, width, room)
        case _:
            body = _lists(screen, look, width, room)
    body += [Text()] * (room - len(body))
    return _fitted([*top, *body[:room], _foot(screen, width)], width, height)


# --- top and bottom --------------------------------------------------------------------------------------------------


def _header(screen: Screen, width: int, height: int) -> list[Text]:
    session = screen.phone.store.session()
    who = f"{printable(session.account)} · {printable(session.device_name)}" if session else "not logged in"
    link = screen.link
    style = "green" if link.up else "yellow" if link.words == "connecting" else "red"
    state = Text(f"{'●' if link.up else '○'} {link.words}", style)
    if link.retry_at_ms is not None:
        wait_seconds = max(link.retry_at_ms - screen.clock(), 0) / 1000
        state.append(f", again in {wait_seconds:.0f} s" if wait_seconds else ", trying")
    lines = _pair(Text.assemble((" pushctl ", "bold reverse"), " ", who), state, width)
    return lines + _pair(Text(link.note), _box_office(screen), width)[: 2 if height >= TALL else 1]


def _box_office(screen: Screen) -> Text:
    answer = screen.phone.box_office
    if answer is None:
        return Text("")
    said = "no list"
    if answer.servers is not None:
        said = f"{answer.servers} server{'' if answer.servers == 1 else 's'}"
    since = age((screen.clock() - answer.at_ms) / 1000)
    return Text(f"Box Office, {since if since == 'now' else f'{since} ago'}: {said}", "dim")


def _pair(left: Text, right: Text, width: int) -> list[Text]:
    """On one line, at both ends of it, if that has room for both."""
    room = width - left.cell_len - right.cell_len
    if room < 2 and right.plain:
        return [left, right]
    return [Text.assemble(left, " " * max(room, 0), right)]


def _foot(screen: Screen, width: int) -> Text:
    match screen.mode:
        case Typing(text, wrong):
            return _typing(text, wrong, width)
        case Sure(push_url):
            question = f"Revoke {host_of(push_url.site)}? Its push URL answers 410 from then on."
            shown = Text(question, "bold")
            shown.truncate(width - len("  y/n"), overflow="ellipsis")
            return shown.append("  y/n", "reverse")
        case _ if screen.said is not None:
            said, failed = screen.said
            return Text(said, "red" if failed else "green")
        case Help():
            hints: Sequence[str] = ("Esc back", "q quit", "↑↓ scroll")
        case InFull():
            read = ("r read",) if screen.focus == "messages" else ()
            hints = ("Esc back", "q quit", "c copy", *read, "x revoke", "↑↓ scroll")
        case _:
            hints = _HINTS
    return _hints(hints, width)


def _hints(hints: Sequence[str], width: int) -> Text:
    """As many as there is room for, the first before the others; shown in the order in which hands look for them."""
    shown: list[str] = []
    for hint in hints:
        if sum(map(len, shown)) + 3 * len(shown) + len(hint) <= width:
            shown.append(hint)
    if hints is _HINTS:
        shown = [*shown[2:], *shown[:2]]
    foot = Text("   ".join(shown), "reverse")
    foot.pad_right(max(width - foot.cell_len, 0))
    return foot


def _typing(text: str, wrong: str, width: int) -> Text:
    if wrong:
        return Text(f"{wrong}: edit it, Esc leaves", "red")
    label, after = "Allow which site? ", "  Enter asks, Esc leaves"
    if width < 60:
        label, after = "Allow: ", ""
    typed = Text(text)
    room = width - len(label) - len(after) - 1
    while typed.cell_len > room:
        typed = typed[1:]
    return Text.assemble((label, "bold"), typed, (" ", "reverse"), (after, "dim"))


# --- the lists -------------------------------------------------------------------------------------------------------


def _lists(screen: Screen, look: Look, width: int, room: int) -> list[Text]:
    each = 2 if room >= TALL - 3 else 1
    # A third, two where keys go there, or what messages leave.
    share = max(room * (2 if screen.focus == "push_urls" else 1) // 3, room - 1 - max(len(screen.messages), 1))
    rows = max(min(len(screen.push_urls), (share - 1) // each), 1)
    lines = _push_urls(screen, look, width, rows, each)
    left = room - len(lines) - 1
    unread = sum(1 for stored in screen.messages if not stored.read)
    shown = window(screen.chosen["messages"].row, len(screen.messages), left)
    title = _title(f"Messages: {unread} unread", shown, len(screen.messages))
    lines.append(_rule(title, width, bright=screen.focus == "messages"))
    if not screen.messages:
        return [*lines, Text("  none yet: pushctl send PUSH_URL 'Hello'", "dim")]
    return lines + [_message(screen, look, screen.messages[row]) for row in shown]


def _message(screen: Screen, look: Look, stored: StoredMessage) -> Text:
    icon = look.beside(stored.message.site, stored.icon)
    line = message_line(stored, screen.clock(), id_too=False, icon=icon)
    return Text.assemble(_mark(screen, "messages", stored.message.id), line)


def _push_urls(screen: Screen, look: Look, width: int, rows: int, each: int) -> list[Text]:
    found = screen.push_urls
    shown = window(screen.chosen["push_urls"].row, len(found), rows)
    title = _title(f"Push URLs: {len(found)}", shown, len(found))
    lines = [_rule(title, width, bright=screen.focus == "push_urls")]
    if not found:
        return [*lines, Text("  none yet: press a to allow a site", "dim")]
    unread: dict[str, int] = {}
    for stored in screen.messages:
        unread[stored.message.push_url] = unread.get(stored.message.push_url, 0) + (not stored.read)
    for row in shown:
        lines += _push_url(screen, look, found[row], unread.get(found[row].id, 0), width)[:each]
    return lines


def _push_url(screen: Screen, look: Look, push_url: PushUrl, unread: int, width: int) -> list[Text]:
    upper, lower = look.slot(push_url.site, push_url.icon, SMALL)
    since = _ago(screen, push_url.created_at)
    count = Text(f"{unread} unread" if unread else "", "bold green").append(f"  {since:>4}", "not bold dim")
    name = Text.assemble(_mark(screen, "push_urls", push_url.id), upper, " ", (host_of(push_url.site), "bold"))
    name.truncate(max(width - count.cell_len - 1, 0), overflow="ellipsis")
    name.pad_right(max(width - name.cell_len - count.cell_len, 0))
    return [name.append_text(count), Text.assemble("  ", lower, " ", (printable(push_url.url), "dim"))]


def _mark(screen: Screen, focus: str, item: str) -> Text:
    if screen.chosen[focus].id != item:
        return Text("  ")
    return Text("▸ ", "reverse" if screen.focus == focus else "dim")


def _title(words: str, shown: range, length: int) -> str:
    return words if len(shown) >= length else f"{words} ({shown.start + 1}-{shown.stop} of {length})"


# --- one thing in full -----------------------------------------------------------------------------------------------


def _in_full(screen: Screen, mode: InFull, look: Look, width: int, room: int) -> list[Text]:
    message = next((stored for stored in screen.messages if stored.message.id == mode.id), None)
    if message is not None:
        return _scrolled(mode, "Message", _message_in_full(screen, message, look), width, room)
    push_url = next((push_url for push_url in screen.push_urls if push_url.id == mode.id), None)
    if push_url is not None:
        return _scrolled(mode, "Push URL", _push_url_in_full(screen, push_url, look), width, room)
    return [_rule("Gone", width, bright=True), Text("  it is not here any more", "dim")]


def _message_in_full(screen: Screen, stored: StoredMessage, look: Look) -> list[Text]:
    message, shown = stored.message, stored.message.notification
    lines = _banner(message.site, stored.icon, look, urgency(message.urgency), "read" if stored.read else "unread")
    if shown is not None and shown.title:
        lines += [Text(printable(shown.title), "bold")]
    said = (shown.body if shown is not None else None) or ("" if shown is not None else "(nothing to show)")
    if message.data is not None:
        said = f"(encrypted, {message.encoding}: this device has no keys for it)"
    lines += [Text(printable(line)) for line in said[:MOST_CHARACTERS].split("\n")]
    left_ms = -(_since_ms(screen, message.expires_at) or 0)
    facts = (
        ("link", shown.url if shown is not None else None),
        ("topic", message.topic),
        ("tag", shown.tag if shown is not None else None),
        ("sent", f"{message.sent_at}, {_ago(screen, message.sent_at)}"),
        ("expires", f"{message.expires_at}, {f'in {age(left_ms / 1000)}' if left_ms >= 1000 else 'over'}"),
        ("id", message.id),
    )
    return [*lines, Text(), *_facts(facts)]


def _push_url_in_full(screen: Screen, push_url: PushUrl, look: Look) -> list[Text]:
    unread = sum(1 for stored in screen.messages if stored.message.push_url == push_url.id and not stored.read)
    lines = _banner(push_url.site, push_url.icon, look, Text(f"{unread} unread"), "")
    icon = push_url.icon
    if icon is not None and icon.startswith("data:"):
        icon = f"{icon.partition(';')[0]}, {len(icon)} characters"
    made = f"{push_url.created_at}, {_ago(screen, push_url.created_at)}"
    facts = (("allowed", made), ("icon", icon), ("vapid key", push_url.vapid_key), ("id", push_url.id))
    # Alone on its lines and from the first column on, so that it can be marked with a mouse.
    return [*lines, Text(printable(push_url.url), "bold"), Text(), *_facts(facts)]


def _banner(site: str, icon: str | None, look: Look, state: Text, more: str) -> list[Text]:
    beside = [Text(), Text(printable(site), "bold"), state, Text(more, "dim")]
    slot = look.slot(site, icon, LARGE)
    if slot[0].plain[1:2].isalnum():
        # Only the letter: it needs no room below.
        return [Text.assemble(initial(site), "  ", (printable(site), "bold")), Text.assemble(state, "  ", more), Text()]
    beside += [Text()] * (len(slot) - len(beside))
    return [Text.assemble(left, "  ", right) for left, right in zip(slot, beside, strict=True)] + [Text()]


def _facts(facts: Sequence[tuple[str, str | None]]) -> list[Text]:
    return [Text.assemble((f"{name:<10}", "dim"), printable(value)) for name, value in facts if value]


def _help(screen: Screen, look: Look) -> list[Text]:
    lines = [Text.assemble((f"{keys:<10}", "bold"), what) for keys, what in _KEYS]
    if not look.icons.available:
        how = "letters (pip install 'pushctl[icons]' for pictures)"
    elif look.pictures:
        how = f"pictures ({printable(screen.terminal)} shows them)"
    else:
        how = "half blocks" if look.blocks else "letters: there are no colours here"
    signs = "● unread  ○ read  ▸ selected; ages count from when a message arrived here"
    where = "Icons that sites keep elsewhere are not fetched: that would tell them that you look."
    return [*lines, Text(), Text(signs), Text(f"Icons: {how}"), Text(where, "dim")]


def _scrolled(mode: Help | InFull, title: str, lines: Sequence[Text], width: int, room: int) -> list[Text]:
    """Wrapped, from line `mode.top` on, which is held to what there is."""
    wrapped = [row for line in lines for row in (line.wrap(_MEASURE, width, overflow="fold") or [Text()])]
    space = room - 1
    mode.top = min(mode.top, max(len(wrapped) - space, 0))
    shown = range(mode.top, min(mode.top + space, len(wrapped)))
    return [_rule(_title(title, shown, len(wrapped)), width, bright=True), *(wrapped[row] for row in shown)]


def _since_ms(screen: Screen, moment: str) -> int | None:
    """None if a service said something that is no moment."""
    try:
        return screen.clock() - parse_rfc3339(moment)
    except ValueError:
        return None


def _ago(screen: Screen, moment: str) -> str:
    since_ms = _since_ms(screen, moment)
    return "?" if since_ms is None else age(since_ms / 1000)


# --- lines -----------------------------------------------------------------------------------------------------------


def _rule(title: str, width: int, *, bright: bool) -> Text:
    line = Text.assemble(("── ", "dim"), (title, "bold" if bright else "dim"), " ")
    return line.append("─" * max(width - line.cell_len, 0), "dim")


def _fitted(lines: Sequence[Text], width: int, height: int) -> list[Text]:
    fitted = [*lines[:height], *(Text() for _ in range(height - len(lines)))]
    for line in fitted:
        line.truncate(width, overflow="ellipsis")
        line.no_wrap = True
    return fitted
