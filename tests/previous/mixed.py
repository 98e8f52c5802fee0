"""A rolling upgrade, stopped half-way: roles of two releases in one installation, and everything still arrives.

Promises: every job and hint crosses from one release to the other, whichever strategy. Must not know: which releases.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import trio

from pushctl.config.model import Config
from pushctl.identity.keys import Keys
from pushctl.testing.service import Running
from tests.faults.processes import RoleProcess, clean_environment
from tests.processes import free_port
from tests.redises.process import RedisProcess
from tests.scenario.people import Person, Socket, Town, eventually

STRATEGIES: Final = ("rpc", "channel", "broadcast")

READERS: Final = ("router", "boxoffice", "s1")
"""What reads first: jobs, rows, hints. The others (api, gc, s2) are of the other release; s2 writes jobs, too."""


async def live_mixed(folder: Path, readers: Path, writers: Path) -> None:
    """`readers`, `writers`: a checkout each."""
    await trio.Path(folder).mkdir()
    for strategy in STRATEGIES:
        with trio.fail_after(120):
            async with _installation(folder / strategy, strategy, readers, writers) as town:
                await _both_devices(town)


@asynccontextmanager
async def _installation(folder: Path, strategy: str, readers: Path, writers: Path) -> AsyncIterator[Town]:
    await trio.Path(folder).mkdir()
    Keys.generate().write(folder / "keys.toml")
    redis = RedisProcess(folder / "redis")
    ports = {label: free_port() for label in ("api", "boxoffice", "s1", "s2")}
    config = folder / "local.toml"
    config.write_text(
        f"""
        redis.url = "unix://{redis.path}"
        routing.strategy = "{strategy}"
        api = {{ listen = "127.0.0.1:{ports["api"]}", public_url = "http://127.0.0.1:{ports["api"]}" }}
        [boxoffice]
        listen = "127.0.0.1:{ports["boxoffice"]}"
        public_url = "http://127.0.0.1:{ports["boxoffice"]}"
        [identity]
        environment = "development"
        keys_file = "{folder / "keys.toml"}"
        dev_idp.enabled = true
        """
    )
    roles = []
    try:
        for label in ("api", "boxoffice", "router", "gc", "s1", "s2"):
            role = "socket" if label in ("s1", "s2") else label
            settings = {f"{role}.admin_listen": "127.0.0.1:0"}
            if role == "socket":
                internal = f"127.0.0.1:{free_port()}"
                settings |= {
                    "socket.id": label,
                    "socket.listen": f"127.0.0.1:{ports[label]}",
                    "socket.public_url": f"ws://127.0.0.1:{ports[label]}/",
                    "socket.rpc_listen": internal,
                    "socket.rpc_url": f"http://{internal}",
                }
            tree = readers if label in READERS else writers
            environment = clean_environment() | {"PYTHONPATH": str(tree)}
            roles.append(RoleProcess(label, role, config, settings, environment))
        async with trio.open_nursery() as starting:
            for process in roles:
                starting.start_soon(process.start)
        urls = {name: f"http://127.0.0.1:{ports[name]}" for name in ("api", "boxoffice")}
        sockets = {label: f"ws://127.0.0.1:{ports[label]}/" for label in ("s1", "s2")}
        async with httpx.AsyncClient() as http:
            yield Town(Running(Config(), urls["api"], urls["boxoffice"], sockets, {}, {}), http)
        for process in roles:
            await process.drain()
        problems = [text for process in roles for text in (*process.surprises, *process.errors())]
        assert not problems, problems
    finally:
        for process in roles:
            process.end()
        redis.kill()


async def _both_devices(town: Town) -> None:
    laptop, phone = await town.login("ada"), await town.login("ada")
    push_url = await laptop.allow()

    async def named() -> bool:
        headers = {"Authorization": f"Bearer {phone.token}"}
        answer = await town.http.get(f"{town.service.boxoffice}/v1/servers", headers=headers)
        return set(answer.json().get("servers", ())) == set(town.service.sockets.values())

    await eventually(named)
    async with laptop.connected("s1") as on_s1, phone.connected("s2") as on_s2:
        for socket in (on_s1, on_s2):
            await socket.synced()
        for ttl in ("60", "0"):
            assert (await town.push(push_url["url"], {"body": ttl}, TTL=ttl)).status_code == 201
            shown = [await socket.until("message") for socket in (on_s1, on_s2)]
            assert [each["message"]["notification"]["body"] for each in shown] == [ttl, ttl], shown
            if ttl != "0":
                await _read_on(on_s2, on_s1, shown[1]["message"]["id"])
                kept = shown
        await _allow_and_revoke(laptop, on_s1, on_s2)
    # Two connections of one device: the older closes, on another server of another release.
    async with laptop.connected("s1", cursor=kept[0]["cursor"]) as older:
        await older.synced()
        async with laptop.connected("s2", cursor=kept[0]["cursor"]) as newer:
            await newer.synced()
            assert await older.close_code() == 4503
            answer = await laptop.ask("DELETE", "/v1/login")
            assert answer.status_code == 204, answer.text
            assert await newer.close_code() == 4504


async def _read_on(one: Socket, other: Socket, message: str) -> None:
    await one.send({"type": "read", "ids": [message]})
    assert (await other.until("read"))["ids"] == [message]


async def _allow_and_revoke(person: Person, *sockets: Socket) -> None:
    made = await person.allow("https://other.example")
    for socket in sockets:
        assert (await socket.until("push_url"))["push_url"]["id"] == made["id"]
    assert (await person.ask("DELETE", f"/v1/push-urls/{made['id']}")).status_code == 204
    for socket in sockets:
        assert (await socket.until("revoked"))["id"] == made["id"]
