"""What accepting messages is measured on: api processes and a Redis on loopback, and somebody who sends all they take.

Owns: the processes, whom is sent to, the two senders, the CPU that each of them took. Promises: each stretch has users
of its own, so that it begins with empty inboxes; it is sound only if every answer was a 201 and the api says that it
stored what was answered. Must not know: how it is told.
"""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal

import httpx
import msgspec
import trio

from pushctl.clock import system_clock
from pushctl.identity.keys import Keys
from pushctl.identity.sealing import PushAddress, Sealer
from pushctl.ids import ConnectionId, ServerId, new_id
from pushctl.registry import Registry
from pushctl.webpush.encryption import DeviceKeys, seal_message
from pushctl.webpush.signing import VapidKey
from tests.benchmarks.rig import folder, for_each, machine, new_person, one_redis, registry_on, version
from tests.benchmarks.routing_site import cpu_seconds
from tests.benchmarks.unsound import Unsound
from tests.faults.processes import PUSHCTL, RoleProcess, clean_environment
from tests.processes import free_port
from tests.redises.process import RedisProcess

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")

OCTETS = 200

WARM_UP_SECONDS = 1
"""Sent first, and not counted: scripts are loaded, connections open."""

# As operators have it, but for the rates, which are counted and never reached.
CONFIGURATION = """
    redis.url = "{redis}"
    identity = {{ environment = "development", keys_file = "{keys}", dev_idp.enabled = true }}
    log = {{ level = "{level}", format = "json" }}
    [api]
    listen = "127.0.0.1:{port}"
    public_url = "http://127.0.0.1:{port}"
    admin_listen = "127.0.0.1:0"
    [limits]
    push_url_per_second = 1000000
    push_url_burst = 1000000
    user_per_second = 1000000
    user_burst = 1000000
    vapid_key_per_second = 1000000
    vapid_key_burst = 1000000
    """

Sender = Literal["wrk", "pushctl send"]
Kind = Literal["plain", "quiet", "encrypted", "signed", "signed anew", "held"]

KINDS: dict[Kind, str] = {
    "plain": "JSON, nobody connected",
    "quiet": "the same, log.level warning",
    "held": "the same, a device is connected: a job each",
    "encrypted": "Web Push, aes128gcm",
    "signed": "the same, signed: one token for all",
    "signed anew": "the same, signed: a token for each",
}


@dataclass(frozen=True, slots=True)
class Size:
    """`users`: each with a push URL, of every stretch; `rounds`: of each stretch."""

    connections: Sequence[int] = (1, 32, 128)
    users: int = 4000
    seconds: int = 4
    rounds: int = 3
    tokens: int = 20_000


