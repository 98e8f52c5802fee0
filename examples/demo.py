"""The main job, end to end: `make demo`.

Starts `pushctl serve all` as a process of its own (or takes a running service: --service FILE with the JSON line that
`serve all` prints), then drives it only through its public faces: the `pushctl` command line, plain HTTP, WebSocket.
One line per step with what was observed; ends with 1 at the first step that is not so.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import redis
import trio

PUSHCTL = str(Path(sys.executable).with_name("pushctl"))
PATIENCE_SECONDS = 15
"""A ceiling for anything that is waited for; on a quiet machine all of it comes within milliseconds."""

TIMED_MESSAGES = 100
ICON = "https://news.example/icon.png"
EXPIRED_TEXT = "this-text-must-not-outlive-its-second"

Event = dict[str, Any]


class NotSo(Exception):
    """Something the story says did not happen."""


def check(truth: object, otherwise: str) -> None:
    if not truth:
        raise NotSo(otherwise)


class Told:
    """Prints the story: numbered steps, and what was observed at each."""

    def __init__(self) -> None:
        self._step = 0
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def step(self, what: str) -> None:
        self._step += 1
        print(self._paint("1", f"\n{self._step}. {what}"), flush=True)

    def saw(self, what: str) -> None:
        print(f"   {self._paint('32', '✓')} {what}", flush=True)

    def note(self, what: str) -> None:
        print(what, flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


class Device:
    """One simulated device: a profile of `pushctl client`, and its `listen` process while it is connected."""

    def __init__(self, service: "Service", profile: str) -> None:
        self._service = service
        self.profile = profile
        self._events: list[Event] = []
        self._more = trio.Event()

    async def run(self, *arguments: str) -> list[Event]:
        """A `pushctl client` command; its JSON lines."""
        return await self._service.pushctl("client", *arguments, "--profile", self.profile, "--json")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Connected for as long as the block lasts."""
        self._events.clear()
        async with trio.open_nursery() as nursery:
            command = [PUSHCTL, "client", "listen", "--profile", self.profile, "--json"]
            process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, env=self._service.environment)
            nursery.start_soon(self._collect, process)
            try:
                await self.event(lambda event: event["event"] == "sync")
                yield
            finally:
                process.send_signal(signal.SIGINT)
                with trio.move_on_after(PATIENCE_SECONDS, shield=True):
                    await process.wait()
                process.kill()  # where a shell had it started with SIGINT ignored; else it does nothing
            nursery.cancel_scope.cancel()

    async def _collect(self, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        async for chunk in process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            self._events += [json.loads(line) | {"seen_at": trio.current_time()} for line in lines]
            self._more.set()
            self._more = trio.Event()

    async def event(self, wanted: Callable[[Event], bool], seconds: float = PATIENCE_SECONDS) -> Event:
        """The first event so far or to come that is wanted."""
        with trio.move_on_after(seconds):
            while True:
                for event in self._events:
                    if wanted(event):
                        return event
                await self._more.wait()
        raise NotSo(f"{self.profile} did not see it within {seconds:g} s; it saw {[e['event'] for e in self._events]}")

    @property
    def server(self) -> str:
        """The socket server it is connected to."""
        return str(self.seen("connected")[-1]["id"])

    def seen(self, kind: str) -> list[Event]:
        return [event for event in self._events if event["event"] == kind]


class Service:
    """Where the service is, and how its users reach it."""

    def __init__(self, addresses: dict[str, Any], folder: Path) -> None:
        self.api: str = addresses["api"]
        self.redis_url: str = addresses["redis"]
        self.prefix: str = addresses.get("prefix", "pushctl")
        self.environment = os.environ | {
            "PUSHCTL_CLIENT_DIR": str(folder / "clients"),
            "PUSHCTL_CLIENT_API": self.api,
            "PUSHCTL_CLIENT_BOXOFFICE": addresses["boxoffice"],
            "PUSHCTL_REDIS__URL": self.redis_url,
            "PUSHCTL_REDIS__PREFIX": self.prefix,
        }

    async def pushctl(self, *arguments: str, expect: int = 0, **environment: str) -> list[Event]:
        """Run a command; its JSON lines. NotSo when it ends with another code."""
        done = await trio.run_process(
            [PUSHCTL, *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=self.environment | environment,
        )
        said = done.stderr.decode().strip()
        check(done.returncode == expect, f"pushctl {' '.join(arguments[:2])} ended with {done.returncode}: {said}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]


@asynccontextmanager
async def serve_all(folder: Path) -> AsyncIterator[Service]:
    """`pushctl serve all` on free ports and a data directory of its own, stopped at the end."""
    command = [PUSHCTL, "serve", "all", "--ports", "auto", "--data-dir", str(folder / "data")]
    with (folder / "service.log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    said = b""
    try:
        with trio.move_on_after(PATIENCE_SECONDS):
            while b"}\n" not in said:
                more = await process.stdout.receive_some()
                check(more, f"the service ended: {(folder / 'service.log').read_text()[-2000:]}")
                said += bytes(more)
        check(b"}\n" in said, "the service did not become ready")
        ready, addresses = said.decode().splitlines()
        print(ready)
        yield Service(json.loads(addresses), folder)
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            code = await process.wait()
    check(code == 0, f"the service ended with {code} on SIGTERM")
    print("the service stopped cleanly")


async def tell(service: Service) -> None:
    told = Told()
    laptop, phone, tablet, bob = (Device(service, name) for name in ("laptop", "phone", "tablet", "bob"))

    told.step("Log in with BrowserID: two devices of alice, one of bob")
    (alice,) = await laptop.run("login", "alice", "--device-name", "laptop")
    (also_alice,) = await phone.run("login", "alice", "--device-name", "phone")
    (other,) = await bob.run("login", "bob", "--device-name", "bob's")
    check(alice["user"] == also_alice["user"] != other["user"], "one user per principal")
    told.saw(f"certificates and assertions verified locally; alice is {alice['user']}, bob is {other['user']}")

    async with phone.listening():
        told.step("alice allows https://news.example on the laptop, with an icon")
        (push_url,) = await laptop.run("allow", "https://news.example", "--icon", ICON)
        event = await phone.event(lambda event: event["event"] == "push_url")
        check((event["url"], event["icon"]) == (push_url["url"], ICON), f"the phone learned something else: {event}")
        told.saw("the connected phone learned the push URL and the icon (push_url event)")

        # The Box Office sees the phone's connection with the next heartbeat; then the other server has more room.
        await servers_say(service, Counter({phone.server: 1}))
        async with laptop.listening():
            told.step("Both devices asked the Box Office")
            check(laptop.server != phone.server, f"both are on {phone.server}: nothing crosses servers")
            told.saw(f"the phone is on {phone.server}, the laptop on {laptop.server}: what follows crosses servers")
            async with bob.listening():
                await send(told, service, push_url["url"], laptop, phone, bob)
            await read(told, laptop, phone)
    await come_back(told, service, push_url["url"], phone)
    await third_device(told, laptop, phone, tablet, service, push_url["url"])
    async with laptop.listening(), bob.listening():
        await count(told, service, (laptop, bob))


async def servers_say(service: Service, connections: "Counter[str]") -> Event:
    """Wait until the servers' rows show these connections, by server; heartbeats come every 2 s."""
    shown: Counter[str] = Counter()
    with trio.move_on_after(PATIENCE_SECONDS):
        while True:
            (stats,) = await service.pushctl("stats", "--json")
            shown = Counter({server["id"]: server["connections"] for server in stats["servers"]})
            if +shown == connections:
                return stats
    raise NotSo(f"stats shows {dict(shown)}, we counted {dict(connections)}")


async def send(told: Told, service: Service, url: str, laptop: Device, phone: Device, bob: Device) -> None:
    told.step("A third party sends, with `pushctl send` and with plain HTTP")
    await service.pushctl("send", "Rain at noon", "--title", "Weather", PUSHCTL_PUSH_URL=url)
    async with httpx.AsyncClient() as http:
        answer = await http.post(url, json={"title": "Sports", "body": "2:1"})
        check(answer.status_code == 201, f"POST answered {answer.status_code}: {answer.text}")
        for device in (laptop, phone):
            for title, body in (("Weather", "Rain at noon"), ("Sports", "2:1")):
                event = await device.event(lambda event, title=title: event.get("title") == title)  # type: ignore[misc]
                check((event["body"], event["icon"]) == (body, ICON), f"{device.profile} shows {event}")
        check(not bob.seen("message"), "bob saw alice's messages")
        told.saw("both devices show title, body and icon; bob sees nothing")
        latencies = sorted([await one_latency(http, url, n, phone) for n in range(TIMED_MESSAGES)])
    median, p99 = statistics.median(latencies) * 1000, latencies[int(0.99 * (len(latencies) - 1))] * 1000
    check(median < 1000, f"from POST to the phone's screen it took {median:.0f} ms")
    told.saw(
        f"{TIMED_MESSAGES} more, one by one, from POST to the phone's screen: median {median:.1f} ms, p99 {p99:.1f} ms"
    )
    check(not bob.seen("message"), "bob saw alice's messages")


async def one_latency(http: httpx.AsyncClient, url: str, n: int, phone: Device) -> float:
    started = trio.current_time()
    answer = await http.post(url, json={"body": f"timed {n}"})
    check(answer.status_code == 201, f"POST answered {answer.status_code}")
    event = await phone.event(lambda event: event.get("body") == f"timed {n}")
    return float(event["seen_at"]) - started


async def read(told: Told, laptop: Device, phone: Device) -> None:
    told.step("The laptop marks one as read")
    weather = await laptop.event(lambda event: event.get("title") == "Weather")
    await laptop.run("read", weather["id"])
    await phone.event(lambda event: event["event"] == "read" and event["ids"] == [weather["id"]], seconds=5)
    titles = [message["title"] for message in await phone.run("messages")]
    check("Weather" not in titles and "Sports" in titles, f"the phone shows {titles}")
    told.saw("the phone dropped it at once, and kept the others")
    await laptop.run("read", "--all")


async def come_back(told: Told, service: Service, url: str, phone: Device) -> None:
    told.step("The phone is away; three more messages come")
    async with httpx.AsyncClient() as http:
        for body, headers in (
            (EXPIRED_TEXT, {"TTL": "1"}),
            ("first edition", {"Topic": "edition"}),
            ("second edition", {"Topic": "edition"}),
        ):
            answer = await http.post(url, json={"body": body}, headers=headers)
            check(answer.status_code == 201, f"POST answered {answer.status_code}: {answer.text}")
    await trio.sleep(1.1)  # the one thing that can only be waited for: a TTL of 1 s
    async with phone.listening():
        sync = await phone.event(lambda event: event["event"] == "sync")
        check(sync["mode"] == "delta", f"the phone was given a {sync['mode']}")
        got = [message["body"] for message in phone.seen("message")]
        check(got == ["second edition"], f"the phone was given {got}")
    told.saw("with its cursor it got a delta, and of the three exactly the one that is due: 'second edition'")


async def third_device(told: Told, laptop: Device, phone: Device, tablet: Device, service: Service, url: str) -> None:
    told.step("A third device of alice logs in")
    await tablet.run("login", "alice", "--device-name", "tablet")
    async with laptop.listening(), phone.listening(), tablet.listening():
        sync = await tablet.event(lambda event: event["event"] == "sync")
        urls = [event["url"] for event in tablet.seen("push_url")]
        unread = [event["body"] for event in tablet.seen("message")]
        check(sync["mode"] == "snapshot", f"it was given a {sync['mode']}")
        check((urls, unread) == ([url], ["second edition"]), f"it was given {len(urls)} push URLs and {unread}")
        told.saw("it got a snapshot: the push URL and the one unread message")

        told.step("alice revokes the push URL")
        await laptop.run("revoke", "https://news.example")
        for device in (laptop, phone, tablet):
            await device.event(lambda event: event["event"] == "revoked")
        async with httpx.AsyncClient() as http:
            answer = await http.post(url, json={"body": "too late"})
        check(answer.status_code == 410, f"the third party got {answer.status_code}")
        told.saw("all three devices learned it; the third party gets 410 Gone")


async def count(told: Told, service: Service, connected: tuple[Device, ...]) -> None:
    told.step("gc runs, and the books are balanced")
    await service.pushctl("serve", "gc", "--once")
    ours = {"users": 2, "devices": 4, "push_urls": 0, "unread": 1}
    per_server = Counter(device.server for device in connected)
    stats = await servers_say(service, per_server)
    counted = {name: (stats["users"] | stats["messages"])[name] for name in ours}
    check(counted == ours, f"stats says {counted}, we counted {ours}")
    numbers = [f"{value} {name.replace('_', ' ')}" for name, value in counted.items()]
    numbers += [f"{value} connected to {server}" for server, value in sorted(per_server.items())]
    told.saw("`pushctl stats` agrees: " + ", ".join(numbers))
    keys, holding = await trio.to_thread.run_sync(scan, service.redis_url, EXPIRED_TEXT.encode())
    check(not holding, f"{holding} still hold the expired message")
    told.saw(f"none of the {keys} keys in Redis holds the expired message's text any more")


def scan(url: str, text: bytes) -> tuple[int, list[str]]:
    """(how many keys there are, those that hold the text), whatever their type."""
    found, keys = [], 0
    with redis.Redis.from_url(url) as store:
        whole: dict[bytes, Callable[[Any], Any]] = {
            b"string": store.get,
            b"hash": store.hgetall,
            b"set": store.smembers,
            b"zset": lambda key: store.zrange(key, 0, -1),
            b"list": lambda key: store.lrange(key, 0, -1),
            b"stream": store.xrange,
        }
        for key in store.scan_iter(count=1000):
            keys += 1
            kind = store.type(key)  # none: it has just expired
            if kind != b"none" and text in repr(whole[kind](key)).encode():
                found.append(repr(key))
    return keys, found


def leaves(group: BaseExceptionGroup[NotSo]) -> list[NotSo]:
    """What did not happen, out of the nurseries it came through."""
    found: list[NotSo] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", type=Path, help="file with the JSON line of a running service, to use that one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pushctl-demo-") as name:
        folder = Path(name)
        if given.service:
            await tell(Service(json.loads(given.service.read_text()), folder))
            return
        started = trio.current_time()
        print("starting `pushctl serve all` on free ports and a temporary data directory")
        async with serve_all(folder) as service:
            await tell(service)
            print(f"\nAll of it is so, in {trio.current_time() - started:.1f} s.")
    width = shutil.get_terminal_size().columns
    print("-" * min(width, 72))
    print("Keep it running:   .venv/bin/pushctl serve all")
    print("Then, elsewhere:   .venv/bin/pushctl client login alice")
    print("                   .venv/bin/pushctl client allow https://news.example")
    print("                   .venv/bin/pushctl client run")


if __name__ == "__main__":
    try:
        trio.run(main)
    except* NotSo as group:
        for error in leaves(group):
            print(f"\nNOT SO: {error}", file=sys.stderr)
        sys.exit(1)
