"""The server over real sockets: listeners, too many connections, the drain, TLS, proxies, Litestar behind it."""

import datetime
import ipaddress
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from litestar import Litestar
from litestar import get as litestar_get
from litestar import post as litestar_post
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from msgspec import Struct

from pushctl.errors import ConfigError, Failed
from pushctl.http.asgi import ASGIApp, Receive, Scope, Send, read_body, respond
from pushctl.http.server import MAX_REFUSALS, address_of, open_listeners
from tests.unit.http.harness import RawPeer, get, post, serving

# --- listeners -------------------------------------------------------------------------------------------------------


async def test_port_0_picks_one_and_address_of_says_which() -> None:
    listeners = await open_listeners("127.0.0.1:0")
    host, _, port = address_of(listeners).rpartition(":")
    assert (len(listeners), host) == (1, "127.0.0.1")
    assert int(port) > 0
    await listeners[0].aclose()


async def test_a_name_with_several_addresses_gets_one_port_that_can_be_told_to_others() -> None:
    listeners = await open_listeners("localhost:0")
    assert len(listeners) == 1
    await listeners[0].aclose()


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
async def test_an_ipv6_address_is_written_in_brackets() -> None:
    listeners = await open_listeners("[::1]:0")
    assert address_of(listeners).startswith("[::1]:")
    await listeners[0].aclose()


async def test_a_taken_port_is_one_clear_line() -> None:
    listeners = await open_listeners("127.0.0.1:0")
    address = address_of(listeners)
    with pytest.raises(Failed) as failed:
        await open_listeners(address)
    assert str(failed.value) == f"cannot listen on {address}: Address already in use"
    await listeners[0].aclose()


async def test_a_shared_port_is_shared_with_those_who_say_so_and_nobody_else() -> None:
    (first,) = await open_listeners("127.0.0.1:0", shared=True)
    (second,) = await open_listeners(address_of([first]), shared=True)
    with pytest.raises(Failed, match="Address already in use"):
        await open_listeners(address_of([first]))
    taken = 0
    async with trio.open_nursery() as nursery:

        async def take(listener: trio.SocketListener) -> None:
            nonlocal taken
            while True:
                async with await listener.accept():
                    taken += 1
                if taken == 8:
                    nursery.cancel_scope.cancel()

        nursery.start_soon(take, first)
        nursery.start_soon(take, second)
        host, port = address_of([first]).split(":")
        for _ in range(8):
            async with await trio.open_tcp_stream(host, int(port)):
                pass
    await first.aclose()
    await second.aclose()


@pytest.mark.parametrize("listen", ["8080", ":8080", "127.0.0.1", "127.0.0.1:", "a b:1", "127.0.0.1:99999", "::1:80"])
async def test_what_is_no_listen_address_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match="listen address"):
        await open_listeners(listen)


# --- too many --------------------------------------------------------------------------------------------------------


async def test_connections_above_the_limit_are_told_to_come_back_and_cost_no_place() -> None:
    async with serving(max_connections=1) as running:
        async with running.peer() as first:
            await first.send(get())
            assert (await first.answer()).status == 200
            for _ in range(3):
                async with running.peer() as surplus:
                    answer = await surplus.answer()
                    assert (answer.status, answer.problem["code"]) == (503, "overloaded")
                    assert int(answer.headers["retry-after"]) >= 1
                    await surplus.nothing_more()
            await first.send(get())
            assert (await first.answer()).status == 200
            statistics = running.server.statistics()
            assert (statistics.connections, statistics.accepted, statistics.refused) == (1, 1, 3)
            await first.send(get("/", "Connection: close"))
            await first.answer()
            await first.nothing_more()
        async with running.peer() as second:
            await second.send(get())
            answer = await second.answer()
            assert answer.status == 200


