"""`inspect server`: what a socket server says of itself, whether it counts as alive and why, what the Box Office does.

Owns: the shape of the report, whose names docs/operations.md lists. Must not know: terminals.
"""

from collections.abc import Sequence

import msgspec

from pushctl.clock import rfc3339
from pushctl.config.model import Config
from pushctl.errors import Failed
from pushctl.ids import ServerId
from pushctl.inspection.words import ago, many, span
from pushctl.overview.servers import DrainStats, LoadStats, drain_stats, load_stats
from pushctl.registry import Registry
from pushctl.registry.facts import ServerFacts
from pushctl.registry.servers import JUDGE_GAP_MS, QUIET_MS, Row, ServerRow


class JudgeReport(msgspec.Struct, frozen=True):
    name: str
    asked_ms_ago: int
    watching_ms: int
    alive: bool


class ServerReport(msgspec.Struct, frozen=True):
    at: str
    id: str
    state: str
    alive: bool
    seen_ms_ago: int
    url: str
    rpc_url: str
    zone: str
    connections: int
    capacity: int
    users: int
    frames_written: int
    generation: int
    newest_generation: int
    version: str
    started_at: str
    rss_bytes: int
    load: LoadStats | None
    clock_ahead_ms: int | None
    drain: DrainStats | None
    box_office: str
    place: int | None
    servers_with_room: int
    judges: list[JudgeReport]
    why: list[str]


async def inspect_server(registry: Registry, config: Config, server: ServerId) -> ServerReport:
    """Raises Failed for a server without a row, with what is known; StoreUnavailable."""
    facts = await registry.inspection.server(server)
    picture = await registry.servers.picture("")
    if facts.row is None or facts.seen_ms is None:
        raise _unknown(server, facts, picture)
    row, seen_ms_ago = facts.row, max(0, facts.now_ms - facts.seen_ms)
    alive = seen_ms_ago <= QUIET_MS
    with_room = sorted(
        (each for each in picture if each.is_open and each.connections < each.capacity),
        key=lambda each: (_is_away(each, config), each.fill()),
    )
    place = next((at for at, each in enumerate(with_room, 1) if each.id == server), None)
    judges = [_judge(facts, *judge) for judge in facts.judges]
    newest = facts.newest_generation or row.generation
    return ServerReport(
        at=rfc3339(facts.now_ms),
        id=server,
        state=row.state if alive else "dead",
        alive=alive,
        seen_ms_ago=seen_ms_ago,
        url=row.url,
        rpc_url=row.rpc_url,
        zone=row.zone,
        connections=row.connections,
        capacity=row.capacity,
        users=row.users,
        frames_written=row.written,
        generation=row.generation,
        newest_generation=newest,
        version=row.version,
        started_at=row.started_at,
        rss_bytes=row.rss_bytes,
        load=load_stats(row.load),
        clock_ahead_ms=row.clock_ms - facts.seen_ms if row.clock_ms else None,
        drain=drain_stats(row.drain),
        box_office="names it" if place is not None and place <= config.boxoffice.max_servers else "leaves it out",
        place=place,
        servers_with_room=len(with_room),
        judges=[judge for judge in judges if judge.asked_ms_ago <= JUDGE_GAP_MS],
        why=[
            _alive(row, alive, seen_ms_ago),
            *_drain(row, facts),
            _box_office(row, alive, place, len(with_room), config),
            *_generations(row, newest),
            *_absent_judges(judges, facts),
        ],
    )


def _unknown(server: ServerId, facts: ServerFacts, picture: Sequence[ServerRow]) -> Failed:
    known = ", ".join(row.id for row in picture) or "none"
    if facts.newest_generation is None:
        return Failed(f"no socket server {server} has ever started here; known: {known}")
    starts = many(facts.newest_generation, "start")
    ended = "it said goodbye since, or was silent for a day"
    return Failed(f"socket server {server} has no row: {starts}, {ended}; known: {known}")


def _is_away(server: ServerRow, config: Config) -> bool:
    """The Box Office prefers those of its own zone."""
    return bool(config.boxoffice.zone) and server.zone != config.boxoffice.zone


def _judge(facts: ServerFacts, name: str, asked_ms: int, grace_ms: int) -> JudgeReport:
    """As judge.lua would answer it, were it to ask now."""
    last = max(min(facts.seen_ms or 0, facts.now_ms), grace_ms)
    watching = max(0, facts.now_ms - grace_ms)
    return JudgeReport(name, max(0, facts.now_ms - asked_ms), watching, facts.now_ms - last <= QUIET_MS)


def _alive(row: Row, alive: bool, seen_ms_ago: int) -> str:
    if not alive:
        return f"dead: silent for {span(seen_ms_ago)}, and {span(QUIET_MS)} of silence is death; its leases are removed"
    if seen_ms_ago > JUDGE_GAP_MS:
        return f"alive, but late: its last heartbeat was {ago(seen_ms_ago)}; after {span(QUIET_MS)} it is dead"
    if row.state != "ready":
        return f"alive: last heartbeat {ago(seen_ms_ago)}; it calls itself {row.state}"
    return f"alive: last heartbeat {ago(seen_ms_ago)}, generation {row.generation}"


def _drain(row: Row, facts: ServerFacts) -> list[str]:
    drain = row.drain
    if drain is None:
        return []
    asked = f"it drains, asked {ago(facts.now_ms - drain.at_ms)} by {drain.by}, over {span(drain.over_ms)}"
    return [f"{asked}: {row.connections:,} of {many(drain.connections, 'connection')} left"]


def _box_office(row: Row, alive: bool, place: int | None, of: int, config: Config) -> str:
    at_most = config.boxoffice.max_servers
    if place is not None:
        out = "" if place <= at_most else f"; it names {at_most} at most, so not this one"
        return f"the Box Office: place {place} of {of} by free capacity, as of the heartbeats{out}"
    if not alive:
        reason = "dead"
    elif row.state == "ready":
        reason = f"full, {row.connections:,} of {many(row.capacity, 'connection')}"
    else:
        reason = row.state
    return f"the Box Office leaves it out: {reason}"


def _generations(row: Row, newest: int) -> list[str]:
    if newest > row.generation:
        return [f"generation {newest} has started and not been heard of: generation {row.generation} is fenced"]
    return []


def _absent_judges(judges: Sequence[JudgeReport], facts: ServerFacts) -> list[str]:
    watching = [judge for judge in judges if judge.asked_ms_ago <= JUDGE_GAP_MS]
    if not watching:
        return ["nobody judges: no router and no Box Office has asked lately"]
    generous = [judge.name for judge in watching if judge.alive and facts.now_ms - (facts.seen_ms or 0) > QUIET_MS]
    if generous:
        return [f"still counted as alive by {', '.join(generous)}: not watching for {span(QUIET_MS)} yet"]
    return []
