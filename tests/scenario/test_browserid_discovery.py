"""Logging in at a real api with an address whose domain is asked who speaks for it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import trio

from pushctl.clock import system_clock
from pushctl.config.model import Browserid, BrowseridDiscover, Config, Identity
from pushctl.identity import discovery
from pushctl.identity.browserid_make import make_assertion, make_bundle, make_certificate, public_key_json
from pushctl.identity.keys import Keys
from pushctl.runtime import run_role
from roles import api
from tests.internet import Internet, answer, open_internet
from tests.scenario.bad_input import complaint
from tests.scenario.people import user_key

HOST = "idp.push-tests.net"


@dataclass
class Place:
    internet: Internet
    http: httpx.AsyncClient
    api: str

    async def login(self, bundle: str) -> httpx.Response:
        return await self.http.post(
            f"{self.api}/v1/login",
            json={"device": {"name": "laptop", "id": None}},
            headers={"Authorization": f"BrowserID {bundle}"},
        )

    def bundle(self, domain: str = HOST, issuer: str = HOST) -> str:
        now = system_clock()
        certificate = make_certificate(
            user_key(),
            issuer=issuer,
            email=f"ada@{domain}",
            public_key=public_key_json(user_key()),
            issued_at_ms=now - 1000,
            expires_at_ms=now + 600_000,
        )
        return make_bundle(certificate, make_assertion(user_key(), audience=self.api, expires_at_ms=now + 60_000))


@pytest.fixture
async def place(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    async with open_internet(tmp_path / "certificates") as internet:
        monkeypatch.setattr(discovery, "Fetcher", internet.fetcher)
        keys_file = tmp_path / "keys.toml"
        Keys.generate().write(keys_file)
        discover = BrowseridDiscover(ca_file=internet.ca_file)
        browserid = Browserid(enabled=True, mode="discover", discover=discover)
        role = api.build(
            replace(
                config,
                api=replace(config.api, listen="127.0.0.1:0", admin_listen=""),
                identity=Identity(keys_file=str(keys_file), browserid=browserid),
            )
        )
        async with trio.open_nursery() as nursery, httpx.AsyncClient() as http:
            stop = trio.Event()
            ready = await nursery.start(lambda task_status: run_role(role, until=stop.wait, task_status=task_status))
            assert ready.url
            yield Place(internet, http, ready.url)
            stop.set()


async def test_a_domain_that_publishes_a_key_lets_its_users_in_each_assertion_once(
    capfd: pytest.CaptureFixture[str], place: Place
) -> None:
    assert "browserid_asks_any_domain" in capfd.readouterr().err
    pages = {"authentication": "/a", "provisioning": "/p"}
    place.internet.publish(HOST, {"public-key": public_key_json(user_key()), **pages})
    bundle = place.bundle()

    first = await place.login(bundle)
    assert first.status_code == 201, first.text
    assert complaint(await place.login(bundle), 401, "replayed_assertion", "Authorization") is None
    again = await place.login(place.bundle())
    assert again.json()["user"] == first.json()["user"]
    assert len(place.internet.requests) == 1


async def test_a_domain_that_does_not_answer_is_503_and_one_without_browserid_is_401(place: Place) -> None:
    place.internet.handlers["down.push-tests.net"] = answer("", status=500)

    down = await place.login(place.bundle("down.push-tests.net", "down.push-tests.net"))
    assert complaint(down, 503, "issuer_unavailable", "Authorization") is None
    assert int(down.headers["retry-after"]) >= 10
    nothing = await place.login(place.bundle("none.push-tests.net", "none.push-tests.net"))
    assert complaint(nothing, 401, "no_browserid_support", "Authorization") is None


async def test_what_the_log_says_and_the_client_is_not_told(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.internet.addresses["inside.push-tests.net"] = ("10.0.0.1",)
    bundle = place.bundle("inside.push-tests.net", "inside.push-tests.net")

    refused = await place.login(bundle)
    logged = capfd.readouterr().err
    assert "not of the open Internet" in logged
    assert "open Internet" not in refused.text
    assert bundle not in logged


async def test_a_stranger_cannot_make_a_login_fail_on_our_side_by_a_name_or_by_what_its_server_says(
    place: Place,
) -> None:
    """Neither is signed by anybody: whoever can send a request could."""
    unreadable = await place.login(place.bundle("xn--ff.net", "xn--ff.net"))
    assert complaint(unreadable, 503, "issuer_unavailable", "Authorization") is None
    place.internet.handlers[HOST] = answer("{}", "Location: http:x", status=302)
    elsewhere = await place.login(place.bundle())
    assert complaint(elsewhere, 400, "invalid_support_document", "Authorization") is None