async def test_of_a_flood_of_connections_only_some_are_told_and_the_others_are_closed(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with serving(max_connections=1) as running, running.peer() as first, AsyncExitStack() as flood:
        await first.send(get())
        await first.answer()
        pauses = set()
        for _ in range(MAX_REFUSALS):
            surplus = await flood.enter_async_context(running.peer())
            answer = await surplus.answer()
            assert answer.status == 503
            pauses.add(int(answer.headers["retry-after"]))
        assert len(pauses) > 3, "they do not come again all at once"
        async with running.peer() as surplus:
            await surplus.nothing_more()
        assert running.server.statistics().refused == MAX_REFUSALS + 1
        await first.send(get())
        assert (await first.answer()).status == 200


# --- the drain -------------------------------------------------------------------------------------------------------


async def test_a_drain_ends_idle_connections_finishes_requests_and_accepts_nobody() -> None:
    begun, go = trio.Event(), trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            begun.set()
            await go.wait()
        await respond(send, 200, [], scope["path"].encode())

    async with serving(app) as running, running.peer() as idle, running.peer() as fresh, running.peer() as busy:
        for peer in (idle, fresh):
            await peer.send(get())
            await peer.answer()
        await busy.send(get("/slow") + get("/never"))
        await begun.wait()
        drained = trio.Event()

        async def drain() -> None:
            await running.server.drain()
            drained.set()

        running.nursery.start_soon(drain)
        await idle.nothing_more()
        await fresh.nothing_more()
        with pytest.raises(OSError, match="all attempts to connect"):
            async with running.peer():
                pass
        assert not drained.is_set()
        go.set()
        answer = await busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"/slow", "close")
        await busy.nothing_more()
        await busy.stream.aclose()
        await drained.wait()
        assert running.server.statistics().connections == 0


async def test_a_drain_lets_a_request_that_is_still_arriving_finish() -> None:
    async with serving() as running, running.peer() as peer:
        await peer.send(get("/first") + b"GET /second HT")
        await peer.answer()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.server.drain)
            await trio.sleep(0.05)
            await peer.send(b"TP/1.1\r\nHost: a\r\n\r\n")
            answer = await peer.answer()
            assert (answer.body, answer.headers["connection"]) == (b"/second", "close")
            await peer.stream.aclose()


async def test_a_server_that_is_cancelled_leaves_nothing_open() -> None:
    async with serving() as running, running.peer() as peer:
        await peer.send(get())
        await peer.answer()
        running.nursery.cancel_scope.cancel()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", int(running.address.split(":")[1]))


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server's, client's) with a certificate for 127.0.0.1 made for this run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pushctl test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain = tmp_path_factory.mktemp("tls") / "chain.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    client = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    return server, client


async def test_tls_serves_the_same_and_the_scope_says_https(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive, 1_000_000)
        await respond(send, 200, [], scope["scheme"].encode() + b" %d" % len(body) + b"x" * 100_000)

    async with serving(app, tls=lambda: contexts[0]) as running:
        async with httpx.AsyncClient(verify=contexts[1]) as client:
            for size in (0, 5, 60_000):
                answer = await client.post(f"https://{running.address}/", content=b"x" * size)
                assert answer.content.startswith(b"https %dx" % size)
                assert len(answer.content) > 100_000
        assert running.server.statistics().accepted == 1
        async with running.peer() as plain:
            tls = trio.SSLStream(plain.stream, contexts[1], server_hostname="127.0.0.1", https_compatible=True)
            peer = RawPeer(tls)
            await peer.send(b"GET / HTTP/1.1\r\n\r\n")
            assert (await peer.answer()).status == 400
            await peer.nothing_more()
        await running.server.drain()


async def test_plain_http_and_silence_on_a_tls_listener_are_closed(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with serving(tls=lambda: contexts[0], header_seconds=0.2) as running:
        async with running.peer() as plain:
            await plain.send(get())
            with suppress(trio.BrokenResourceError):
                assert b"HTTP" not in await plain.everything()
        async with running.peer() as silent:
            with suppress(trio.BrokenResourceError):
                await silent.nothing_more()
        assert running.seen == []


async def test_a_tls_peer_that_is_slow_gets_its_408(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], socket_clock: trio.testing.MockClock
) -> None:
    async with serving(tls=lambda: contexts[0], header_seconds=0.3) as running, running.peer() as plain:
        peer = RawPeer(trio.SSLStream(plain.stream, contexts[1], server_hostname="127.0.0.1", https_compatible=True))
        await peer.send(b"GET / HT")
        assert (await peer.answer()).status == 408
        await peer.nothing_more()


