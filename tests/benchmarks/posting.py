"""What a request costs the one who sends it: pushctl's own client beside httpx, in one run.

    python -m tests.benchmarks.posting [--seconds 3] [--connections 16] [--rounds 2]

Both keep so many connections busy with a POST of 200 bytes, as a sender of push messages would, against pushctl's HTTP
server with a bare application, which runs in a process of its own. They take turns; the table has the best round of
each. It asserts nothing: numbers of one machine prove nothing about another, only their ratio is worth quoting.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import trio

from pushctl.config.model import Http
from pushctl.http.server import HttpServer, open_listeners
from pushctl.keepalive import KeepAlive
from tests.benchmarks.http_server import app, machine

PATH = "/push/mFUBbmuKPeGFQTzHRnXKRkXWjGNRCRPZ5Sl0Bpa4oZwRrEHdXjCw"
HEADERS = {"Content-Type": "application/json", "TTL": "3600"}
BODY = b"x" * 200

Post = Callable[[], Awaitable[int]]
"""One request; the status of its answer."""


@dataclass(frozen=True)
class Cost:
    per_second: float
    cpu_us: float
    """Of this process, its kernel time included, for each request."""


@asynccontextmanager
async def with_keepalive(port: int, connections: int) -> AsyncIterator[Post]:
    http = KeepAlive("127.0.0.1", port)
    await http.connect(connections)

    async def post() -> int:
        return (await http.post(PATH, HEADERS, BODY)).status

    yield post
    http.close()


@asynccontextmanager
async def with_httpx(port: int, connections: int) -> AsyncIterator[Post]:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(limits=limits, trust_env=False, verify=False) as http:  # noqa: S501 - it is plain HTTP

        async def post() -> int:
            return (await http.post(f"http://127.0.0.1:{port}{PATH}", headers=HEADERS, content=BODY)).status_code

        yield post


CLIENTS = {"pushctl (keepalive)": with_keepalive, "httpx": with_httpx}


async def measure(name: str, port: int, connections: int, seconds: float) -> Cost:
    async with CLIENTS[name](port, connections) as post:
        answered = 0
        end = time.perf_counter() + seconds

        async def work() -> None:
            nonlocal answered
            while time.perf_counter() < end:
                assert await post() == 201
                answered += 1

        began, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for _ in range(connections):
                nursery.start_soon(work)
        return Cost(answered / (time.perf_counter() - began), (time.process_time() - cpu) / answered * 1e6)


async def serve() -> None:
    listeners = await open_listeners("127.0.0.1:0")
    print(listeners[0].socket.getsockname()[1], flush=True)
    await HttpServer(app, Http()).serve(listeners)


@contextmanager
def server() -> Iterator[int]:
    """Its port."""
    with subprocess.Popen([sys.executable, "-m", __spec__.name, "--serve"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3, help="of each round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help="be the server")
    options = parser.parse_args()
    if options.serve:
        trio.run(serve)
        return
    found: dict[str, Cost] = {}
    with server() as port:
        for _ in range(options.rounds):
            for name in CLIENTS:
                cost = trio.run(measure, name, port, options.connections, options.seconds)
                found[name] = min(cost, found.get(name, cost), key=lambda each: each.cpu_us)
    ours = next(iter(found.values()))
    print(f"{'client':<22} {'requests/s':>11} {'us of CPU/request':>18} {'to ours':>8}")
    for name, cost in found.items():
        print(f"{name:<22} {cost.per_second:>11,.0f} {cost.cpu_us:>18.1f} {cost.cpu_us / ours.cpu_us:>7.1f}x")
    print(f"{options.connections} connections, one request in flight on each; {machine()}, trio {trio.__version__}")


if __name__ == "__main__":
    main()
