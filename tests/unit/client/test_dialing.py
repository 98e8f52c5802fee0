"""Opening and closing a WebSocket: every way it fails has words, and nothing is left open."""

import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from pushctl.client import dialing
from pushctl.client.dialing import NotConnected, dial
from tests.fake_service import FakeService, FakeSocket, silent_server

PATIENCE_SECONDS = 5


async def test_a_server_that_is_full_says_when_to_come_back(service: FakeService) -> None:
    with pytest.raises(NotConnected) as refused:
        async with dial(service.socket_url):
            raise AssertionError
    assert (refused.value.reason, refused.value.retry_after_seconds) == ("answered 503", 7.0)


async def test_nobody_there_is_said_in_the_systems_words() -> None:
    with pytest.raises(NotConnected, match=r"^connection refused$"):
        async with dial("ws://127.0.0.1:1/"):
            raise AssertionError


async def test_an_error_inside_is_not_hidden_by_a_peer_that_does_not_answer_our_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialing, "GOODBYE_SECONDS", 0.05)
    async with silent_server() as url:
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(LookupError):
            async with dial(url):
                raise LookupError


async def test_tcp_is_closed_when_the_server_says_close_first(service: FakeService) -> None:
    """A leak would be a ResourceWarning some time later, in some other test."""

    async def script(peer: FakeSocket) -> None:
        await peer.close(4001)

    service.scripts = [script]
    with trio.fail_after(PATIENCE_SECONDS):
        async with dial(service.socket_url) as opened:
            stream = opened._stream
            await opened._close_handshake.wait()
    assert isinstance(stream, trio.SocketStream)
    assert stream.socket.fileno() == -1


async def test_leaving_is_quick_when_cancelled(socket_clock: trio.testing.MockClock) -> None:
    async with silent_server() as url:
        began = trio.current_time()
        with trio.move_on_after(0.1):
            async with dial(url):
                await trio.sleep_forever()
        assert trio.current_time() - began < 0.5


@pytest.mark.parametrize("url", ["", "nonsense", "http://127.0.0.1/", "ws://", "ws://[::1/", "ws://127.0.0.1:99999/"])
async def test_what_is_no_websocket_url_is_not_dialled(url: str) -> None:
    with pytest.raises(NotConnected, match="not a WebSocket URL"):
        async with dial(url):
            raise AssertionError


async def test_a_server_that_drops_tcp_instead_of_answering_is_given_up(socket_clock: trio.testing.MockClock) -> None:

    async def drop(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, drop, 0, host="127.0.0.1"))
        with pytest.raises(NotConnected, match="no answer to the WebSocket upgrade"):
            async with dial(f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"):
                raise AssertionError
        nursery.cancel_scope.cancel()


async def test_a_certificate_nobody_vouches_for_is_said_so(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.do_handshake()
        await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        listeners = await nursery.start(partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1"))
        port = listeners[0].transport_listener.socket.getsockname()[1]
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(NotConnected, match="certificate verify failed"):
            async with dial(f"wss://127.0.0.1:{port}/"):
                raise AssertionError
        nursery.cancel_scope.cancel()


def self_signed(folder: Path) -> Path:
    """A key and its own certificate, in one PEM file."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    path = folder / "self.pem"
    path.write_bytes(pem)
    return path
