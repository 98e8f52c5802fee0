"""Rows of the roles that are no socket servers: seen, dead, forgotten; and rows of other versions."""

import msgspec

from pushctl.load import Load
from pushctl.registry import Registry
from pushctl.registry.processes import FORGOTTEN_MS, QUIET_MS, ProcessRow
from pushctl.registry.servers import Row
from tests.registry.conftest import Shift
from tests.registry.test_servers import S1, row

API = ProcessRow("api", "api", "host", 1, "1.0", "now", load=Load(cpu=0.5, counts={"stored": 3}))


async def test_a_role_that_falls_silent_is_dead_and_then_forgotten(registry: Registry, shift: Shift) -> None:
    await registry.processes.report("api-1", API)
    (seen,) = await registry.processes.picture()
    assert (seen.id, seen.row, seen.alive) == ("api-1", API, True)
    shift.ms = QUIET_MS + 1000
    await registry.processes.report("api-2", API)
    assert [(each.id, each.alive) for each in await registry.processes.picture()] == [("api-1", False), ("api-2", True)]
    shift.ms = FORGOTTEN_MS + 1000
    assert [each.id for each in await registry.processes.picture()] == ["api-2"]
    key = registry.users._store.keys.servers("processes")
    assert await registry.link.ask("HLEN", key) == 2
    await registry.servers.bury()
    assert await registry.link.ask("HKEYS", key) == [b"api-2"]
    await registry.processes.leave("api-2")
    assert await registry.processes.picture() == []


async def test_a_row_that_cannot_be_read_hides_no_other_and_is_forgotten(registry: Registry) -> None:
    key, now_ms = registry.users._store.keys.servers("processes"), await registry.now_ms()
    later = msgspec.msgpack.encode(msgspec.structs.asdict(API) | {"state": "asleep"})
    await registry.link.ask("HSET", key, "api-9", b"%d " % now_ms + later, "junk", b"junk", "\0\x1b[2J", b"")
    await registry.processes.report("api-1", API)
    assert [each.id for each in await registry.processes.picture()] == ["api-1"]
    await registry.servers.bury()
    assert sorted(await registry.link.ask("HKEYS", key)) == [b"api-1", b"api-9"]


async def test_how_far_a_hosts_clock_is_ahead_is_told_from_its_reports(registry: Registry, shift: Shift) -> None:
    now_ms = await registry.now_ms()
    ahead = msgspec.structs.replace(API, clock_ms=now_ms + 60_000)
    await registry.processes.report("api-1", ahead)
    generation = await registry.servers.new_generation(S1)
    await registry.servers.heartbeat(S1, msgspec.structs.replace(row(generation), clock_ms=now_ms - 60_000))
    shift.ms = 5000  # later looks do not change it
    (process,), (server,) = await registry.processes.picture(), await registry.servers.picture("")
    assert abs(process.clock_ahead_ms - 60_000) < 5000
    assert server.clock_ahead_ms is not None
    assert abs(server.clock_ahead_ms + 60_000) < 5000


class Earlier(msgspec.Struct, frozen=True):
    """A heartbeat's row as version 0.1 said and read it."""

    state: str
    url: str
    connections: int
    capacity: int
    generation: int
    version: str
    started_at: str
    rss_bytes: int = 0
    users: int = 0
    drain: None = None
    written: int = 0
    rpc_url: str = ""
    zone: str = ""


async def test_versions_read_each_others_heartbeats_while_they_are_replaced(registry: Registry) -> None:
    generation = await registry.servers.new_generation(S1)
    later = msgspec.structs.replace(row(generation), load=Load(lag_ms=3), clock_ms=5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(later), type=Earlier).connections == later.connections
    key = registry.users._store.keys.servers("rows")
    await registry.servers.heartbeat(S1, later)
    await registry.link.ask("HSET", key, S1, msgspec.msgpack.encode(Earlier(*msgspec.structs.astuple(later)[:7])))
    (server,) = await registry.servers.picture("")
    assert server.row == Row(*msgspec.structs.astuple(later)[:7])
    assert server.clock_ahead_ms is None
