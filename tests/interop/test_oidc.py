"""Logging in by a real OpenID provider: its tokens, its keys, its pages, and its absence."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from pushctl.client.http import open_client
from pushctl.client.oidc import Invitation, ProviderLogin, Wanted
from pushctl.client.redirect import redirect
from pushctl.clock import system_clock
from pushctl.config.model import Config, Identity, Oidc, OidcProvider
from pushctl.ids import new_id
from pushctl.testing.service import Running, running
from tests.interop.openid import CLIENT, RESOURCE, OpenIdProvider, log_in_with_browser

pytestmark = [pytest.mark.slow, pytest.mark.debian]

PATIENCE_SECONDS = 60
ACCESS = ("--access-token", "--resource", RESOURCE, "--scope", "openid push")

_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+")
"""Tokens of the provider have dots; what is drawn at random here has none."""

_PAGE = re.compile(r"(http://\S+)(?: on any machine|\n)")


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenIdProvider]:
    there = OpenIdProvider()
    yield there
    there.kill()


@pytest.fixture
def own_provider() -> Iterator[OpenIdProvider]:
    """For one test alone, which may kill it."""
    there = OpenIdProvider()
    yield there
    there.kill()


def believing(config: Config, issuer: str, *, algorithm: str = "RS256") -> Config:
    accounts = OidcProvider(
        name="accounts",
        kind="id_token",
        issuer=issuer,
        discovery=True,
        audiences=(CLIENT,),
        algorithms=(algorithm,),
    )
    api = OidcProvider(
        name="api",
        kind="access_token",
        issuer=issuer,
        jwks_uri=f"{issuer}/jwks",
        audiences=(RESOURCE,),
        required_scope="push",
        client_ids=(CLIENT,),
        generation_claim="generation",
    )
    return replace(config, identity=Identity(oidc=Oidc(enabled=True, providers=(accounts, api))))


@asynccontextmanager
async def service(config: Config, issuer: str, *, algorithm: str = "RS256") -> AsyncIterator[Running]:
    own = replace(config, redis=replace(config.redis, prefix=f"t-{new_id()}"))
    believes = believing(own, issuer, algorithm=algorithm)
    async with running(believes, sockets=0, without=("router", "gc")) as there:
        yield there


async def token(issuer: str, kind: str, person: str = "alice") -> str:
    """A token of the provider, by its pages; not shown to anybody yet."""
    wanted = Wanted(issuer, CLIENT) if kind == "id_token" else Wanted(issuer, CLIENT, "openid push", RESOURCE, kind)  # type: ignore[arg-type]

    async def browse(invitation: Invitation) -> None:
        await log_in_with_browser(invitation.url, person)

    with trio.fail_after(PATIENCE_SECONDS):
        async with open_client(issuer) as http, redirect() as back:
            return await ProviderLogin(http, wanted, system_clock).by_redirect(back, browse)


async def shown(there: Running, text: str, provider: str | None) -> httpx.Response:
    """The answer to a login with this token."""
    body = {"device": {"name": "laptop"}, "provider": provider}
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.post(f"{there.api}/v1/login", json=body, headers={"Authorization": f"Bearer {text}"})


@dataclass
class Said:
    code: int
    out: dict[str, Any]
    err: str


async def client_login(there: Running, home: Path, *arguments: str, person: str = "alice", stdin: bytes = b"") -> Said:
    """`pushctl client login`, and a person who opens the page that it shows."""
    command = [sys.executable, "-m", "pushctl", "client", "login", "--json", "--api", there.api, *arguments]
    environment = {**os.environ, "PUSHCTL_CLIENT_DIR": str(home), "BROWSER": ""}
    told: list[str] = []
    out: list[str] = []
    opened = trio.Event()

    async def read(stream: trio.abc.ReceiveStream, into: list[str]) -> None:
        while chunk := await stream.receive_some():
            into.append(bytes(chunk).decode())
            page = _PAGE.search("".join(told))
            if page is not None and not opened.is_set():
                opened.set()
                nursery.start_soon(log_in_with_browser, page[1], person)

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            pipes: Any = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            run = partial(trio.run_process, command, check=False, env=environment, **pipes)
            process: trio.Process = await nursery.start(run)
            assert process.stdout is not None
            assert process.stderr is not None
            nursery.start_soon(read, process.stdout, out)
            nursery.start_soon(read, process.stderr, told)
    said = "".join(out)
    return Said(process.returncode or 0, json.loads(said) if said else {}, "".join(told))


def assert_kept_well(home: Path) -> None:
    """Profiles are their owner's alone, and hold no token of the provider, refresh or other."""
    files = list(home.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not any(_JWT.search(file.read_text(errors="replace")) for file in files)


def asking(provider: OpenIdProvider, name: str = "accounts") -> tuple[str, ...]:
    return ("--provider", name, "--issuer", provider.issuer, "--client-id", CLIENT)


async def test_a_person_logs_in_by_the_providers_page_and_again_without_saying_who_it_is(
    config: Config, provider: OpenIdProvider, tmp_path: Path
) -> None:
    async with service(config, provider.issuer) as there:
        first = await client_login(there, tmp_path, *asking(provider), "--no-browser")
        again = await client_login(there, tmp_path, "--provider", "accounts")
        other = await client_login(there, tmp_path, *asking(provider), "--profile", "bob", person="bob")

    assert first.code == again.code == other.code == 0, first.err + again.err + other.err
    assert again.out["user"] == first.out["user"] != other.out["user"]
    assert again.out["device"] == first.out["device"]  # the same device with a new session
    assert_kept_well(tmp_path)
    assert not _JWT.search(first.err)


async def test_an_access_token_and_an_id_token_of_one_person_are_one_user(
    config: Config, provider: OpenIdProvider, tmp_path: Path
) -> None:
    async with service(config, provider.issuer) as there:
        by_id = await client_login(there, tmp_path, *asking(provider), "--no-browser")
        by_access = await client_login(
            there, tmp_path, *asking(provider, "api"), *ACCESS, "--no-browser", "--profile", "other"
        )

    assert by_access.code == 0, by_access.err
    assert by_access.out["user"] == by_id.out["user"]
    assert by_access.out["device"] != by_id.out["device"]


async def test_a_machine_without_a_browser_shows_a_code(
    config: Config, provider: OpenIdProvider, tmp_path: Path
) -> None:
    async with service(config, provider.issuer) as there:
        said = await client_login(there, tmp_path, *asking(provider), "--device")

    assert said.code == 0, said.err
    assert re.search(r"enter the code [A-Z]{4}-[A-Z]{4}", said.err)


async def test_a_token_got_elsewhere_is_read_from_a_file_or_standard_input(
    config: Config, provider: OpenIdProvider, tmp_path: Path
) -> None:
    one, two = await token(provider.issuer, "id_token"), await token(provider.issuer, "id_token")
    (tmp_path / "token").write_text(one + "\n")
    home = tmp_path / "home"
    async with service(config, provider.issuer) as there:
        from_file = await client_login(there, home, "--provider", "accounts", "--token-file", str(tmp_path / "token"))
        from_stdin = await client_login(there, home, "--provider", "accounts", "--token-file", "-", stdin=two.encode())
        replayed = await client_login(there, home, "--provider", "accounts", "--token-file", "-", stdin=one.encode())

    assert (from_file.code, from_stdin.code, replayed.code) == (0, 0, 1)
    assert from_file.out["device"] == from_stdin.out["device"]
    assert "used before" in replayed.err
    assert one not in replayed.err


async def test_neither_kind_of_token_passes_for_the_other_and_each_opens_one_session(
    config: Config, provider: OpenIdProvider
) -> None:
    id_token, access_token = [await token(provider.issuer, kind) for kind in ("id_token", "access_token")]
    async with service(config, provider.issuer) as there:
        for text, wrong, right in ((id_token, "api", "accounts"), (access_token, "accounts", "api")):
            crossed = await shown(there, text, wrong)
            assert (crossed.status_code, crossed.json()["code"]) == (401, "wrong_token_type")
            assert crossed.headers["www-authenticate"] == 'Bearer error="invalid_token"'
            assert (await shown(there, text, None)).json()["field"] == "$.provider"
            taken, again = await shown(there, text, right), await shown(there, text, right)
            assert taken.status_code == 201, taken.text
            assert (again.status_code, again.json()["code"]) == (401, "replayed_assertion")
        session = {"Authorization": f"Bearer {taken.json()['token']}"}
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{there.api}/v1/devices", headers=session)).status_code == 200
            credential = {"Authorization": f"Bearer {access_token}"}
            assert (await http.get(f"{there.api}/v1/devices", headers=credential)).status_code == 401


async def test_new_keys_of_the_provider_are_found_with_the_first_token_that_needs_them(
    config: Config, own_provider: OpenIdProvider
) -> None:
    async with service(config, own_provider.issuer) as there:
        before = await token(own_provider.issuer, "id_token")
        unused = await token(own_provider.issuer, "id_token", "bob")
        assert (await shown(there, before, "accounts")).status_code == 201
        own_provider.restart()
        after = await token(own_provider.issuer, "id_token")
        assert (await shown(there, after, "accounts")).status_code == 201
        assert (await shown(there, unused, "accounts")).json()["code"] == "unknown_key"


async def test_a_sign_out_at_the_provider_ends_the_sessions_from_before(
    config: Config, own_provider: OpenIdProvider
) -> None:
    """As a changed password at Mozilla accounts: its tokens then say a larger generation."""
    async with service(config, own_provider.issuer) as there, httpx.AsyncClient(trust_env=False) as http:

        async def alive(login: httpx.Response) -> int:
            session = {"Authorization": f"Bearer {login.json()['token']}"}
            return (await http.get(f"{there.api}/v1/devices", headers=session)).status_code

        before = await shown(there, await token(own_provider.issuer, "access_token"), "api")
        assert await alive(before) == 200
        own_provider.restart(generation=2)
        after = await shown(there, await token(own_provider.issuer, "access_token"), "api")
        assert after.status_code == 201, after.text
        assert (await alive(before), await alive(after)) == (401, 200)


async def test_while_the_provider_is_away_its_last_keys_serve_and_without_any_the_service_still_starts(
    config: Config, own_provider: OpenIdProvider
) -> None:
    texts = [await token(own_provider.issuer, "access_token") for _ in range(2)]
    async with service(config, own_provider.issuer) as there:
        await shown(there, "x.y.z", "api")
        assert (await shown(there, texts[0], "api")).status_code == 201
        own_provider.kill()
        assert (await shown(there, texts[1], "api")).status_code == 201
    async with service(config, own_provider.issuer) as there:
        refused = await shown(there, texts[1], "api")
        assert (refused.status_code, refused.json()["code"]) == (503, "issuer_unavailable")
        assert int(refused.headers["retry-after"]) >= 10


async def test_id_tokens_by_es256_are_taken_where_they_are_allowed_and_only_there(config: Config) -> None:
    there = OpenIdProvider(alg="ES256")
    try:
        text = await token(there.issuer, "id_token")
        async with service(config, there.issuer) as plain:
            assert (await shown(plain, text, "accounts")).json()["code"] == "unsupported_algorithm"
        async with service(config, there.issuer, algorithm="ES256") as modern:
            assert (await shown(modern, text, "accounts")).status_code == 201
    finally:
        there.kill()


async def test_a_provider_that_calls_itself_otherwise_is_told_of_before_anybody_logs_in(
    config: Config, provider: OpenIdProvider, tmp_path: Path
) -> None:
    wrong = provider.issuer.replace("127.0.0.1", "localhost")
    async with service(config, provider.issuer) as there:
        said = await client_login(there, tmp_path, "--issuer", wrong, "--client-id", CLIENT)
        nobody = await client_login(there, tmp_path, "--provider", "accounts")
        stranger = await client_login(there, tmp_path, "--issuer", provider.issuer, "--client-id", "nobody", "--device")

    assert said.code == 1
    assert f"calls itself {provider.issuer}" in said.err
    assert nobody.code == 2
    assert "--client-id" in nobody.err
    assert stranger.code == 1
    assert "invalid_client" in stranger.err