QUICK = Size(connections=(1, 4), users=50, seconds=1, rounds=1, tokens=200)


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One sender for some seconds. CPU in µs for each message."""

    kind: str
    sender: str
    connections: int
    processes: int
    messages: int
    per_second: float
    p50_ms: float
    p99_ms: float
    api_us: float
    redis_us: float
    sender_us: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    machine: str
    redis: str
    seconds: int
    users: int
    rounds: int
    stretches: list[Stretch]


class _Answered(msgspec.Struct, frozen=True):
    """What a sender says that it was answered."""

    answered: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


@dataclass(slots=True)
class Site:
    redis: RedisProcess
    registry: Registry
    sealer: Sealer
    config: Path
    here: Path
    port: int
    level: str
    apis: list[RoleProcess] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> tuple[float, float]:
        """Of all api processes, and of Redis; seconds."""
        return sum(cpu_seconds(api.pid) for api in self.apis), cpu_seconds(self.redis.pid)

    async def stored(self) -> int:
        """What the api processes say that they stored so far."""
        total = 0.0
        async with httpx.AsyncClient(trust_env=False) as client:
            for api in self.apis:
                answer = await client.get(f"{api.admin}/metrics")
                lines = answer.text.splitlines()
                total += sum(
                    float(line.rpartition(" ")[2])
                    for line in lines
                    if line.startswith('pushctl_messages_total{stage="stored"}')
                )
        return int(total)


@asynccontextmanager
async def site_with(processes: int, level: str = "info") -> AsyncIterator[Site]:
    """So many api processes on one port, and a Redis."""
    with ExitStack() as stack:
        redis = stack.enter_context(one_redis())
        here = stack.enter_context(folder())
        keys = Keys.generate()
        keys.write(here / "keys.toml")
        port = free_port()
        config = here / "local.toml"
        config.write_text(CONFIGURATION.format(redis=redis.url, keys=here / "keys.toml", port=port, level=level))
        settings = {"api.reuse_port": "true"} if processes > 1 else {}
        apis = [
            RoleProcess(f"api{number}", "api", config, settings, clean_environment())
            for number in range(1, processes + 1)
        ]
        async with registry_on(redis.url) as registry:
            for api in apis:
                stack.callback(api.end)
                await api.start()
            yield Site(redis, registry, Sealer(keys), config, here, port, level, apis)
            for api in apis:
                api.look()
                if api.surprises or api.errors():
                    raise Unsound("; ".join([*api.surprises, *api.errors()]))


# --- whom is sent to, and what ---------------------------------------------------------------------------------------


async def push_paths(site: Site, users: int, *, held: bool) -> list[str]:
    """New users, each with a push URL; `held`: and a device that is connected."""
    paths = []

    async def one(_: int) -> None:
        person = await new_person(site.registry)
        key_id = site.sealer.key_id
        token = site.sealer.seal_push_url(PushAddress(person.user, person.push_url, person.number), key_id)
        paths.append(f"/push/{token}")
        if held:
            await site.registry.presence.claim(
                person.user,
                person.device,
                ConnectionId(new_id()),
                session=person.session,
                server=ServerId("s1"),
                generation=1,
                rank=0,
            )

    await for_each(range(users), one)
    return paths


def requests_to(site: Site, paths: Sequence[str], kind: Kind, tokens: int) -> list[bytes]:
    """One for each path, or for each token."""
    key = VapidKey.generate()
    now_ms = system_clock()
    headers = ["TTL: 3600"]
    if kind in ("encrypted", "signed", "signed anew"):
        headers += ["Content-Encoding: aes128gcm", "Content-Type: application/octet-stream"]
        body = seal_message(b"x" * (OCTETS - 103), DeviceKeys.generate().public())
    else:
        headers += ["Content-Type: application/json"]
        body = b'{"title": "News", "body": "'.ljust(OCTETS - 2, b"x") + b'"}'
    assert len(body) == OCTETS, len(body)
    if kind == "signed":
        signatures = [f"Authorization: {key.authorization(site.origin, now_ms)}"]
    elif kind == "signed anew":
        signatures = [f"Authorization: {key.authorization(site.origin, now_ms - n * 1000)}" for n in range(tokens)]
    else:
        signatures = []
    found = []
    for number in range(max(len(paths), len(signatures))):
        lines = [
            f"POST {paths[number % len(paths)]} HTTP/1.1",
            f"Host: 127.0.0.1:{site.port}",
            *headers,
            *([signatures[number % len(signatures)]] if signatures else []),
            f"Content-Length: {len(body)}",
        ]
        found.append("\r\n".join([*lines, "", ""]).encode() + body)
    return found


# --- senders ---------------------------------------------------------------------------------------------------------


async def by_wrk(requests: Path, site: Site, connections: int, seconds: int) -> _Answered:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(WRK_SCRIPT)]
    done = await trio.run_process(
        [*command, site.origin, "--", str(requests)], capture_stdout=True, capture_stderr=True
    )
    return msgspec.json.decode(done.stderr, type=_Answered)


async def by_pushctl(targets: Path, site: Site, connections: int, seconds: int) -> _Answered:
    del site
    command = [PUSHCTL, "send", "--targets", str(targets), "--duration", f"{seconds}s"]
    options = ["--concurrency", str(connections), "--size", f"{OCTETS}B", "--json", "--max-errors", "100%"]
    done = await trio.run_process([*command, *options], capture_stdout=True, env=clean_environment())
    load = msgspec.json.decode(done.stdout)["load"]
    return _Answered(
        load["accepted"] + sum(load["refused"].values()),
        load["seconds"],
        load["latency_us"]["p50"] / 1000,
        load["latency_us"]["p99"] / 1000,
        sum(load["refused"].values()),
        sum(load["failed"].values()) + load["not_sent"],
    )


async def stretch(site: Site, kind: Kind, sender: Sender, connections: int, size: Size) -> Stretch:
    """Raises Unsound if anything but 201 was answered, or something else was stored."""
    paths = await push_paths(site, size.users, held=kind == "held")
    file = site.here / "load"
    if sender == "wrk":
        requests = requests_to(site, paths, kind, size.tokens)
        file.write_bytes(b"".join(b"%d\n%b" % (len(request), request) for request in requests))
    else:
        file.write_text("".join(f"{site.origin}{path}\n" for path in paths))
        file.chmod(0o600)
    send = by_wrk if sender == "wrk" else by_pushctl
    await send(file, site, connections, WARM_UP_SECONDS)
    before, stored = site.cpu(), await site.stored()
    own = _children_cpu()
    said = await send(file, site, connections, size.seconds)
    own = _children_cpu() - own
    after, stored = site.cpu(), await site.stored() - stored
    if said.refused or said.broken:
        raise Unsound(f"{kind}, {sender}: {said.refused} answers were no 201, {said.broken} connections broke")
    # A sender that is through leaves some under way; so has the warm-up.
    if not 0 <= stored - said.answered <= 2 * connections:
        raise Unsound(f"{kind}, {sender}: {said.answered:,} were answered with 201, {stored:,} were stored")
    each = 1e6 / stored
    return Stretch(
        kind=kind,
        sender=sender,
        connections=connections,
        processes=len(site.apis),
        messages=stored,
        per_second=said.answered / said.seconds,
        p50_ms=said.p50_ms,
        p99_ms=said.p99_ms,
        api_us=(after[0] - before[0]) * each,
        redis_us=(after[1] - before[1]) * each,
        sender_us=own * each,
    )


def _children_cpu() -> float:
    """Of those that have ended: the sender. Seconds."""
    used = os.times()
    return used.children_user + used.children_system


def middle(rounds: Sequence[Stretch]) -> Stretch:
    """The median of each figure."""
    first = rounds[0]
    names = ("messages", "per_second", "p50_ms", "p99_ms", "api_us", "redis_us", "sender_us")
    return msgspec.structs.replace(first, **{name: median(getattr(each, name) for each in rounds) for name in names})


async def measure_all(size: Size, kinds: Sequence[Kind], senders: Sequence[Sender], processes: int) -> Measured:
    if "wrk" in senders and shutil.which("wrk") is None:
        raise Unsound("no wrk here: install it (Debian has it), or leave it out with --senders")
    began = machine()
    stretches: list[Stretch] = []
    async with site_with(1) as site:
        redis = version(site.redis)
        plan: list[tuple[Kind, Sender, int]] = [
            ("plain", sender, count) for sender in senders for count in size.connections
        ]
        if "wrk" in senders:
            plan += [(kind, "wrk", size.connections[1]) for kind in kinds if kind not in ("plain", "quiet")]
        rounds = [[await stretch(site, *each, size) for each in plan] for _ in range(size.rounds)]
        stretches += [middle(each) for each in zip(*rounds, strict=True)]
    if "quiet" in kinds:
        async with site_with(1, "warning") as site:
            quiet = [await stretch(site, "quiet", senders[0], size.connections[1], size) for _ in range(size.rounds)]
            stretches.append(middle(quiet))
    if processes > 1:
        async with site_with(processes) as site:
            many = [await stretch(site, "plain", senders[0], size.connections[-1], size) for _ in range(size.rounds)]
            stretches.append(middle(many))
    return Measured(
        machine=began,
        redis=redis,
        seconds=size.seconds,
        users=size.users,
        rounds=size.rounds,
        stretches=stretches,
    )
