"""How `pushctl inspect` looks: a report for people at 80 columns, or as one line of JSON.

Owns: layout and colours. Promises: moments are relative to when Redis was asked; nothing that a client or a site wrote
can move the cursor.
Must not know: where a report comes from.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pushctl.client.foreign import printable
from pushctl.clock import parse_rfc3339
from pushctl.inspection import MessageReport, PushUrlReport, ServerReport, UserReport
from pushctl.inspection.words import ago, many, span, when

_STYLES = {
    "live": "green",
    "ready": "green",
    "acknowledged": "green",
    "delivered": "green",
    "read": "green",
    "revoked": "red",
    "dead": "red",
    "account_deleted": "red",
    "replaced": "yellow",
    "evicted": "yellow",
    "expired": "yellow",
    "cancelled": "yellow",
    "unknown": "yellow",
    "draining": "yellow",
    "not_ready": "yellow",
    "unheard": "yellow",
    "waiting": "yellow",
    "filtered": "yellow",
    "snapshot": "yellow",
}
_NUMBERS = ("seq", "acked", "behind", "unread", "bytes", "size", "gen", "no")


def print_report(report: Any, view: Callable[[Any], RenderableType] | None) -> None:
    """On stdout; without a view as JSON."""
    if view is None:
        print(msgspec.json.encode(report).decode(), flush=True)
        return
    console = Console(highlight=False, emoji=False)
    # Printed by Python, not by rich, which ends the process on a broken pipe (`| head`) in its own way.
    with console.capture() as screen:
        console.print(view(report))
    print(screen.get(), end="", flush=True)


def user_view(report: UserReport) -> RenderableType:
    now, log, unread = _Now(report.at), report.log, report.unread
    place = f"ends at {log.last_seq:,}, floor {log.floor:,}"
    count = f"{unread.messages:,} of {many(unread.max_messages, 'message')}"
    dead = many(report.dead_messages, "dead message")
    reach = f", from {now.ago(log.first_at)} to {now.ago(log.last_at)}" if log.entries else ""
    expiry = f"; the next expires {now.when(unread.next_expiry_at)}" if unread.next_expiry_at else ""
    some = "" if unread.complete else " (of the newest)"
    gc = f"due {now.when(report.gc.due_at)}" if report.gc.due_at else "nothing due"
    devices = [
        (
            device.name,
            device.id,
            device.server or "-",
            device.acknowledged_seq or "-",
            "-" if device.behind_events is None else f"{device.behind_events:,}",
            f"{device.behind_unread:,}",
            device.min_urgency,
            now.ago(device.seen_at),
        )
        for device in report.devices
    ]
    push_urls = [
        (row.site, row.id, row.number, f"{row.unread:,}", _size(row.unread_bytes), now.ago(row.created_at))
        for row in report.push_urls
    ]
    leases = [
        (lease.connection, lease.device, lease.server, lease.generation, _state(lease.state)) for lease in report.leases
    ]
    return Group(
        _facts(
            f"User {report.user}",
            ("made", f"{now.ago(report.created_at)}, epoch {report.epoch}"),
            ("log", f"{place}; {log.entries:,} of {log.max_entries:,} entries{reach}"),
            ("unread", f"{count}, {_size(unread.bytes)}{some} of {_size(unread.max_bytes)}{expiry}"),
            ("remembered", f"{dead} and {many(report.revoked_push_urls, 'revoked push URL')}"),
            ("gc", gc + (", nothing found at its last visit" if report.gc.idle else "")),
            (
                "in Redis",
                None if report.bytes is None else f"{_size(report.bytes)}, of these {_size(log.bytes or 0)} log",
            ),
        ),
        _table(
            f"Devices, {len(report.devices)} of {report.max_devices}",
            ("name", "id", "server", "acked", "behind", "unread", "filter", "seen"),
            devices,
        ),
        _notes(device.why for device in report.devices),
        _table(
            f"Push URLs, {len(report.push_urls)} of {report.max_push_urls} ({report.push_urls_made:,} ever made)",
            ("site", "id", "no", "unread", "bytes", "made"),
            push_urls,
        ),
        _table(
            "Presence" + (f", leases end {now.when(report.leases_expire_at)}" if report.leases_expire_at else ""),
            ("connection", "device", "server", "gen", "state"),
            leases,
        ),
        _notes(report.why),
    )


def message_view(report: MessageReport) -> RenderableType:
    now = _Now(report.at)
    since = f", since {now.ago(report.state_at)}" if report.state_at else ""
    if report.state == "expired":
        since = f", {now.when(report.state_at)}" if report.state_at else ""
    devices = [
        (
            device.name,
            device.id,
            _state(device.status),
            device.server or "-",
            device.position or "-",
            "-" if device.behind_events is None else f"{device.behind_events:,}",
            device.min_urgency,
        )
        for device in report.devices
    ]
    site = f"{report.site}, {report.push_url} ({report.push_url_state})" if report.site else None
    return Group(
        _facts(
            f"Message {report.seq} of user {report.user}",
            ("state", Text.assemble(_state(report.state), since)),
            ("sent", now.ago(report.sent_at) if report.sent_at else None),
            ("expires", now.when(report.expires_at) if report.expires_at else None),
            ("push URL", site),
            ("urgency", report.urgency),
            ("topic", report.topic),
            ("size", None if report.size_bytes is None else _size(report.size_bytes)),
            ("log", f"{'there' if report.in_log else 'not there any more'}; it ends at {report.log_last_seq:,}"),
        ),
        _notes(report.why),
        _table("Devices", ("name", "id", "status", "server", "acked", "behind", "filter"), devices),
        _notes(device.why for device in report.devices),
    )


def push_url_view(report: PushUrlReport) -> RenderableType:
    now = _Now(report.at)
    unread = f"{report.unread:,} of {many(report.max_unread, 'message')}"
    made = f" of {report.push_urls_made:,} ever made" if report.push_urls_made is not None else ""
    messages = [
        (
            message.seq,
            now.ago(message.sent_at),
            now.when(message.expires_at),
            message.urgency,
            message.topic or "-",
            _size(message.size_bytes),
            f"{message.acknowledged_by} of {report.devices}",
        )
        for message in report.messages
    ]
    shown = f", the newest {len(messages)} of {report.unread:,}" if len(messages) < report.unread else ""
    return Group(
        _facts(
            f"Push URL {report.id} of user {report.user}",
            ("state", _state(report.state)),
            ("sender gets", str(report.sender_gets) if report.sender_gets else "not known"),
            ("site", report.site),
            ("made", now.ago(report.created_at) if report.created_at else None),
            ("number", None if report.number is None else f"{report.number:,}{made}"),
            ("sealed with", f"key {report.key_id}" if report.key_id else None),
            ("VAPID", None if report.vapid_bound is None else "bound to a key" if report.vapid_bound else "not bound"),
            ("unread", f"{unread}, {_size(report.unread_bytes)} of {_size(report.max_unread_bytes)}"),
        ),
        _notes(report.why),
        _table(f"Unread messages{shown}", ("seq", "sent", "expires", "urgency", "topic", "size", "acked by"), messages),
        _table(
            f"What the newest {report.events_looked_through:,} events of the log say of it",
            ("seq", "event", "at"),
            [(event.seq, event.kind, now.ago(event.at)) for event in report.events],
        ),
    )


def server_view(report: ServerReport) -> RenderableType:
    fill = f"{report.connections:,} of {report.capacity:,}, {report.connections / report.capacity:.0%}"
    newest = f" (newest started: {report.newest_generation})" if report.newest_generation > report.generation else ""
    place = f", place {report.place} of {report.servers_with_room}" if report.place else ""
    judges = [
        (judge.name, ago(judge.asked_ms_ago), span(judge.watching_ms), "alive" if judge.alive else _state("dead"))
        for judge in report.judges
    ]
    return Group(
        _facts(
            f"Socket server {report.id}",
            ("state", Text.assemble(_state(report.state), f", heartbeat {report.seen_ms_ago / 1000:.1f} s ago")),
            ("url", report.url),
            ("connections", f"{fill}; {many(report.users, 'user')}"),
            ("written", many(report.frames_written, "frame")),
            ("generation", f"{report.generation}{newest}"),
            ("started", f"{report.started_at} by its own clock, version {report.version}"),
            ("memory", _size(report.rss_bytes)),
            ("Box Office", f"{report.box_office}{place}"),
        ),
        _notes(report.why),
        _table("Judges", ("name", "asked", "watching for", "judges"), judges),
    )


class _Now:
    """Moments as people say them, seen from one."""

    def __init__(self, at: str) -> None:
        self._ms = parse_rfc3339(at)

    def ago(self, at: str | None) -> str:
        return "-" if at is None else ago(self._ms - parse_rfc3339(at))

    def when(self, at: str | None) -> str:
        return "-" if at is None else when(parse_rfc3339(at) - self._ms)


def _size(octets: int) -> str:
    if octets < 1024:
        return f"{octets} B"
    return f"{octets / 1024:,.1f} KiB" if octets < 2**20 else f"{octets / 2**20:,.1f} MiB"


def _state(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def _facts(title: str, *rows: tuple[str, str | Text | None]) -> RenderableType:
    """Names and values; what is None is left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            grid.add_row(name, value if isinstance(value, Text) else Text(printable(value)))
    return Group(Text(printable(title), style="bold"), grid, Text())


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> RenderableType:
    """A table, or nothing when it has no rows. Only the first column gives way when there is no room."""
    rows = list(rows)
    if not rows:
        return Text(f"{title}: none\n", style="dim")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for at, column in enumerate(columns):
        justify = "right" if column in _NUMBERS else "left"
        table.add_column(column, justify=justify, no_wrap=at > 0, overflow="fold", header_style="dim")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in row))
    return Group(table, Text())


def _notes(sentences: Iterable[str]) -> RenderableType:
    """Sentences, wrapped behind their mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        grid.add_row(Text("!", style="yellow"), Text(printable(sentence)))
    return Padding(grid, (0, 0, 1, 0)) if grid.row_count else Text("", end="")
