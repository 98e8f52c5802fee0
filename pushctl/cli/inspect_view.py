"""How `pushctl inspect` looks: a report for people at 80 columns, or as one line of JSON.

Owns: what is shown of a report, and in which order. Moments are relative to when Redis was asked.
Must not know: where a report comes from; how a table is drawn (layout.py).
"""

from rich.console import Group, RenderableType
from rich.text import Text

from pushctl.cli.layout import Now, facts, notes, size, state, table
from pushctl.inspection import MessageReport, PushUrlReport, ServerReport, UserReport
from pushctl.inspection.words import ago, many, span
from pushctl.overview.servers import LoadStats


def user_view(report: UserReport) -> RenderableType:
    now, log, unread = Now(report.at), report.log, report.unread
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
        (row.site, row.id, row.number, f"{row.unread:,}", size(row.unread_bytes), now.ago(row.created_at))
        for row in report.push_urls
    ]
    leases = [
        (
            lease.connection,
            lease.device,
            lease.server,
            lease.generation,
            state(lease.state),
            "never" if lease.server_seen_ms_ago is None else ago(lease.server_seen_ms_ago),
        )
        for lease in report.leases
    ]
    return Group(
        facts(
            f"User {report.user}",
            ("made", f"{now.ago(report.created_at)}, epoch {report.epoch}"),
            ("log", f"{place}; {log.entries:,} of {log.max_entries:,} entries{reach}"),
            ("unread", f"{count}, {size(unread.bytes)}{some} of {size(unread.max_bytes)}{expiry}"),
            ("remembered", f"{dead} and {many(report.revoked_push_urls, 'revoked push URL')}"),
            ("gc", gc + (", nothing found at its last visit" if report.gc.idle else "")),
            (
                "in Redis",
                None if report.bytes is None else f"{size(report.bytes)}, {size(log.bytes or 0)} of it log",
            ),
        ),
        table(
            f"Devices, {len(report.devices)} of {report.max_devices}",
            ("name", "id", "server", "acked", "behind", "unread", "filter", "seen"),
            devices,
        ),
        notes(device.why for device in report.devices),
        table(
            f"Push URLs, {len(report.push_urls)} of {report.max_push_urls} ({report.push_urls_made:,} ever made)",
            ("site", "id", "no", "unread", "bytes", "made"),
            push_urls,
        ),
        table(
            "Presence" + (f", leases end {now.when(report.leases_expire_at)}" if report.leases_expire_at else ""),
            ("connection", "device", "server", "gen", "state", "server seen"),
            leases,
        ),
        notes(report.why),
    )


def message_view(report: MessageReport) -> RenderableType:
    now = Now(report.at)
    since = f", since {now.ago(report.state_at)}" if report.state_at else ""
    if report.state == "expired":
        since = f", {now.when(report.state_at)}" if report.state_at else ""
    devices = [
        (
            device.name,
            device.id,
            state(device.status),
            device.server or "-",
            device.position or "-",
            "-" if device.behind_events is None else f"{device.behind_events:,}",
            device.min_urgency,
            now.ago(device.position_at),
        )
        for device in report.devices
    ]
    site = f"{report.site}, {report.push_url} ({report.push_url_state})" if report.site else None
    return Group(
        facts(
            f"Message {report.seq} of user {report.user}",
            ("state", Text.assemble(state(report.state), since)),
            ("sent", now.ago(report.sent_at) if report.sent_at else None),
            ("expires", now.when(report.expires_at) if report.expires_at else None),
            ("push URL", site),
            ("urgency", report.urgency),
            ("topic", report.topic),
            ("size", None if report.size_bytes is None else size(report.size_bytes)),
            ("log", f"{'there' if report.in_log else 'not there any more'}; it ends at {report.log_last_seq:,}"),
        ),
        notes(report.why),
        table("Devices", ("name", "id", "status", "server", "acked", "behind", "filter", "acked at"), devices),
        notes(device.why for device in report.devices),
    )


