"""What a WebSocket costs the server that holds it, before anything is said: ours, trio-websocket, and a bare task.

    python -m tests.benchmarks.websocket [--connections 2000] [--rounds 3] [--json FILE] [--quick]
    python -m tests.benchmarks.websocket --from FILE

Each server is a process of its own, and they take turns. Peers are plain sockets in this process, so that no client
library is measured.

- handshake: TCP accepted, the request read, 101 sent.
- idle: what a connection adds to the server's memory while it says nothing.
- send: a frame of 200 bytes that is ready, to one connection after the other.

ours: roles/socket, from the accepted socket to `Wire`, without what a session adds (connections.py measures that).
trio-websocket: its server, with its defaults. bare: a Trio task on a stream, which answers the
handshake with ready bytes and never looks at a frame: less than anything that keeps to RFC 6455.
"""

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from statistics import median

import trio
import trio_websocket

from pushctl.config.model import Http
from pushctl.http.accepting import accept_forever
from pushctl.http.server import open_listeners
from pushctl.open_files import raise_open_file_limit
from roles.socket.framing import text_header
from roles.socket.line import Line
from roles.socket.pulse import Pulse
from roles.socket.upgrade import read_upgrade
from roles.socket.wire import Disconnected, Wire
from tests.benchmarks.memory import Memory
from tests.benchmarks.results import add_file_options, told
from tests.benchmarks.rig import machine, print_table, us
from tests.benchmarks.routing_site import cpu_seconds

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: push.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://push.example\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
FRAME = b"x" * 200
PREPARED = text_header(len(FRAME)) + FRAME
TOGETHER = 50
"""Peers that ask for an upgrade at the same time."""


@dataclass(frozen=True, slots=True)
class Size:
    connections: int = 2000
    sends: int = 20
    """To each."""
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one connection: µs of the server's CPU, bytes of its memory; µs of a frame."""

    server: str
    handshake_us: float
    bytes: float
    send_us: float


@dataclass(frozen=True, slots=True)
class Measured:
    machine: str
    size: Size
    costs: Sequence[Cost]


# --- servers: each takes connections for ever, and sends a frame to all when it is told to ----------------------------

Send = Callable[[], Awaitable[None]]


async def serve_ours(listeners: list[trio.SocketListener], sends: list[Send]) -> None:
    async def serve(sock: socket.socket) -> None:
        line = Line(sock)
        upgrade = await read_upgrade(line, Http())
        pulse = Pulse(trio.current_time(), ping_seconds=30, pong_seconds=20)
        wire = await upgrade.accept(None, max_message_bytes=65_536, stall_seconds=30, pulse=pulse)
        sends.append(partial(_write, wire))
        with suppress(Disconnected):
            await wire.receive()
        line.close()

    async with trio.open_nursery() as nursery:
        await accept_forever(listeners, serve, nursery, name="connection")


async def _write(wire: Wire) -> None:
    wire.write(FRAME)


async def serve_trio_websocket(listeners: list[trio.SocketListener], sends: list[Send]) -> None:
    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        websocket = await request.accept()
        sends.append(partial(websocket.send_message, FRAME.decode()))
        with suppress(trio_websocket.ConnectionClosed):
            await websocket.get_message()

    await trio_websocket.WebSocketServer(serve, listeners).run()


async def serve_bare(listeners: list[trio.SocketListener], sends: list[Send]) -> None:

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(4096)
        await stream.send_all(ANSWER)
        sends.append(partial(stream.send_all, PREPARED))
        await stream.receive_some(4096)

    await trio.serve_listeners(serve, listeners)


SERVERS = {"ours": serve_ours, "trio-websocket": serve_trio_websocket, "bare": serve_bare}


async def serve(name: str, sends_each: int) -> None:
    """Says its port, then a line after each turn of sending, for which it is told by SIGUSR1."""
    listeners = await open_listeners("127.0.0.1:0")
    print(listeners[0].socket.getsockname()[1], flush=True)
    sends: list[Send] = []
    with trio.open_signal_receiver(signal.SIGUSR1) as told_to:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(SERVERS[name], listeners, sends)
            async for _ in told_to:
                before = _own_cpu()
                for _ in range(sends_each):
                    for send in sends:
                        await send()
                    await trio.lowlevel.checkpoint()
                print(_own_cpu() - before, flush=True)


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- measuring -------------------------------------------------------------------------------------------------------


@contextmanager
def server(name: str, sends: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """And its port."""
    command = [sys.executable, "-m", "tests.benchmarks.websocket", "--serve", name, "--sends", str(sends)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def shake_hands(port: int, count: int) -> list[socket.socket]:
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for peer in peers:
        peer.sendall(REQUEST)
    for peer in peers:
        assert b" 101 " in peer.recv(4096)
    return peers


def measure(name: str, size: Size) -> Cost:
    with server(name, size.sends) as (process, port):
        peers = shake_hands(port, TOGETHER)  # what is made once
        empty, cpu = Memory.of(process.pid).rss, cpu_seconds(process.pid)
        for _ in range(size.connections // TOGETHER):
            peers += shake_hands(port, TOGETHER)
        handshake = cpu_seconds(process.pid) - cpu
        full = Memory.of(process.pid).rss
        os.kill(process.pid, signal.SIGUSR1)
        assert process.stdout
        spent = float(process.stdout.readline())
        for peer in peers:
            heard = 0
            while heard < size.sends * len(PREPARED):
                heard += len(peer.recv(65_536))
            peer.close()
        count = size.connections
        return Cost(name, handshake / count * 1e6, (full - empty) / count, spent / size.sends / len(peers) * 1e6)


def measure_all(size: Size) -> Measured:
    """In turns."""
    costs: list[Cost] = []
    busy = machine()
    for _ in range(size.rounds):
        for name in SERVERS:
            costs.append(measure(name, size))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Measured(busy, size, costs)


def tell(measured: Measured) -> None:
    rows = []
    ours = _middle(measured, "ours")
    for name in SERVERS:
        cost = _middle(measured, name)
        rows.append(
            [
                name,
                us(cost.handshake_us),
                f"{cost.handshake_us / ours.handshake_us:.2f}",
                f"{cost.bytes:,.0f}",
                f"{cost.bytes / ours.bytes:.2f}",
                us(cost.send_us),
                f"{cost.send_us / ours.send_us:.2f}",
            ]
        )
    head = ("server", "handshake, µs", "to ours", "idle, bytes", "to ours", "send, µs", "to ours")
    size = measured.size
    note = f"{size.connections:,} connections, {size.sends} frames to each; the middle one of {size.rounds} rounds."
    print_table("A WebSocket, to its server", head, rows, note)


def _middle(measured: Measured, name: str) -> Cost:
    costs = [cost for cost in measured.costs if cost.server == name]
    return Cost(
        name,
        median(cost.handshake_us for cost in costs),
        median(cost.bytes for cost in costs),
        median(cost.send_us for cost in costs),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=Size().connections)
    parser.add_argument("--rounds", type=int, default=Size().rounds)
    parser.add_argument("--quick", action="store_true", help="seconds; measures nothing worth quoting")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--sends", type=int, default=0, help=argparse.SUPPRESS)
    add_file_options(parser)
    options = parser.parse_args()
    raise_open_file_limit()
    if options.serve:
        trio.run(serve, options.serve, options.sends)
        return
    size = Size(100, 2, 1) if options.quick else Size(options.connections, rounds=options.rounds)
    told(options, Measured, lambda: measure_all(size), tell)


if __name__ == "__main__":
    main()
