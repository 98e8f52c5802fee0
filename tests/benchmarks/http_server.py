"""How many requests a second one process answers: pushctl's HTTP server, and a minimal one of h11 on Trio beside it.

    python -m tests.benchmarks.http_server [--seconds 3] [--connections 32]

Both run the same bare ASGI application: it reads a body of 200 bytes and answers 201 with two headers, as the push URL
does. The load comes from a second process with plain blocking sockets, so that its own cost stays small. It prints a
table and asserts nothing: numbers of one machine prove nothing about another.
"""

import argparse
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import h11
import trio

from pushctl.config.model import Http
from pushctl.http.asgi import Message, Receive, Scope, Send, read_body, respond
from pushctl.http.server import HttpServer, open_listeners

REQUEST = (
    b"POST /push/mFUBbmuKPeGFQTzHRnXKRkXWjGNRCRPZ5Sl0Bpa4oZwRrEHdXjCw HTTP/1.1\r\n"
    b"Host: push.example\r\nUser-Agent: python-httpx/0.28.1\r\nAccept: */*\r\n"
    b"Content-Type: application/json\r\nTTL: 3600\r\nContent-Length: 200\r\n\r\n" + b"x" * 200
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await read_body(receive, 4096)
    await respond(send, 201, [(b"location", b"/message/mFUBbmuKPeGFQTzHRnXKRk"), (b"ttl", b"3600")])


async def serve_pushctl(listeners: list[trio.SocketListener]) -> None:
    await HttpServer(app, Http()).serve(listeners)


async def serve_h11(listeners: list[trio.SocketListener]) -> None:
    await trio.serve_listeners(_h11_connection, listeners)


async def _h11_connection(stream: trio.SocketStream) -> None:
    """The least that h11 on Trio can do: no limits, no time-outs, no errors."""
    connection = h11.Connection(h11.SERVER)

    async def next_event() -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(65_536))
        return event

    while isinstance(request := await next_event(), h11.Request):

        async def receive() -> Message:
            event = await next_event()
            if isinstance(event, h11.Data):
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            return {"type": "http.request", "body": b"", "more_body": False}

        out = bytearray()

        async def send(message: Message, out: bytearray = out) -> None:
            if message["type"] == "http.response.start":
                out += connection.send(h11.Response(status_code=message["status"], headers=message["headers"])) or b""
            else:
                out += connection.send(h11.Data(data=message["body"])) or b""
                out += connection.send(h11.EndOfMessage()) or b""
                await stream.send_all(out)

        path, _, query = request.target.partition(b"?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http",
            "path": path.decode(),
            "raw_path": path,
            "query_string": query,
            "headers": list(request.headers),
        }
        await app(scope, receive, send)
        connection.start_next_cycle()


SERVERS: dict[str, Callable[[list[trio.SocketListener]], Awaitable[None]]] = {
    "pushctl (httptools)": serve_pushctl,
    "h11 on Trio, minimal": serve_h11,
}


def generate_load(port: int, connections: int, seconds: float) -> None:
    """Keep `connections` busy with one request each, for `seconds`; print requests/s."""
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    start = time.perf_counter()
    answered = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        for sock in socks:
            sock.sendall(REQUEST)
        for sock in socks:
            assert sock.recv(65_536).startswith(b"HTTP/1.1 201 ")
        answered += len(socks)
    print(answered / elapsed)
    for sock in socks:
        sock.close()


async def measure(name: str, connections: int, seconds: float) -> tuple[float, float, float]:
    """(requests/s, microseconds per request in this process, and in the kernel for it) of one server."""
    listeners = await open_listeners("127.0.0.1:0")
    port = listeners[0].socket.getsockname()[1]
    arguments = ["--load", str(port), "--connections", str(connections), "--seconds", str(seconds)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(SERVERS[name], listeners)
        before = os.times()
        load = await trio.run_process([sys.executable, "-m", __spec__.name, *arguments], capture_stdout=True)
        after = os.times()
        nursery.cancel_scope.cancel()
    rate = float(load.stdout)
    requests = rate * seconds / 1e6
    return rate, (after.user - before.user) / requests, (after.system - before.system) / requests


def machine() -> str:
    model = subprocess.run(
        ["sed", "-n", "s/^model name.*: //p", "/proc/cpuinfo"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    return f"{os.cpu_count()} x {model[0] if model else platform.processor()}, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--load", type=int, metavar="PORT", help="be the load generator")
    options = parser.parse_args()
    if options.load:
        generate_load(options.load, options.connections, options.seconds)
        return
    rows = {name: trio.run(measure, name, options.connections, options.seconds) for name in SERVERS}
    ours = next(iter(rows.values()))[0]
    print(f"{'server':<22} {'requests/s':>11} {'us/request: own':>16} {'kernel':>7} {'ours is':>8}")
    for name, (rate, own, kernel) in rows.items():
        print(f"{name:<22} {rate:>11,.0f} {own:>16.1f} {kernel:>7.1f} {ours / rate:>7.1f}x")
    print(f"{options.connections} connections, one request in flight on each; {machine()}, trio {trio.__version__}")


if __name__ == "__main__":
    main()
