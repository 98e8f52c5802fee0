"""pywebpush (PyPI) and web-push (npm) send to push URLs of ours, and a device of ours decrypts what arrives."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from pushctl.client.events import MessageEvent
from pushctl.client.phone import Phone
from pushctl.client.store import Store
from pushctl.config.model import Config
from pushctl.testing.service import Running, running
from pushctl.webpush.signing import VapidKey
from tests.certificates import write_certificates
from tests.interop.npm import installed
from tests.interop.senders import NPM, Sender, javascript, python
from tests.scenario.test_tls import trusting, with_tls

SITE = "https://news.example"
TEXT = "Grüße — ☃"
KEY, OTHER = VapidKey.generate(), VapidKey.generate()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return write_certificates(tmp_path / "certificates")


@pytest.fixture
async def service(config: Config, authority: Path) -> AsyncIterator[Running]:
    """Under TLS: web-push sends to nothing else."""
    with_certificate = with_tls(config, authority.parent)
    async with running(with_certificate, sockets=0, without=("router", "gc")) as service:
        yield service


@pytest.fixture
async def phone(service: Running, authority: Path, tmp_path: Path) -> AsyncIterator[Phone]:
    """A device, logged in."""
    async with httpx.AsyncClient(verify=trusting(authority.parent)) as client:
        with Store(tmp_path / "phone.sqlite3") as store:
            phone = Phone(store, client, api_url=service.api, boxoffice_url=service.boxoffice)
            await phone.login("ada", "laptop")
            yield phone


@pytest.fixture(
    params=[pytest.param(python, id="pywebpush"), pytest.param(javascript, id="web-push", marks=pytest.mark.slow)]
)
def sender(request: pytest.FixtureRequest) -> Sender:
    if request.param is javascript:
        installed(NPM)
    chosen: Sender = request.param
    return chosen


async def arrived(phone: Phone) -> list[MessageEvent]:
    return [event for event in await phone.sync() if isinstance(event, MessageEvent)]


@pytest.mark.parametrize("encoding", ["aes128gcm", "aesgcm"])
@pytest.mark.parametrize("key", [pytest.param(None, id="unsigned"), pytest.param(KEY, id="signed")])
async def test_what_others_encrypt_a_device_of_ours_reads(
    phone: Phone, sender: Sender, authority: Path, encoding: str, key: VapidKey | None
) -> None:
    subscription = await phone.subscribe(SITE, None)
    answer = await sender(subscription, TEXT, encoding=encoding, key=key, authority=authority)
    assert (answer.status, answer.headers["ttl"]) == (201, "60"), answer.body
    [event] = await arrived(phone)
    assert (event.body, event.title, event.encoding, event.data) == (TEXT, None, encoding, None)
    assert answer.headers["location"] == f"/message/{event.id}"


async def test_an_empty_push_arrives_empty(phone: Phone, sender: Sender, authority: Path) -> None:
    subscription = await phone.subscribe(SITE, None)
    answer = await sender(subscription, None, encoding="aes128gcm", key=None, authority=authority)
    assert answer.status == 201, answer.body
    [event] = await arrived(phone)
    assert (event.body, event.title, event.encoding, event.data) == (None, None, None, None)


@pytest.mark.parametrize("encoding", ["aes128gcm", "aesgcm"])
async def test_a_bound_push_url_takes_its_own_key_alone(
    phone: Phone, sender: Sender, authority: Path, encoding: str
) -> None:
    subscription = await phone.subscribe(SITE, None, vapid_key=KEY.public)
    for key, status, code in ((None, 401, "vapid_missing"), (OTHER, 403, "vapid_forbidden"), (KEY, 201, None)):
        answer = await sender(subscription, TEXT, encoding=encoding, key=key, authority=authority)
        assert answer.status == status, answer.body
        if code is not None:
            said = json.loads(answer.body)
            assert (said["code"], said["errno"], said["claim"], said["expected"]) == (code, 109, "k", KEY.public)
    assert len(await arrived(phone)) == 1


async def test_a_revoked_push_url_is_gone(phone: Phone, sender: Sender, authority: Path) -> None:
    subscription = await phone.subscribe(SITE, None)
    await phone.revoke(SITE)
    answer = await sender(subscription, TEXT, encoding="aes128gcm", key=None, authority=authority)
    assert (answer.status, json.loads(answer.body)["errno"]) == (410, 106)


async def test_another_device_of_the_user_has_no_keys_and_says_so(
    phone: Phone, service: Running, authority: Path, tmp_path: Path
) -> None:
    subscription = await phone.subscribe(SITE, None)
    await python(subscription, TEXT, encoding="aes128gcm", key=None, authority=authority)
    async with httpx.AsyncClient(verify=trusting(authority.parent)) as client:
        with Store(tmp_path / "other.sqlite3") as store:
            other = Phone(store, client, api_url=service.api, boxoffice_url=service.boxoffice)
            await other.login("ada", "phone")
            [event] = await arrived(other)
    assert (event.body, event.encoding) == (None, "aes128gcm")
    assert event.data
