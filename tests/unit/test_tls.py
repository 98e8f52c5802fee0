"""The files of TLS: what they must hold, what is said when they do not, and reading them again."""

import ssl
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from pushctl.config.model import Config
from pushctl.config.schema import changed
from pushctl.errors import ConfigError
from pushctl.http.server import open_listeners
from pushctl.tls import Files, Tls, make_context, shake_hands
from tests.certificates import key_in_pem, write_certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """The folder of an authority, a server and a client."""
    return write_certificates(tmp_path / "certificates").parent


def files(folder: Path, *, certificate: str = "server.pem", key: str = "server.key", client_ca: str = "") -> Files:
    return Files("api", str(folder / certificate), str(folder / key), client_ca and str(folder / client_ca))


def mistakes(given: Files) -> list[str]:
    with pytest.raises(ConfigError) as wrong:
        make_context(given)
    return wrong.value.mistakes


def test_a_role_without_a_certificate_speaks_no_tls_and_router_and_gc_never_do() -> None:
    assert all(Tls.configured(Config(), role) is None for role in ("api", "boxoffice", "socket", "router", "gc"))


def test_it_is_tls_1_2_or_newer_and_asks_for_a_certificate_only_if_told_who_signs_it(certificates: Path) -> None:
    assert make_context(files(certificates)).minimum_version == ssl.TLSVersion.TLSv1_2
    assert make_context(files(certificates)).verify_mode == ssl.CERT_NONE
    assert make_context(files(certificates, client_ca="authority.pem")).verify_mode == ssl.CERT_REQUIRED


def test_files_that_are_not_there_are_all_named_with_their_keys(certificates: Path) -> None:
    assert mistakes(files(certificates, certificate="no.pem", key="no.key", client_ca="no-ca.pem")) == [
        f"api.tls_certificate: cannot read {certificates / 'no.pem'}: No such file or directory",
        f"api.tls_key: cannot read {certificates / 'no.key'}: No such file or directory",
        f"api.tls_client_ca: cannot read {certificates / 'no-ca.pem'}: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("server.pem", b"nonsense", "api.tls_certificate: {file} holds no certificate in PEM that TLS can use"),
        ("server.key", b"nonsense", "api.tls_key: {file} holds no private key in PEM that TLS can use"),
        ("server.key", None, "api.tls_key: {file} is not the key of the certificate in "),
        ("server.key", "locked", "api.tls_key: {file} is locked with a password: give a key without one"),
        ("authority.pem", b"nonsense", "api.tls_client_ca: {file} holds no certificate in PEM"),
    ],
)
def test_a_file_that_does_not_serve_is_named_and_nothing_asks_for_a_password(
    certificates: Path, name: str, content: bytes | str | None, expected: str
) -> None:
    file = certificates / name
    if not isinstance(content, bytes):
        other = ec.generate_private_key(ec.SECP256R1())
        content = key_in_pem(other, b"secret" if content == "locked" else None)
    file.write_bytes(content)
    (mistake,) = mistakes(files(certificates, client_ca="authority.pem"))
    assert mistake.startswith(expected.format(file=file))


def test_a_broken_new_file_leaves_the_old_context_and_a_good_one_replaces_it(
    certificates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {
        "socket.tls_certificate": str(certificates / "server.pem"),
        "socket.tls_key": str(certificates / "server.key"),
    }
    tls = Tls.configured(changed(Config(), paths), "socket")
    assert tls is not None
    first, good = tls(), (certificates / "server.pem").read_bytes()
    (certificates / "server.pem").write_bytes(b"half a fi")
    tls.reload()
    assert tls() is first
    assert "tls_not_reloaded" in (said := capsys.readouterr().err)
    assert "socket.tls_certificate" in said
    (certificates / "server.pem").write_bytes(good)
    tls.reload()
    assert tls() is not first


@pytest.mark.parametrize("peer", ["says nothing", "speaks HTTP", "sends half a hello", "leaves"])
async def test_whoever_does_not_shake_hands_is_dropped_in_time(certificates: Path, peer: str) -> None:
    context = make_context(files(certificates))
    (listener,) = await open_listeners("127.0.0.1:0")
    async with listener, await trio.open_tcp_stream(*listener.socket.getsockname()[:2]) as client:
        accepted = await listener.accept()
        if peer == "speaks HTTP":
            await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        elif peer == "sends half a hello":
            await client.send_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        elif peer == "leaves":
            await client.aclose()
        with trio.fail_after(5):
            assert await shake_hands(accepted, lambda: context, trio.current_time() + 0.2) is None
        with pytest.raises(trio.ClosedResourceError):
            await accepted.send_all(b"x")
