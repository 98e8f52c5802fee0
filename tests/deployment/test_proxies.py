"""The public roles behind Debian's nginx and HAProxy, as examples/ sets them up: one story for each."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio_websocket

from pushctl.config.model import Config
from pushctl.config.schema import changed
from pushctl.testing.service import Running, running
from tests.deployment.proxies import Proxy, haproxy, listening, nginx
from tests.scenario.people import Person, Socket, Town

pytestmark = pytest.mark.debian

FORGED = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Forwarded-Proto": "ftp"}
TEXT = {"Content-Type": "text/plain"}
BURST = 30
SENDERS, EACH = 3, 40


class Outside:
    """Somebody on the internet with an address of their own, who reaches the service through the proxy alone."""

    def __init__(self, proxy: Proxy, address: str) -> None:
        self._proxy = proxy
        self._address = address

    def client(self, *, keep_alive: bool = True) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(
            verify=self._proxy.trust,
            local_address=self._address,
            limits=httpx.Limits(max_keepalive_connections=5 if keep_alive else 0),
        )
        base_url = f"https://127.0.0.1:{self._proxy.https}"
        return httpx.AsyncClient(transport=transport, base_url=base_url, headers=TEXT, timeout=20)

    @asynccontextmanager
    async def socket(self, name: str, **forged: str) -> AsyncIterator[Socket]:
        tcp = await trio.open_tcp_stream("127.0.0.1", self._proxy.wss, local_address=self._address)
        secure = trio.SSLStream(tcp, self._proxy.trust, server_hostname="127.0.0.1", https_compatible=True)
        async with tcp, trio.open_nursery() as nursery:
            websocket = await trio_websocket.wrap_client_stream(
                nursery,
                secure,
                f"{name}.push.example",
                "/",
                subprotocols=["pushctl.v1"],
                extra_headers=[(key.encode(), value.encode()) for key, value in forged.items()],
            )
            yield Socket(websocket)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def behind(
    proxied: Callable[[Running, Path], AbstractContextManager[Proxy]], config: Config, folder: Path
) -> AsyncIterator[tuple[Town, Proxy]]:
    few = changed(
        config,
        {
            "api.trusted_proxies": ("127.0.0.1",),
            "boxoffice.trusted_proxies": ("127.0.0.1",),
            "socket.trusted_proxies": ("127.0.0.1",),
            "limits.push_per_second_per_address": 0.01,
            "limits.push_burst_per_address": BURST,
            "limits.connections_per_address": 2,
        },
    )
    async with running(few, exempt_loopback=False) as service, httpx.AsyncClient() as http:
        with proxied(service, folder) as proxy:
            await listening(proxy)
            yield Town(service, http), proxy


def path_of(url: str) -> str:
    return httpx.URL(url).raw_path.decode()


async def addresses_count(town: Town, proxy: Proxy, person: Person) -> str:
    """The client's own address is what limits count: not the proxy's, and not what the client writes. Returns the path
    of the push URL that was used."""
    path = path_of((await person.allow("https://a.example"))["url"])
    async with Outside(proxy, "127.0.0.2").client() as sender:
        said = [(await sender.post(path, content="x", headers=FORGED)).status_code for _ in range(BURST + 1)]
        assert said == [201] * BURST + [429]
    async with Outside(proxy, "127.0.0.3").client() as another:
        assert (await another.post(path, content="x", headers=FORGED)).status_code == 201
    # Past the proxy nobody is a proxy, unless they come from its address.
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.4")
    async with httpx.AsyncClient(transport=transport, base_url=town.service.api, headers=TEXT) as direct:
        said = [
            (await direct.post(path, content="x", headers={"X-Forwarded-For": f"203.0.113.{n}"})).status_code
            for n in range(BURST + 1)
        ]
        assert said[-1] == 429
    return path


async def receipts_come(town: Town, proxy: Proxy, person: Person) -> None:
    """A sender who waits is answered when it is read, through the proxy; the Box Office is reached by its path."""
    path = path_of((await person.allow("https://b.example"))["url"])
    async with Outside(proxy, "127.0.0.5").client() as sender, trio.open_nursery() as nursery:
        sent = await sender.post(path, content="wait for me", headers={"Prefer": "respond-async"})
        receipt = re.findall("</(receipt/.*?)>", sent.headers["link"])[0]

        async def read() -> None:
            await trio.sleep(0.3)
            await person.ask("POST", "/v1/messages/read", {"ids": [sent.headers["location"].rpartition("/")[2]]})

        nursery.start_soon(read)
        answer = await sender.get(f"/{receipt}", headers={"Prefer": "wait=30"})
        assert answer.json()["state"] == "read"
        servers = await sender.get("/v1/servers", headers={"Authorization": f"Bearer {person.token}"})
        assert sorted(servers.json()["servers"]) == sorted(town.service.sockets.values())
        too_large = await sender.post(path, content="x" * 5000)
        assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")


async def sockets_open(proxy: Proxy, person: Person, push: Callable[[str], Any]) -> None:
    """A WebSocket through the proxy to the server that its name says; the address behind it is what counts."""
    here = Outside(proxy, "127.0.0.6")
    async with here.socket("s2", **FORGED) as socket:
        await socket.send({"type": "hello", "token": person.token, "cursor": None})
        assert (await socket.until("welcome"))["server"] == "s2"
        await socket.synced()
        await push("through")
        assert (await socket.until("message"))["message"]["notification"]["body"] == "through"
        async with here.socket("s2", **FORGED):
            with pytest.raises(ExceptionGroup) as refused:
                async with here.socket("s2", **FORGED):
                    pass
            [rejected] = refused.value.exceptions
            assert isinstance(rejected, trio_websocket.ConnectionRejected)
            assert rejected.status_code == 503
            async with Outside(proxy, "127.0.0.7").socket("s2", **FORGED):
                pass


async def reloads_lose_nothing(proxy: Proxy, town: Town) -> None:
    """Everything sent while the proxy is reloaded is answered 201 once it is sent, and is there once."""
    reader = await town.login("reader")
    paths = [path_of((await reader.allow(f"https://{n}.example"))["url"]) for n in range(SENDERS)]
    half = [trio.Event() for _ in paths]
    reloaded = trio.Event()

    async def send(n: int) -> None:
        for count in range(EACH):
            if count == EACH // 2:
                half[n].set()
            # An address takes no more than BURST.
            async with Outside(proxy, f"127.0.{n + 1}.{1 + count // BURST}").client(keep_alive=False) as sender:
                answer = await sender.post(paths[n], content=f"{n}/{count}")
            assert answer.status_code == 201
            if count >= EACH - 5:
                await reloaded.wait()

    before = proxy.workers()
    async with trio.open_nursery() as nursery:
        for n in range(SENDERS):
            nursery.start_soon(send, n)
        for event in half:
            await event.wait()
        proxy.reload(proxy)
        with trio.fail_after(10):
            while not proxy.workers() - before:  # noqa: ASYNC110 - nobody here can be told
                await trio.sleep(0.01)
        reloaded.set()
    page = (await reader.ask("GET", "/v1/messages?limit=500")).json()
    bodies = [message["notification"]["body"] for message in page["messages"]]
    assert sorted(bodies) == sorted(f"{n}/{count}" for n in range(SENDERS) for count in range(EACH))


@pytest.mark.parametrize("proxied", [nginx, haproxy])
async def test_behind_a_proxy_addresses_count_receipts_wait_sockets_open_and_reloads_lose_nothing(
    proxied: Callable[[Running, Path], AbstractContextManager[Proxy]], config: Config, folder: Path
) -> None:
    with trio.fail_after(60):
        async with behind(proxied, replace(config), folder) as (town, proxy):
            person = await town.login("ada")
            push_url = (await person.allow())["url"]
            path = await addresses_count(town, proxy, person)
            await receipts_come(town, proxy, person)
            await sockets_open(proxy, person, lambda body: town.push(push_url, {"body": body}))
            await reloads_lose_nothing(proxy, town)
    told = proxy.log.read_text()
    assert "/push" in told or " push " in told  # it has a log,
    assert path[:20] not in told + (folder / "said").read_text()  # and no push URL stands in it
