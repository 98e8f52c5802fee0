"""What a whole installation says while it is used, misused, broken and mended, searched for every secret it knows.

Real processes at level debug; the secrets are shown to every door, also where they do not belong, and Redis gives
answers that make our own code fail. Then logs, metrics, command lines, error answers and operators' tools are searched.
"""

import re
import subprocess
import sys
import tomllib
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import trio

from pushctl.ids import unb64url
from tests.faults.deployment import PREFIX, QUICK, Deployment, deployed
from tests.faults.processes import PUSHCTL, clean_environment
from tests.redises.process import RedisProcess
from tests.scenario.people import Person, Town, eventually, raw_socket
from tests.unit.cli.commands import run

SAID = "between the two of us, and nobody else"
PASSWORD = "a-password-of-redis-that-nobody-may-see"


class Secrets:
    """What must not be found. Of long ones a piece is enough to be found."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def keep(self, name: str, text: str) -> None:
        assert len(text) >= 16, name
        self._kept[name] = text[8:32] if len(text) > 32 else text

    def keep_key(self, name: str, secret: str) -> None:
        raw = unb64url(secret)
        for spelling, text in {
            "base64url": secret,
            "base64": b64encode(raw).decode(),
            "hex": raw.hex(),
            "repr": repr(raw)[2:-1],
        }.items():
            self.keep(f"{name} in {spelling}", text)

    def found_in(self, text: str) -> list[str]:
        return [name for name, secret in self._kept.items() if secret in text]


def keep_keys(secrets: Secrets, file: Path) -> None:
    """Every secret in the keys file, whatever tables it has."""

    def walk(name: str, value: object) -> None:
        match value:
            case dict():
                for key, inner in value.items():
                    walk(f"{name}.{key}", inner)
            case list():
                for number, inner in enumerate(value):
                    walk(f"{name}[{number}]", inner)
            case str() if name.endswith(".secret"):
                secrets.keep_key(name, value)

    walk("keys", tomllib.loads(file.read_text()))


async def use(town: Town, deployment: Deployment, secrets: Secrets, said: list[str]) -> tuple[Person, str, str]:
    """The main job, and each secret once at every door where it does not belong. (ada's phone, push URL, message)"""
    bundle = await town.bundle("ada")
    for number, part in enumerate(re.split("[~.]", bundle)):
        secrets.keep(f"part {number} of an assertion", part)
    login = {"device": {"name": "phone"}}
    answer = await town.http.post(
        f"{town.service.api}/v1/login", json=login, headers={"Authorization": f"BrowserID {bundle}"}
    )
    phone = Person(town.service, town.http, answer.json())
    laptop = await town.login("ada")
    secrets.keep("a session token", phone.token)
    secrets.keep("another session token", laptop.token)
    push_url = (await phone.allow())["url"]
    token = push_url.rpartition("/")[2]
    secrets.keep("a push URL's token", token)
    door = next(iter(deployment.device_links.values())).door
    async with raw_socket(door) as socket:
        await socket.send({"type": "hello", "token": phone.token, "cursor": None})
        await socket.synced()
        stored = await town.push(push_url, {"body": SAID}, Idempotency_Key="an-idempotency-key-of-somebody")
        secrets.keep("an idempotency key", "an-idempotency-key-of-somebody")
        message = (await socket.until("message"))["message"]["id"]
        secrets.keep("a message id", message)
        secrets.keep("what a message says", SAID)
        await town.push(push_url, {"body": SAID}, TTL="0")
        await socket.until("message")
        await socket.send({"type": "ack", "cursor": "A" * 40 + laptop.token})
    assert stored.status_code == 201

    api, office = town.service.api, town.service.boxoffice
    for secret in (phone.token, token, message, bundle):
        for base in (api, office):
            for path in (f"/{secret}", f"/v1/{secret}", f"/push/{secret}/", f"/push/{secret}x", f"/message/{secret}"):
                for headers in ({}, {"Authorization": f"Bearer {secret}"}, {"Authorization": secret}):
                    answer = await town.http.post(f"{base}{path}?token={secret}", headers=headers, content=secret)
                    said.append(answer.text.replace(path.partition("?")[0], ""))
        said.append((await town.http.post(push_url, headers={"TTL": secret}, content=SAID)).text)
        said.append((await town.http.post(push_url, headers={"Topic": secret, "Urgency": secret})).text)
        # Its own answer may name the member that is wrong to whoever sent it.
        await town.http.post(push_url, json={"title": SAID, secret: SAID})
        said.append((await phone.ask("POST", "/v1/push-urls", {"site": secret, "icon": secret})).text)
        await phone.ask("GET", f"/v1/sync?cursor={secret}")  # a snapshot, which is the phone's to see
        said.append((await phone.ask("DELETE", f"/v1/devices/{secret}")).text)
        for hello in ({"type": "hello", "token": secret + "x"}, {"type": secret}, {"type": "hello", "token": [secret]}):
            async with raw_socket(door) as socket:
                await socket.send(hello)
                await socket.close_code()  # its reason may say to whoever sent it what was wrong
    again = await town.http.post(f"{api}/v1/login", json=login, headers={"Authorization": f"BrowserID {bundle}"})
    assert again.json()["code"] == "replayed_assertion"
    said.append(again.text)
    return phone, push_url, message


async def break_and_mend(town: Town, deployment: Deployment, phone: Person, push_url: str) -> None:
    """Redis is killed under requests; answers that our own code cannot understand; a role is killed and one drained."""
    deployment.redis.kill()
    for _ in range(2):
        assert (await town.push(push_url, {"body": SAID})).status_code == 503
        assert (await phone.ask("GET", "/v1/messages")).status_code == 503
    await deployment.restart_redis()

    async def mended() -> bool:
        return (await town.push(push_url, {"body": SAID})).status_code == 201

    await eventually(mended)
    user = f"{PREFIX}:{{u:{phone.user}}}"
    # Sessions first: what is no session is what our own code does not expect.
    for key in deployment.redis.ask("KEYS", f"{PREFIX}:session:*") + deployment.redis.ask("KEYS", f"{user}:*"):
        for command in (("DEL", key), ("SET", key, "not what belongs here")):
            deployment.redis.ask(*command)
        await town.push(push_url, {"body": SAID})
        await phone.ask("GET", "/v1/sync")
    await deployment.roles["s1"].kill()
    await deployment.roles["s2"].drain()


async def operators_tools(deployment: Deployment, folder: Path, *ids: tuple[str, str]) -> list[str]:
    """What the commands of an operator print, as text and as JSON. The secrets they need come from files."""
    environment = clean_environment() | {"PUSHCTL_REDIS__URL": deployment.redis.url, "COLUMNS": "300"}
    config = ["--config", str(folder / "local.toml")]
    commands = [["stats"], ["doctor"], ["config", "show"], ["config", "check"]]
    for noun, text in ids:
        file = folder / f"{noun}.txt"
        file.write_text(text)
        commands.append(["inspect", noun, text if noun in ("user", "server") else f"@{file}"])
    said = []
    for command in commands:
        for way in ([], ["--json"]) if command[:2] != ["config", "check"] else ([],):
            done = await trio.run_process(
                [PUSHCTL, *command, *way, *config],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                env=environment,
            )
            assert done.returncode in (0, 1, 3), done.stderr.decode()
            said.append((done.stdout + done.stderr).decode())
    return said


def admins(deployment: Deployment) -> list[str]:
    """The admin listeners, as the roles' logs name them."""
    logs = "".join(process.log.read_text() for process in deployment.roles.values())
    return sorted(set(re.findall(r'"admin": "(http://[0-9.:]+)"', logs)))


async def read_everything(http: httpx.AsyncClient, deployment: Deployment) -> list[str]:
    said = []
    for admin in admins(deployment):
        said += [(await http.get(f"{admin}{path}")).text for path in ("/metrics", "/readyz", "/healthz", "/version")]
    return said


def command_lines(deployment: Deployment) -> str:
    """Of every process there is: nothing of ours hands a secret to another in its arguments."""
    everybody = Path("/proc").glob("[0-9]*/cmdline") if sys.platform == "linux" else ()
    lines = []
    for path in everybody:
        with suppress(FileNotFoundError, ProcessLookupError):  # others' processes end meanwhile
            lines.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(lines)


@pytest.mark.slow
async def test_no_secret_token_or_push_url_is_ever_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHCTL_FAULTS_LOG", "debug")
    secrets, said = Secrets(), list[str]()
    async with (
        deployed("channel", QUICK, keep=tmp_path) as deployment,
        httpx.AsyncClient(timeout=10, trust_env=False) as http,
    ):
        keep_keys(secrets, tmp_path / "keys.toml")
        town = Town(deployment.service, http)
        phone, push_url, message = await use(town, deployment, secrets, said)
        ids = (("user", phone.user), ("push-url", push_url), ("message", message), ("server", "s1"))
        said += await operators_tools(deployment, tmp_path, *ids)
        said += [*await read_everything(http, deployment), command_lines(deployment)]
        await break_and_mend(town, deployment, phone, push_url)
        await deployment.stop()
        logs = {label: process.log.read_text() for label, process in deployment.roles.items()}
    assert "Traceback" in logs["api1"], "our own code has failed, which is what was to be heard of"
    for label, text in {**logs, **{f"answer or tool {n}": text for n, text in enumerate(said)}}.items():
        assert secrets.found_in(text) == [], f"{label}: {text[:3000]}"


def test_a_redis_password_is_not_said_when_it_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = RedisProcess(folder, listen="port")
    url = f"redis://ada:{PASSWORD}@{redis.address}/0"
    monkeypatch.setenv("PUSHCTL_REDIS__URL", url)
    monkeypatch.setenv("PUSHCTL_REDIS__CONNECT_SECONDS", "0.5")
    role = [PUSHCTL, "serve", "router", "--set", "router.admin_listen=127.0.0.1:0"]
    environment = clean_environment() | {"PUSHCTL_REDIS__URL": url, "PUSHCTL_REDIS__CONNECT_SECONDS": "0.5"}
    done = subprocess.run(role, capture_output=True, text=True, check=False, env=environment)
    said = {"serve router": done.stdout + done.stderr}
    for command in ("stats", "doctor", "config show --sources"):
        ran = run(*command.split())
        said[command] = ran.out + ran.err
    redis.kill()
    assert all(said.values())
    assert not [command for command, text in said.items() if PASSWORD in text]
