"""`pushctl serve all` as a person starts it, and one socket server more, a process that may be killed.

Owns: both, and what sites do by plain HTTP. Promises: gone when the tests are. Must not know: browsers.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from tests.conftest import redis_binary
from tests.faults.processes import PUSHCTL, RoleProcess, clean_environment
from tests.processes import dying_with_us, free_port

PATIENCE_SECONDS = 20
SENDERS = 8


class Service:
    def __init__(self, addresses: dict[str, Any], folder: Path) -> None:
        self.api: str = addresses["api"]
        self.inbox = f"{self.api}/inbox/"
        self._boxoffice: str = addresses["boxoffice"]
        address = f"127.0.0.1:{free_port()}"
        self.url_of = {"s1": addresses["socket"][0], "s2": f"ws://{address}/"}
        settings = {
            "redis.url": addresses["redis"],
            "identity.keys_file": str(folder / "data" / "keys.toml"),
            "identity.environment": "development",
            "identity.dev_idp.enabled": "true",
            "limits.exempt_networks": "127.0.0.0/8",
            "api.public_url": self.api,
            "socket.id": "s2",
            "socket.listen": address,
            "socket.public_url": self.url_of["s2"],
            "socket.admin_listen": "",
            "socket.drain_seconds": "2",
        }
        self.s2 = RoleProcess("s2", "socket", None, settings, clean_environment(), log=folder / "s2.log")

    async def until_first(self, server: str, token: str) -> None:
        """Until the Box Office sends whoever has this session to that server first."""
        with trio.fail_after(PATIENCE_SECONDS):
            async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {token}"}) as http:
                while True:
                    answer = await http.get(f"{self._boxoffice}/v1/servers")
                    if answer.json()["servers"][:1] == [self.url_of[server]]:
                        return
                    await trio.sleep(0.1)  # heartbeats come every 2 s, and tell nobody


async def post(url: str, body: dict[str, Any], **headers: str) -> None:
    """What a site does. AssertionError for anything but 201."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(url, json=body, headers=headers)
    assert answer.status_code == 201, answer.text


async def status_of(url: str) -> int:
    """What a site is answered that sends something."""
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.post(url, json={"body": "x"})).status_code


async def post_many(urls: Sequence[str], bodies: Sequence[dict[str, Any]]) -> None:
    """As `post`, the first body to the first URL, and so on, over a few connections."""
    async with httpx.AsyncClient(trust_env=False) as http, trio.open_nursery() as nursery:

        async def send(start: int) -> None:
            for number in range(start, len(bodies), SENDERS):
                answer = await http.post(urls[number % len(urls)], json=bodies[number])
                assert answer.status_code == 201, answer.text

        for start in range(SENDERS):
            nursery.start_soon(send, start)


@contextmanager
def served(config: str = "") -> Iterator[Service]:
    """The running service, with one socket server, s1; `s2` is not started yet. `config`: TOML."""
    with tempfile.TemporaryDirectory(prefix="pushctl-") as name:
        folder = Path(name)
        (folder / "here.toml").write_text(config)
        command = [PUSHCTL, "serve", "all", "--ports", "auto", "--sockets", "1", "--data-dir", str(folder / "data")]
        environment = clean_environment() | {"PUSHCTL_REDIS_SERVER": redis_binary()}
        with (folder / "all.log").open("wb") as log:
            process = subprocess.Popen(
                dying_with_us([*command, "--config", str(folder / "here.toml")]),
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            said = process.stdout.readline()
            assert said, (folder / "all.log").read_text()[-2000:]
            service = Service(json.loads(said), folder)
            try:
                yield service
            finally:
                service.s2.end()
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_SECONDS)
