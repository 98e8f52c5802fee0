"""A drill with real processes: every key is rotated while messages flow and people log in, and one api has an old keys
file until the end. No push URL is ever unknown anywhere, nobody has two inboxes, no message is lost, rpc goes on."""

import faulthandler
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.identity.keys import Keys, change
from pushctl.ids import b64url, unb64url
from pushctl.registry.key_holders import FRESH_MS
from pushctl.rotation import promoted, without
from pushctl.testing.service import Running
from tests.faults.processes import PUSHCTL, RoleProcess, clean_environment
from tests.processes import free_port
from tests.redises.process import RedisProcess
from tests.scenario.people import Person, Town

CONFIG = """
redis = {{ url = "{redis}", timeout_seconds = 10, connect_seconds = 25 }}
routing.strategy = "rpc"
api.public_url = "{api}"
identity = {{ environment = "development", dev_idp.enabled = true }}
[limits]
exempt_networks = ["127.0.0.0/8"]
push_urls_per_user = 10000
unread_per_user = 1000000
unread_per_push_url = 1000000
unread_bytes_per_user = 1000000000
unread_bytes_per_push_url = 1000000000
[log]
format = "json"
"""


@dataclass
class Drill:
    """`files`: the keys file of each role; the operator's own is that of api1, router and s1."""

    folder: Path
    roles: dict[str, RoleProcess]
    urls: dict[str, str]
    router_admin: str
    http: httpx.AsyncClient
    chance: random.Random = field(default_factory=random.Random)
    push_urls: list[str] = field(default_factory=list)
    sent: set[str] = field(default_factory=set)
    seals: dict[str, list[str]] = field(default_factory=lambda: {"api1": [], "api2": []})
    """Key ids of the push URLs that each api made, oldest first."""
    logins: int = 0
    over: bool = False

    @property
    def file(self) -> Path:
        return self.folder / "keys.toml"

    @property
    def held_back(self) -> Path:
        return self.folder / "keys-api2.toml"

    def town(self, api: str) -> Town:
        return Town(
            Running(Config(), self.urls[api], "", {"s1": self.urls["s1"]}, {}, {}),
            self.http,
            public_url=self.urls["api1"],
        )

    async def command(self, *words: str, file: Path | None = None) -> tuple[int, str, str]:
        """`pushctl keys …`, with the operator's file: (exit code, stdout, stderr)."""
        sets = ["--config", str(self.folder / "local.toml"), f"--set=identity.keys_file={file or self.file}"]
        done = await trio.run_process(
            [PUSHCTL, "keys", *words, *sets], capture_stdout=True, capture_stderr=True, check=False
        )
        return done.returncode, done.stdout.decode().strip(), done.stderr.decode()

    def hand_out(self, *labels: str) -> None:
        """Everybody reads their file again; api2's is first replaced by the operator's."""
        if "api2" in labels:
            draft = self.held_back.with_suffix(".new")
            draft.write_bytes(self.file.read_bytes())
            draft.chmod(0o600)
            draft.rename(self.held_back)
        for label in labels:
            self.roles[label].reload()

    # --- traffic -----------------------------------------------------------------------------------------------------

    async def traffic(self, ada: Person) -> None:
        """Messages to every push URL there is, through both apis; new push URLs at both; people who log in at both at
        the same moment."""
        count = 0
        while not self.over:
            count += 1
            await self.make_push_url(ada, "api1" if count % 2 else "api2", count)
            if count % 2 == 0:
                await self.log_in_twice(f"person{count}")
            for url in self.chance.sample(self.push_urls, min(6, len(self.push_urls))):
                await self.send(url)
            await trio.sleep(0.05)

    async def make_push_url(self, ada: Person, api: str, count: int) -> None:
        ada._service = self.town(api).service
        url = (await ada.allow(f"https://site{count}.example"))["url"]
        self.push_urls.append(url)
        self.seals[api].append(key_of(url))

    async def send(self, url: str) -> None:
        """At both apis: any of them must know any push URL."""
        for api in ("api1", "api2"):
            body = f"{len(self.sent)}"
            answer = await self.http.post(self.urls[api] + url[url.index("/push/") :], json={"body": body})
            assert answer.status_code == 201, (api, key_of(url), answer.text)
            self.sent.add(body)

    async def log_in_twice(self, name: str) -> None:
        """The same principal's first two log-ins, at the same moment, at two apis: one user."""
        users: list[str] = []

        async def log_in(api: str) -> None:
            users.append((await self.town(api).login(name)).user)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(log_in, "api1")
            nursery.start_soon(log_in, "api2")
        assert users[0] == users[1], name
        self.logins += 1

    async def calm(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def until(self, api: str, key_id: str, *, within: float) -> None:
        """Until the push URLs that this api makes are sealed with a key."""
        with trio.fail_after(within):
            while self.seals[api][-1:] != [key_id]:  # noqa: ASYNC110 - nobody there can tell us
                await trio.sleep(0.1)


def key_of(url: str) -> str:
    return b64url(unb64url(url.rpartition("/")[2])[:3])


def _role(drill_folder: Path, label: str, role: str, settings: dict[str, str]) -> RoleProcess:
    return RoleProcess(label, role, drill_folder / "local.toml", settings, clean_environment())


def _api(folder: Path, label: str, keys_file: Path, port: int) -> RoleProcess:
    listen = {"api.listen": f"127.0.0.1:{port}", "api.admin_listen": ""}
    return _role(folder, label, "api", listen | {"identity.keys_file": str(keys_file)})


@asynccontextmanager
async def drill(folder: Path, redis: RedisProcess) -> AsyncIterator[Drill]:
    """api1, api2 (which has a keys file of its own, the same at first), router and s1."""
    ports = {label: free_port() for label in ("api1", "api2", "s1", "router")}
    urls = {label: f"http://127.0.0.1:{port}" for label, port in ports.items()} | {
        "s1": f"ws://127.0.0.1:{ports['s1']}/"
    }
    (folder / "local.toml").write_text(CONFIG.format(redis=redis.url, api=urls["api1"]))
    keys = Keys.generate()
    keys.write(folder / "keys.toml")
    keys.write(folder / "keys-api2.toml")
    shared = {"identity.keys_file": str(folder / "keys.toml")}
    here = "127.0.0.1"
    roles = {
        "s1": _role(
            folder,
            "s1",
            "socket",
            shared
            | {
                "socket.id": "s1",
                "socket.public_url": urls["s1"],
                "socket.listen": f"{here}:{ports['s1']}",
                "socket.rpc_listen": f"{here}:0",
                "socket.admin_listen": "",
            },
        ),
        "router": _role(folder, "router", "router", shared | {"router.admin_listen": f"{here}:{ports['router']}"}),
        "api1": _role(
            folder, "api1", "api", shared | {"api.listen": f"{here}:{ports['api1']}", "api.admin_listen": ""}
        ),
        "api2": _role(
            folder,
            "api2",
            "api",
            {
                "identity.keys_file": str(folder / "keys-api2.toml"),
                "api.listen": f"{here}:{ports['api2']}",
                "api.admin_listen": "",
            },
        ),
    }
    try:
        async with trio.open_nursery() as starting:
            for process in roles.values():
                starting.start_soon(process.start)
        async with httpx.AsyncClient(timeout=30) as http:
            yield Drill(folder, roles, urls, urls["router"], http)
    finally:
        for process in roles.values():
            process.end()


async def steps(town: Drill) -> None:
    """What the operator does, and what must be so after each step. All the time messages flow (Drill.traffic)."""
    old = Keys.load(town.file).sealing_keys[0].id
    others = ("s1", "router", "api1")
    await town.until("api2", old, within=20)

    # A new sealing key, that only opens. api2 does not get it.
    code, new, _ = await town.command("rotate", "sealing")
    assert (code, len(new)) == (0, 4)
    town.hand_out(*others)
    await town.calm(3)
    code, _, said = await town.command("rotate", "sealing", "--continue")
    assert code == 3
    assert re.search(r"roles lack it: api api@\S+/\d+\. ", said), said

    # The operator does it all the same, by hand. No role seals with what api2 lacks, however long it takes.
    change(town.file, lambda keys: promoted(keys, new))
    town.hand_out(*others)
    await town.calm(FRESH_MS / 1000 + 3)
    assert set(town.seals["api1"] + town.seals["api2"]) == {old}

    # api2 gets a file in which the key only opens: that is enough for api1.
    opens = Keys.load(town.file)
    change(town.held_back, lambda _: promoted(opens, old))
    town.roles["api2"].reload()
    await town.until("api1", new, within=10)
    assert town.seals["api2"][-1] == old
    town.hand_out("api2")
    await town.until("api2", new, within=10)

    # An api that starts with the file of before does not.
    before = town.folder / "old.toml"
    without(promoted(Keys.load(town.file), old), new).write(before)
    late = _api(town.folder, "late", before, 0)
    with pytest.raises(AssertionError, match=f"lack what others use by now: {new}"):
        await late.start()
    late.end()

    # Neither key may go.
    assert "is the key in use" in (await town.command("retire", new))[2]
    code, _, said = await town.command("retire", old)
    assert (code, "hours more" in said) == (3, True), said

    # Keys of user ids and of the identity index: api2 gets them last.
    for kind in ("user_id", "identity_index"):
        code, _, _ = await town.command("rotate", kind)
        assert code == 0
        town.hand_out(*others)
        logins = town.logins
        with trio.fail_after(30):
            while town.logins < logins + 5:  # noqa: ASYNC110
                await trio.sleep(0.1)
        town.hand_out("api2")
    await town.log_in_twice("ada")

    code, status, _ = await town.command("status", "--json", "--count")
    rows = {(row["kind"], row["id"]): row for row in map(json.loads, status.splitlines())}
    assert code == 0
    assert rows["sealing", old]["push_urls"] > 0
    assert rows["sealing", new]["push_urls"] > 0
    assert len(rows["sealing", new]["sealing_roles"]) == 4
    assert all(not row["roles_without"] for row in rows.values())


@pytest.mark.slow
async def test_every_key_is_rotated_under_traffic_with_one_api_held_back(
    own_redis: RedisProcess, tmp_path: Path
) -> None:
    faulthandler.cancel_dump_traceback_later()  # it takes a minute, and bounds itself
    async with drill(tmp_path, own_redis) as town:
        ada = await town.town("api1").login("ada")
        got: set[str] = set()
        async with ada.connected("s1") as socket:
            await socket.synced()

            async def receive() -> None:
                while True:
                    frame = json.loads(await socket.websocket.get_message())
                    if frame["type"] == "message":
                        got.add(frame["message"]["notification"]["body"])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                async with trio.open_nursery() as flowing:
                    flowing.start_soon(town.traffic, ada)
                    await steps(town)
                    town.over = True
                for url in town.chance.sample(town.push_urls, min(60, len(town.push_urls))):
                    await town.send(url)
                with trio.move_on_after(10):
                    while got < town.sent:  # noqa: ASYNC110 - a frame is on its way, or lost
                        await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
        assert town.sent - got == set()
        # A call may be late on a busy machine; none was refused, and none went another way without that.
        suspected = [line for line in town.roles["router"].log.read_text().splitlines() if '"server_suspected"' in line]
        assert [line for line in suspected if "no answer within" not in line] == []
        metrics = (await town.http.get(f"{town.router_admin}/metrics")).text
        detoured = re.findall(r'^pushctl_jobs_total\{.*outcome="detoured".*\} [1-9]', metrics, re.MULTILINE)
        assert suspected or not detoured
        logs = "".join(process.log.read_text() for process in town.roles.values())
        for keys in (Keys.load(town.file), Keys.load(town.folder / "old.toml")):
            for secret in (*(key.secret for key in (*keys.sealing_keys, *keys.user_id_keys, *keys.index_keys)),):
                assert b64url(secret) not in logs
        assert not any(url.rpartition("/")[2] in logs for url in town.push_urls)
