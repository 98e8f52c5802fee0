"""The whole service under TLS: real handshakes, hostile peers, certificates of clients, new files while it runs."""

import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
import trio_websocket

from pushctl.config.model import Config
from pushctl.config.schema import changed
from pushctl.testing.service import running
from tests.certificates import write_certificates
from tests.redises.waiting import until
from tests.scenario.people import Socket, Town
from tests.scenario.test_processes import PUSHCTL

HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

NOISE = b"\xff" * 5 + os.urandom(2995)
"""Its first five bytes are no head of a record, as one in some two hundred would be by chance: the rest of that record
would be waited for."""


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    return write_certificates(tmp_path / "certificates").parent


def with_tls(config: Config, folder: Path, **more: Any) -> Config:
    """api, boxoffice and socket with one certificate."""
    changes: dict[str, Any] = {}
    for role in ("api", "boxoffice", "socket"):
        changes[f"{role}.tls_certificate"] = str(folder / "server.pem")
        changes[f"{role}.tls_key"] = str(folder / "server.key")
    return changed(config, changes | {name.replace("__", "."): value for name, value in more.items()})


def trusting(folder: Path, *, as_client: bool = False) -> ssl.SSLContext:
    """A client's context that knows the authority of these certificates and no other."""
    context = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    if as_client:
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
    return context


@asynccontextmanager
async def town_with(config: Config, context: ssl.SSLContext) -> AsyncIterator[Town]:
    async with running(config) as service, httpx.AsyncClient(verify=context) as http:
        yield Town(service, http)


@asynccontextmanager
async def secure_socket(url: str, context: ssl.SSLContext) -> AsyncIterator[Socket]:
    parts = urlsplit(url)
    assert parts.scheme == "wss"
    stream = await trio.open_ssl_over_tcp_stream(str(parts.hostname), parts.port or 0, ssl_context=context)
    async with trio.open_nursery() as nursery:
        websocket = await trio_websocket.wrap_client_stream(
            nursery, stream, parts.netloc, parts.path, subprotocols=["pushctl.v1"]
        )
        yield Socket(websocket)
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)


async def greeted(town: Town, context: ssl.SSLContext, stack: AsyncExitStack, token: str) -> Socket:
    socket = await stack.enter_async_context(secure_socket(town.service.sockets["s1"], context))
    await socket.send({"type": "hello", "token": token, "cursor": None})
    await socket.synced()
    return socket


async def test_the_main_job_under_tls_with_every_url_saying_so(config: Config, certificates: Path) -> None:
    context = trusting(certificates)
    async with town_with(with_tls(config, certificates), context) as town, AsyncExitStack() as stack:
        assert town.service.api.startswith("https://")
        phone = await town.login("ada")
        push_url = await phone.allow()
        assert push_url["url"].startswith(town.service.api)
        headers = {"Authorization": f"Bearer {phone.token}"}
        answer = await town.http.get(f"{town.service.boxoffice}/v1/servers", headers=headers)
        assert sorted(answer.json()["servers"]) == sorted(town.service.sockets.values())
        socket = await greeted(town, context, stack, phone.token)
        await town.push(push_url["url"], {"body": "secret" * 500})
        event = await socket.until("message")
        assert event["message"]["notification"]["body"] == "secret" * 500


async def test_the_protocol_of_the_listener_is_http_1_1(config: Config, certificates: Path) -> None:
    context = trusting(certificates)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with town_with(with_tls(config, certificates), trusting(certificates)) as town:
        for url in (town.service.api, town.service.boxoffice, town.service.sockets["s1"]):
            parts = urlsplit(url)
            stream = await trio.open_ssl_over_tcp_stream(str(parts.hostname), parts.port or 0, ssl_context=context)
            await stream.do_handshake()
            assert stream.selected_alpn_protocol() == "http/1.1"
            await trio.aclose_forcefully(stream)


async def test_only_clients_with_a_certificate_of_the_named_authority_get_in(
    config: Config, certificates: Path, tmp_path: Path
) -> None:
    theirs = str(certificates / "authority.pem")
    strict = with_tls(config, certificates, socket__tls_client_ca=theirs, api__tls_client_ca=theirs)
    known = trusting(certificates, as_client=True)
    strange = trusting(certificates)
    stranger = write_certificates(tmp_path / "stranger").parent
    strange.load_cert_chain(stranger / "client.pem", stranger / "client.key")
    async with town_with(strict, known) as town, AsyncExitStack() as stack:
        phone = await town.login("ada")
        await greeted(town, known, stack, phone.token)
        for refused in (trusting(certificates), strange):
            for url in (town.service.api, town.service.sockets["s1"]):
                with trio.fail_after(5):
                    assert not await is_answered(url, refused)


async def is_answered(url: str, context: ssl.SSLContext) -> bool:
    """Whether a request gets an answer: with TLS 1.3 a client learns only then that its certificate was refused."""
    parts = urlsplit(url)
    async with await trio.open_tcp_stream(str(parts.hostname), parts.port or 0) as plain:
        stream = trio.SSLStream(plain, context, server_hostname=parts.hostname, https_compatible=True)
        try:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return bool(await stream.receive_some())
        except trio.BrokenResourceError:
            return False


