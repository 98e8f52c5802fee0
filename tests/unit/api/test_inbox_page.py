"""The files of the inbox in a browser, and what the page is told: headers, versions, and the wheel that has them."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pushctl.config.check import check_role
from pushctl.config.model import Api, Boxoffice, Config, Identity, Oidc, OidcProvider
from pushctl.errors import ConfigError
from roles.api.inbox_page import FOLDER, InboxPage

ROOT = Path(__file__).parents[3]
FILES = sorted(file.name for file in FOLDER.iterdir() if file.suffix != ".md")
CONFIG = replace(Config(), api=Api(inbox=True), boxoffice=Boxoffice(public_url="https://office.example/"))

ACCOUNTS = OidcProvider(
    name="accounts",
    kind="id_token",
    issuer="https://accounts.example/tenant",
    discovery=True,
    audiences=("page", "app"),
    inbox_client_id="page",
    inbox_token_origin="https://tokens.example",
)
API_TOKENS = OidcProvider(
    name="api",
    kind="access_token",
    issuer="https://other.example",
    discovery=True,
    audiences=("https://push.example",),
    required_scope="push",
    inbox_client_id="page",
)


def believing(*providers: OidcProvider) -> Config:
    return replace(CONFIG, identity=Identity(oidc=Oidc(enabled=True, providers=providers)))


async def ask(
    path: str, config: Config = CONFIG, *, method: str = "GET", headers: Sequence[tuple[bytes, bytes]] = ()
) -> tuple[int, dict[str, str], bytes]:
    page = InboxPage(config, public_url="https://push.example", audience="https://push.example")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("no route here reads a body")

    await page({"type": "http", "path": path, "method": method, "headers": list(headers)}, receive, send)
    start, *bodies = sent
    fields = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], fields, b"".join(each["body"] for each in bodies)


async def policy(config: Config = CONFIG) -> dict[str, list[str]]:
    _, headers, _ = await ask("/inbox/", config)
    parts = [each.split() for each in headers["content-security-policy"].split("; ")]
    return {name: values for name, *values in parts}


@pytest.mark.parametrize("name", FILES)
async def test_each_file_is_there_with_its_type_and_asked_for_anew_each_time(name: str) -> None:
    status, headers, body = await ask(f"/inbox/{name}")
    assert (status, headers["cache-control"]) == (200, "no-cache")
    kind = {"js": "text/javascript", "css": "text/css", "html": "text/html", "svg": "image/svg+xml"}
    assert headers["content-type"].startswith(kind[name.rpartition(".")[2]])
    again = await ask(f"/inbox/{name}", headers=[(b"if-none-match", headers["etag"].encode())])
    assert (again[0], again[2], "content-length" in again[1]) == (304, b"", False)
    assert b"{version}" not in body


async def test_the_page_is_at_the_folder_and_whoever_leaves_the_slash_away_is_sent_there() -> None:
    assert (await ask("/inbox/"))[2] == (FOLDER / "index.html").read_bytes()
    status, headers, _ = await ask("/inbox")
    assert (status, headers["location"]) == (308, "/inbox/")


@pytest.mark.parametrize("path", ["/inbox/nothing.js", "/inbox/README.md", "/inbox/../app.py", "/inbox//"])
async def test_nothing_else_is_there(path: str) -> None:
    assert (await ask(path))[0] == 404


async def test_the_page_is_only_to_be_looked_at() -> None:
    status, headers, _ = await ask("/inbox/", method="POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await ask("/inbox/", method="OPTIONS"))[0] == 204


async def test_it_runs_only_its_own_scripts_and_stands_in_no_other_page() -> None:
    said = await policy()
    assert said["default-src"] == said["base-uri"] == said["form-action"] == said["frame-ancestors"] == ["'none'"]
    assert said["script-src"] == said["style-src"] == said["worker-src"] == ["'self'"]
    assert said["require-trusted-types-for"] == ["'script'"]
    _, headers, _ = await ask("/inbox/config.json")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


async def test_it_may_ask_the_box_office_and_the_providers_that_it_is_told_of_and_no_other() -> None:
    assert (await policy())["connect-src"] == ["'self'", "https://office.example", "wss:"]
    quiet = replace(API_TOKENS, inbox_client_id="")
    assert (await policy(believing(ACCOUNTS, quiet)))["connect-src"] == [
        "'self'",
        "https://accounts.example",
        "https://office.example",
        "https://tokens.example",
        "wss:",
    ]


async def test_it_is_told_where_to_log_in_and_nothing_else() -> None:
    told = json.loads((await ask("/inbox/config.json", believing(ACCOUNTS, API_TOKENS)))[2])
    common = {"client_id": "page"}
    assert told == {
        "api": "https://push.example",
        "boxoffice": "https://office.example/",
        "audience": "https://push.example",
        "dev_idp": False,
        "providers": [
            common
            | {"name": "accounts", "kind": "id_token", "issuer": ACCOUNTS.issuer, "scope": "openid"}
            | {"resource": None},
            common
            | {"name": "api", "kind": "access_token", "issuer": API_TOKENS.issuer, "scope": "openid push"}
            | {"resource": "https://push.example"},
        ],
    }


def test_a_box_office_that_no_browser_can_be_told_of_is_a_mistake() -> None:
    wrong = replace(CONFIG, boxoffice=Boxoffice(public_url="https://x; script-src *"))
    with pytest.raises(ConfigError, match=r"boxoffice\.public_url"):
        InboxPage(wrong, public_url="https://push.example", audience="https://push.example")
    missing = replace(CONFIG, boxoffice=Boxoffice())
    assert any("required by api.inbox" in each for each in check_role(missing, "api"))
    mixed = replace(
        CONFIG, api=Api(inbox=True, public_url="https://a.example"), boxoffice=Boxoffice(public_url="http://b.example")
    )
    assert any("a page from https:// asks nothing else" in each for each in check_role(mixed, "api"))


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        (replace(ACCOUNTS, inbox_client_id="stranger"), "inbox_client_id: must be one of audiences"),
        (replace(API_TOKENS, client_ids=("other",)), "inbox_client_id: must be one of client_ids"),
        (replace(ACCOUNTS, inbox_client_id=""), "inbox_token_origin: means nothing without"),
        (
            replace(ACCOUNTS, inbox_token_origin="https://a.example/token"),
            "inbox_token_origin: expected an https origin",
        ),
        (replace(ACCOUNTS, inbox_token_origin="http://a.example"), "inbox_token_origin: expected an https origin"),
    ],
)
def test_a_provider_for_the_page_is_one_whose_tokens_would_be_taken(provider: OidcProvider, says: str) -> None:
    assert any(says in each for each in check_role(believing(provider), "api"))


# --- the files -------------------------------------------------------------------------------------------------------


def test_the_service_worker_keeps_exactly_these_files() -> None:
    text = (FOLDER / "worker.js").read_text()
    kept = re.findall(r"'([^']+)'", text[text.index("FILES = [") : text.index("];")])
    assert sorted(kept) == sorted({"./", *FILES} - {"index.html", "worker.js"})


def test_the_files_load_nothing_from_elsewhere_and_have_no_script_in_the_page() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text()
        imported = re.findall(r"""(?:from|import\(?)\s*['"]([^'"]+)['"]""", text)
        assert all(each.startswith(("./", "/dev/browserid/")) for each in imported)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|localStorage", text), (
            name
        )
    page = (FOLDER / "index.html").read_text()
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="app.js">']
    assert not re.search(r"\son\w+=|\sstyle=|https?://", page)


def test_a_wheel_has_the_files(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import setuptools; setuptools.setup()", "--quiet", "build_py"]
    subprocess.run([*command, "--build-lib", str(tmp_path)], cwd=ROOT, check=True, capture_output=True, timeout=60)
    there = {file.name: file.read_bytes() for file in (tmp_path / "roles" / "api" / "inbox_files").iterdir()}
    assert there == {file.name: file.read_bytes() for file in FOLDER.iterdir()}
    assert not any(file.is_symlink() for file in tmp_path.rglob("*"))
