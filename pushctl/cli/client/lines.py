"""What a device says, for people: one line per event, one line per message or push URL.

Owns: wording and colours of these lines; which of them are data (stdout) and which are only news of the connection
(stderr).
Promises: a line is one line, and nothing a sender wrote can move the cursor or change the colours.
Must not know: where the lines come from.
"""

from datetime import datetime
from zlib import crc32

from rich.text import Text

from pushctl.cli.values import age
from pushctl.client import events
from pushctl.client.foreign import printable
from pushctl.client.store import StoredMessage
from pushctl.protocol.frames import PushUrl

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_URGENCY_STYLES = {"high": "bold red", "normal": "", "low": "dim", "very-low": "dim"}

SHORT_ID = 16
"""Enough of a message's id to tell it from others; `pushctl client read` takes any beginning that does."""


def short(message_id: str) -> str:
    return printable(message_id[:SHORT_ID])


def host_of(site: str) -> str:
    return printable(site.partition("://")[2] or site)


def initial(site: str) -> Text:
    """The coloured letter that stands for a site where a browser would show its icon."""
    host = host_of(site).removeprefix("www.")
    colour = _COLOURS[crc32(site.encode()) % len(_COLOURS)]
    return Text(f" {host[:1].upper() or '?'} ", style=f"bold reverse {colour}")


def urgency(word: str) -> Text:
    return Text(word, style=_URGENCY_STYLES.get(word, ""))


def said(title: str | None, body: str | None, encoding: str | None) -> Text:
    """Title and body on one line."""
    if title is None and body is None:
        return Text(f"(encrypted, {printable(encoding)})" if encoding else "(empty)", style="dim")
    line = Text(printable(title or ""), style="bold")
    if title and body:
        line.append(" — ", style="dim")
    return line.append(printable(body or ""), style="not bold")


def is_data(event: events.Event) -> bool:
    """Whether the event is what the user asked for, not how the connection is doing."""
    return not isinstance(event, events.Connected | events.Disconnected | events.Retrying | events.SyncEvent)


def event_line(event: events.Event) -> Text:
    """One line, without the moment."""
    match event:
        case events.MessageEvent():
            line = Text.assemble(initial(event.site), " ", host_of(event.site), "  ")
            line.append_text(said(event.title, event.body, event.encoding))
            if event.urgency != "normal":
                line.append("  ").append_text(urgency(event.urgency))
            late = f"  {event.latency_ms} ms" if event.latency_ms is not None else "  missed"
            return line.append(late, style="dim").append(f"  {short(event.id)}", style="dim")
        case events.ReadEvent(ids):
            return Text(f"read     {_ids(ids)}")
        case events.PushUrlEvent(_, site, url, icon):
            return Text(f"allowed  {printable(site)}  {printable(url)}" + ("  (icon)" if icon else ""))
        case events.RevokedEvent(push_url_id, site):
            return Text(f"revoked  {printable(site or push_url_id)}")
        case events.DroppedEvent(ids, reason):
            return Text(f"dropped  {_ids(ids)}  ({reason})")
        case events.Connected(server, name):
            return Text(f"connected to {printable(name)} at {printable(server)}", style="green")
        case events.Disconnected(server, code, reason, following, after_ms):
            return Text(
                f"disconnected from {printable(server)} ({code or 'no code'}: {printable(reason)}); "
                + _next_words(following, after_ms),
                style="yellow",
            )
        case events.Retrying(reason, after_ms):
            return Text(f"{printable(reason)}; next try in {after_ms / 1000:.1f} s", style="yellow")
        case events.SyncEvent("delta", missed):
            return Text(f"up to date: {missed} missed event{'' if missed == 1 else 's'}", style="green")
        case events.SyncEvent(_, _, push_urls, messages):
            return Text(f"up to date: a snapshot, push URLs: {push_urls}, unread messages: {messages}", style="green")


def with_time(line: Text) -> Text:
    return Text.assemble((datetime.now().astimezone().strftime("%H:%M:%S"), "dim"), "  ", line)


def push_url_line(push_url: PushUrl, widest_site: int) -> Text:
    site = printable(push_url.site)
    line = Text.assemble(initial(push_url.site), " ", site, " " * (widest_site - len(site) + 2))
    return line.append(printable(push_url.url)).append("  (icon)" if push_url.icon else "", style="dim")


def message_line(stored: StoredMessage, now_ms: int, *, id_too: bool = True, icon: Text | None = None) -> Text:
    """Mark, id, age, urgency, site, text. `icon`: in place of the coloured letter."""
    message, shown = stored.message, stored.message.notification
    line = Text(style="dim" if stored.read else "")
    line.append("○ " if stored.read else "● ", style="" if stored.read else "bold green")
    if id_too:
        line.append(f"{short(message.id):<{SHORT_ID}}  ", style="dim")
    line.append(f"{age((now_ms - stored.received_at_ms) / 1000):>4} ")
    line.append(f"{message.urgency:<8} ", style=_URGENCY_STYLES.get(message.urgency, ""))
    line.append_text(icon or initial(message.site)).append(f" {host_of(message.site)}  ")
    return line.append_text(said(shown.title if shown else None, shown.body if shown else None, message.encoding))


def _ids(ids: list[str]) -> str:
    named = " ".join(short(message_id) for message_id in ids[:5])
    return f"{len(ids)} message{'' if len(ids) == 1 else 's'}: {named}{' ...' if len(ids) > 5 else ''}"


def _next_words(following: str, after_ms: int | None) -> str:
    if following == "login":
        return "a new login is needed"
    if following == "stop":
        return "not trying again"
    return "trying the next server" if following == "server" else f"next try in {(after_ms or 0) / 1000:.1f} s"
