"""The development identity provider over HTTP: who may reach it, and that it is nowhere when it is off."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import httpx
import pytest
import trio

from pushctl.config.model import Config, DevIdp, Identity
from pushctl.errors import ConfigError
from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.keys import Keys
from pushctl.runtime import run_role
from roles import api
from roles.api import serve
from tests.scenario.bad_input import Route, complaint, spoiled
from tests.scenario.people import Town, user_key

PATHS = (
    ("GET", "/.well-known/browserid"),
    ("POST", "/dev/browserid/certificate"),
    ("GET", "/dev/browserid/sign_in"),
    ("GET", "/dev/browserid/sign_in.mjs"),
    ("GET", "/dev/browserid/browserid.mjs"),
    ("GET", "/dev/browserid/provision"),
)
MARKED = {"X-Pushctl-Dev": "1"}


@pytest.fixture
def off(config: Config, tmp_path: Path) -> Config:
    """A production configuration on loopback."""
    keys_file = tmp_path / "keys.toml"
    Keys.generate().write(keys_file)
    return replace(
        config,
        api=replace(config.api, listen="127.0.0.1:0", admin_listen=""),
        identity=Identity(keys_file=str(keys_file)),
    )


def body(email: str = "ada@dev-idp.localhost") -> dict[str, object]:
    return {"email": email, "public_key": public_key_json(user_key()), "duration_seconds": 3600}


async def test_on_its_routes_answer_and_every_answer_says_so(office: Town) -> None:
    api_url = office.service.api
    answer = await office.http.get(f"{api_url}/.well-known/browserid")
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document.keys() == {"public-key", "authentication", "provisioning"}
    answer = await office.http.get(api_url + document["provisioning"])
    assert (answer.status_code, answer.text) == (200, "development identity provider\n")
    for path in ("/v1/devices", "/push/x", "/nowhere", "/openapi.json"):
        assert (await office.http.get(api_url + path)).headers["x-pushctl-dev-idp"] == "on"


async def test_its_sign_in_page_runs_its_own_scripts_alone(office: Town) -> None:
    page = await office.http.get(f"{office.service.api}/dev/browserid/sign_in")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'data-audience="{office.service.api}"' in page.text
    assert re.findall(r"<script[^>]*>[^<]", page.text) == [], "a script that its policy would not let run"
    assert not re.search(r"<style|\son[a-z]+=|\sstyle=", page.text)
    scripts = re.findall(r'<script type="module" src="([^"]+)">', page.text)
    assert scripts == ["/dev/browserid/sign_in.mjs"]
    for path in (*scripts, "/dev/browserid/browserid.mjs"):
        script = await office.http.get(office.service.api + path)
        assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        for each in (page, script):
            policy = dict(part.strip().split(" ", 1) for part in each.headers["content-security-policy"].split(";"))
            assert policy.pop("script-src") == policy.pop("connect-src") == "'self'"
            assert set(policy) == {"default-src", "base-uri", "form-action", "frame-ancestors"}
            assert set(policy.values()) == {"'none'"}
            assert each.headers["x-content-type-options"] == "nosniff"
            assert each.headers["cross-origin-resource-policy"] == "same-origin"
            assert each.headers["cache-control"] == "no-store"
            assert not [name for name in each.headers if name.startswith("access-control")]


async def test_to_another_host_its_routes_do_not_exist(office: Town) -> None:
    for host in ("push.example", "evil.localhost", "localhost.evil.example", "127.0.0.2", "localhost:1:2", "[::2]"):
        for method, path in PATHS:
            answer = await office.http.request(
                method,
                office.service.api + path,
                json=body() if method == "POST" else None,
                headers=MARKED | {"Host": host},
            )
            assert answer.status_code in (400, 404), (host, path)
            assert "certificate" not in answer.text
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]", "dev-idp.localhost:99"):
        answer = await office.http.get(f"{office.service.api}/.well-known/browserid", headers={"Host": host})
        assert answer.status_code == 200, host


async def test_no_page_of_another_origin_gets_a_certificate(office: Town) -> None:
    url = f"{office.service.api}/dev/browserid/certificate"
    answer = await office.http.post(url, json=body())
    assert complaint(answer, 403, "forbidden", "X-Pushctl-Dev") is None
    answer = await office.http.post(url, json=body(), headers={"X-Pushctl-Dev": "0"})
    assert complaint(answer, 403, "forbidden", "X-Pushctl-Dev") is None
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1.evil.example"):
        answer = await office.http.post(url, json=body(), headers=MARKED | {"Origin": origin})
        assert complaint(answer, 403, "forbidden", "Origin") is None
        preflight = await office.http.options(url, headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
        assert not [name for name in preflight.headers if name.startswith("access-control")]
    for origin in ("http://localhost:3000", "http://127.0.0.1:5173"):
        answer = await office.http.post(url, json=body(), headers=MARKED | {"Origin": origin})
        assert (answer.status_code, list(answer.json())) == (200, ["certificate"])


@pytest.mark.parametrize(
    "email",
    ["ada@idp.example", "ada@x@dev-idp.localhost", "ada@dev-idp.localhost\n", "@dev-idp.localhost", "ada", "a" * 300],
)
async def test_only_addresses_of_its_own_domain_are_certified(office: Town, email: str) -> None:
    url = f"{office.service.api}/dev/browserid/certificate"
    answer = await office.http.post(url, json=body(email), headers=MARKED)
    assert complaint(answer, 400, "body_invalid", "$.email") is None, answer.text


async def test_every_bad_body_is_refused_with_its_field(office: Town) -> None:
    route = Route(
        "POST",
        "/dev/browserid/certificate",
        body(),
        {
            "email": (1, None, [], "x" * 20_000),
            "public_key": (None, 1, [], "x"),
            "public_key.n": (None, 5, "", "x", "1" * 700, "4"),
            "public_key.e": (None, 65537, "3", ""),
            "duration_seconds": (None, "3600", 59, 86_401, -1, 2**70, 1.5),
        },
        text=b"ada@dev-idp.localhost",
        required=("email", "public_key", "public_key.algorithm", "public_key.n", "public_key.e"),
    )
    complaints = []
    for bad in spoiled(route):
        headers = MARKED | ({} if bad.content_type is None else {"Content-Type": bad.content_type})
        answer = await office.http.post(office.service.api + route.path, content=bad.content, headers=headers)
        wrong = complaint(answer, bad.status, bad.code, bad.field)
        if wrong is not None:
            complaints.append(f"{bad.what}: {wrong}")
    assert not complaints, "\n".join(complaints)


async def test_off_its_paths_are_404_like_any_other(off: Config) -> None:
    async with trio.open_nursery() as nursery, httpx.AsyncClient() as http:
        stop = trio.Event()
        role = api.build(off)
        ready = await nursery.start(lambda task_status: run_role(role, until=stop.wait, task_status=task_status))
        for method, path in (*PATHS, ("GET", "/nowhere")):
            answer = await http.request(method, f"{ready.url}{path}", headers=MARKED, content=b"{}")
            assert complaint(answer, 404, "not_found", None) is None
            assert "x-pushctl-dev-idp" not in answer.headers
        document = (await http.get(f"{ready.url}/openapi.json")).text
        assert "/dev/" not in document
        assert "well-known" not in document
        stop.set()


def test_off_its_code_is_not_even_imported() -> None:
    script = (
        "import sys, roles.api, roles.api.app; "
        "print([name for name in sys.modules if name.endswith(('dev_idp', 'dev_idp_routes'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


async def test_on_it_says_so_again_and_again_and_that_more_than_this_machine_may_reach_it(
    capfd: pytest.CaptureFixture[str], off: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "WARN_SECONDS", 0.05)
    dev_idp = DevIdp(enabled=True, allow_bind_any=True)
    identity = replace(off.identity, environment="development", dev_idp=dev_idp)
    role = api.build(replace(off, identity=identity))
    logged = ""
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        await nursery.start(lambda task_status: run_role(role, until=stop.wait, task_status=task_status))
        with trio.fail_after(20):
            while logged.count("dev_idp_on") < 3:
                await trio.sleep(0.05)
                logged += capfd.readouterr().err
        stop.set()
    assert logged.count("dev_idp_beyond_loopback") >= 2


@pytest.mark.parametrize(
    ("environment", "enabled", "listen", "named"),
    [
        ("production", True, "127.0.0.1:0", "identity.environment"),
        ("development", False, "127.0.0.1:0", "identity.dev_idp.enabled"),
        ("development", True, "0.0.0.0:0", "api.listen"),
        ("development", True, "push.example:80", "api.listen"),
    ],
)
def test_half_a_switch_or_a_public_listener_is_refused(
    off: Config, environment: Literal["production", "development"], enabled: bool, listen: str, named: str
) -> None:
    identity = replace(off.identity, environment=environment, dev_idp=DevIdp(enabled=enabled))
    with pytest.raises(ConfigError) as caught:
        api.build(replace(off, identity=identity, api=replace(off.api, listen=listen)))
    assert named in str(caught.value)