# --- proxies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "client", "scheme"),
    [((), "127.0.0.1", "http"), (("10.0.0.0/8",), "127.0.0.1", "http"), (("127.0.0.0/8",), "203.0.113.7", "https")],
)
async def test_only_a_trusted_proxy_says_who_the_client_is(proxies: tuple[str, ...], client: str, scheme: str) -> None:
    said: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        said.append((scope["client"][0], scope["scheme"]))
        await respond(send, 204, [])

    async with serving(app, proxies=proxies) as running, running.peer() as peer:
        await peer.send(get("/", "X-Forwarded-For: 6.6.6.6, 203.0.113.7", "X-Forwarded-Proto: https"))
        await peer.answer()
        assert said == [(client, scheme)]


# --- whatever happens ------------------------------------------------------------------------------------------------


async def test_peers_that_reset_at_any_moment_end_nothing() -> None:
    async with serving(max_connections=100) as running:
        host, port = running.address.split(":")
        for sent in (b"", b"GET", get(), get() * 100, post(b"x" * 60_000), post(b"x" * 60_000)[:1000]):
            for _ in range(5):
                sock = socket.create_connection((host, int(port)))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.sendall(sent)
                sock.close()
        async with running.peer() as peer:
            await peer.send(get())
            assert (await peer.answer()).status == 200


# --- Litestar --------------------------------------------------------------------------------------------------------


class Tea(Struct):
    kind: str


@litestar_get("/tea/{name:str}")
async def show_tea(name: FromPath[str]) -> Tea:
    return Tea(name)


@litestar_post("/tea")
async def make_tea(data: JSONBody[Tea]) -> Tea:
    return data


@litestar_get("/stream")
async def stream_tea() -> Stream:
    async def pour() -> Any:
        for _ in range(3):
            yield b"tea "

    return Stream(pour())


@litestar_get("/bug")
async def spill() -> None:
    raise ZeroDivisionError("secret detail")


def litestar_app() -> ASGIApp:
    return cast(ASGIApp, Litestar([show_tea, make_tea, stream_tea, spill], openapi_config=None, logging_config=None))


async def test_litestar_works_behind_it_without_lifespan_events() -> None:
    async with serving(litestar_app()) as running, httpx.AsyncClient(base_url=f"http://{running.address}") as client:
        assert (await client.get("/tea/oolong")).json() == {"kind": "oolong"}
        assert (await client.post("/tea", json={"kind": "mate"})).json() == {"kind": "mate"}
        assert (await client.get("/stream")).text == "tea tea tea "
        assert (await client.get("/nothing")).status_code == 404
        assert (await client.post("/tea", content=b"{")).status_code == 400
        bug = await client.get("/bug")
        assert bug.status_code == 500
        assert "secret" not in bug.text
        assert running.server.statistics().accepted == 1


async def test_a_broken_body_is_refused_by_the_server_though_litestar_has_its_own_idea(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving(litestar_app()) as running, running.peer() as peer:
        await peer.send(
            b"POST /tea HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{'kiXX" + get("/hidden")
        )
        answer = await peer.answer()
        assert (answer.status, answer.problem["code"]) == (400, "body_invalid")
        await peer.nothing_more()
    assert "app_crashed" not in capsys.readouterr().err


async def test_litestar_that_streams_to_a_peer_that_left_is_no_crash(capsys: pytest.CaptureFixture[str]) -> None:
    class Endless:
        """No generator: Litestar leaves those of peers that left unfinished, which Trio complains about."""

        def __aiter__(self) -> "Endless":
            return self

        async def __anext__(self) -> bytes:
            return b"x" * 10_000

    @litestar_get("/endless")
    async def endless() -> Stream:
        return Stream(Endless())

    app = cast(ASGIApp, Litestar([endless], openapi_config=None, logging_config=None))
    async with serving(app) as running:
        async with running.peer() as peer:
            await peer.send(get("/endless"))
            await peer.exactly(50_000)
        await running.server.drain()
    assert "app_" not in capsys.readouterr().err