def push_url_view(report: PushUrlReport) -> RenderableType:
    now = Now(report.at)
    unread = f"{report.unread:,} of {many(report.max_unread, 'message')}"
    made = f" of {report.push_urls_made:,} ever made" if report.push_urls_made is not None else ""
    messages = [
        (
            message.seq,
            now.ago(message.sent_at),
            now.when(message.expires_at),
            message.urgency,
            message.topic or "-",
            size(message.size_bytes),
            f"{message.acknowledged_by} of {report.devices}",
        )
        for message in report.messages
    ]
    shown = f", the newest {len(messages)} of {report.unread:,}" if len(messages) < report.unread else ""
    return Group(
        facts(
            f"Push URL {report.id} of user {report.user}",
            ("state", state(report.state)),
            ("sender gets", str(report.sender_gets) if report.sender_gets else "not known"),
            ("site", report.site),
            ("made", now.ago(report.created_at) if report.created_at else None),
            ("number", None if report.number is None else f"{report.number:,}{made}"),
            ("sealed with", f"key {report.key_id}" if report.key_id else None),
            ("VAPID", None if report.vapid_bound is None else "bound to a key" if report.vapid_bound else "not bound"),
            ("unread", f"{unread}, {size(report.unread_bytes)} of {size(report.max_unread_bytes)}"),
            ("takes now", _left(report.rate_left, report.rate_burst)),
            ("its user", _left(report.user_rate_left, report.user_rate_burst)),
        ),
        notes(report.why),
        table(f"Unread messages{shown}", ("seq", "sent", "expires", "urgency", "topic", "size", "acked by"), messages),
        table(
            f"What the newest {report.events_looked_through:,} events of the log say of it",
            ("seq", "event", "at"),
            [(event.seq, event.kind, now.ago(event.at)) for event in report.events],
        ),
    )


def _left(left: int | None, burst: int | None) -> str | None:
    return None if left is None else f"{left:,} at once, of {burst:,}"


def _busy(load: LoadStats | None) -> str | None:
    if load is None:
        return None
    closed = f"; {many(load.slow_closes, 'slow device')} closed since its start" if load.slow_closes else ""
    return (
        f"{load.written_per_second:,g} messages/s, {load.arrivals_per_second:,g} new connections/s, "
        f"{load.cpu:.0%} of a core, event loop up to {load.lag_ms:,} ms late{closed}"
    )


def _clock(ahead_ms: int) -> str:
    return f"{abs(ahead_ms):,} ms {'ahead of' if ahead_ms >= 0 else 'behind'} that of Redis"


def server_view(report: ServerReport) -> RenderableType:
    fill = f"{report.connections:,} of {report.capacity:,}, {report.connections / report.capacity:.0%}"
    newest = f" (newest started: {report.newest_generation})" if report.newest_generation > report.generation else ""
    place = f", place {report.place} of {report.servers_with_room}" if report.place else ""
    judges = [
        (judge.name, ago(judge.asked_ms_ago), span(judge.watching_ms), "alive" if judge.alive else state("dead"))
        for judge in report.judges
    ]
    return Group(
        facts(
            f"Socket server {report.id}",
            ("state", Text.assemble(state(report.state), f", heartbeat {report.seen_ms_ago / 1000:.1f} s ago")),
            ("url", report.url),
            ("routers", f"call {report.rpc_url}, or use its channels" if report.rpc_url else "use its channels"),
            ("zone", report.zone or "none"),
            ("connections", f"{fill}; {many(report.users, 'user')}"),
            ("written", many(report.frames_written, "frame")),
            ("generation", f"{report.generation}{newest}"),
            ("started", f"{report.started_at} by its own clock, version {report.version}"),
            ("memory", size(report.rss_bytes)),
            ("busy", _busy(report.load)),
            ("clock", None if report.clock_ahead_ms is None else _clock(report.clock_ahead_ms)),
            ("Box Office", f"{report.box_office}{place}"),
        ),
        notes(report.why),
        table("Judges", ("name", "asked", "watching for", "judges"), judges),
    )