async def test_peers_that_speak_no_tls_harm_nobody(
    config: Config, certificates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = trusting(certificates)
    async with town_with(with_tls(config, certificates), context) as town, AsyncExitStack() as stack:
        for url in (town.service.api, town.service.boxoffice, town.service.sockets["s1"]):
            for said in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", NOISE, b"\x16\x03\x01" + b"\xff" * 200):
                parts = urlsplit(url)
                async with await trio.open_tcp_stream(str(parts.hostname), parts.port or 0) as stream:
                    await stream.send_all(said)
                    with trio.fail_after(5):
                        try:
                            while await stream.receive_some():
                                pass
                        except trio.BrokenResourceError:
                            pass
        phone = await town.login("ada")
        await greeted(town, context, stack, phone.token)
    assert "crashed" not in capsys.readouterr().err


async def test_two_hundred_slow_handshakes_keep_no_honest_client_out_and_end_in_time(
    config: Config, certificates: Path
) -> None:
    context = trusting(certificates)
    quick = with_tls(config, certificates, socket__handshake_seconds=3.0, http__header_seconds=3.0)
    async with town_with(quick, context) as town, AsyncExitStack() as stack:
        phone = await town.login("ada")
        slow = []
        for url in (town.service.sockets["s1"], town.service.api):
            parts = urlsplit(url)
            for _ in range(200):
                stream = await trio.open_tcp_stream(str(parts.hostname), parts.port or 0)
                slow.append(await stack.enter_async_context(stream))
                await stream.send_all(HALF_A_HELLO)
        await greeted(town, context, stack, phone.token)
        assert (await phone.ask("GET", "/v1/devices")).status_code == 200
        with trio.move_on_after(0.05) as silence:
            await slow[-1].receive_some()
        assert silence.cancelled_caught, "they are still at it"
        with trio.fail_after(15):
            for stream in slow:
                try:
                    while await stream.receive_some():
                        pass
                except trio.BrokenResourceError:
                    pass


# --- as a process ----------------------------------------------------------------------------------------------------


@contextmanager
def all_under_tls(folder: Path, certificates: Path) -> Iterator[tuple["subprocess.Popen[str]", dict[str, Any], Path]]:
    """`pushctl serve all`: the process, what it printed, its log."""
    sets = []
    for role in ("api", "boxoffice", "socket"):
        sets += [f"--set={role}.tls_certificate={certificates / 'server.pem'}"]
        sets += [f"--set={role}.tls_key={certificates / 'server.key'}"]
    command = [PUSHCTL, "serve", "all", "--ports", "auto", "--data-dir", str(folder / "data"), *sets]
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    try:
        assert "ready role=all" in process.stdout.readline(), log.read_text()
        yield process, json.loads(process.stdout.readline()), log
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def served_to(url: str, authority: Path) -> bool:
    """Whether a new handshake shows a certificate of this authority."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            socket.create_connection((str(parts.hostname), parts.port or 0), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_new_files_serve_new_handshakes_after_sighup_and_old_connections_go_on(folder: Path) -> None:
    certificates = folder / "certificates"
    first = write_certificates(certificates).rename(folder / "first.pem")
    with all_under_tls(folder, certificates) as (process, ready, log):
        urls = [ready["api"], ready["boxoffice"], *ready["socket"]]
        assert all(url.startswith(("https://", "wss://")) for url in urls)
        assert all(served_to(url, first) for url in urls)
        kept = httpx.Limits(keepalive_expiry=None)  # however long the new files take
        context = ssl.create_default_context(cafile=str(first))
        with httpx.Client(verify=context, base_url=ready["api"], limits=kept) as old:
            assert old.get("/openapi.json").status_code == 200
            second = write_certificates(certificates)
            process.send_signal(signal.SIGHUP)
            until(
                lambda: all(served_to(url, second) and not served_to(url, first) for url in urls), "the new files serve"
            )
            assert old.get("/openapi.json").status_code == 200, "this connection stands"
            (certificates / "server.key").write_text("half a fi")
            process.send_signal(signal.SIGHUP)
            until(lambda: log.read_text().count("tls_not_reloaded") == 4, "the broken file is told of")
            assert all(served_to(url, second) for url in urls)
        assert_our_clients_trust(second, ready, folder)


def assert_our_clients_trust(authority: Path, ready: dict[str, Any], folder: Path) -> None:
    """With SSL_CERT_FILE, and not without."""
    environment = {**os.environ, "PUSHCTL_CLIENT_DIR": str(folder / "client"), "XDG_DATA_HOME": str(folder / "client")}

    def run(*arguments: str, trusting: bool = True) -> subprocess.CompletedProcess[str]:
        more = {"SSL_CERT_FILE": str(authority)} if trusting else {}
        command = [PUSHCTL, *arguments]
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, timeout=60, check=False)

    login = ("client", "login", "ada", "--api", ready["api"], "--boxoffice", ready["boxoffice"])
    assert run(*login, trusting=False).returncode == 5
    done = run(*login)
    assert done.returncode == 0, done.stderr
    url = json.loads(run("client", "allow", "https://news.example", "--json").stdout)["url"]
    assert run("send", url, "Hello").returncode == 0
    heard = run("client", "listen", "--count", "1", "--for", "20s", "--json")
    assert "Hello" in heard.stdout, heard.stderr
