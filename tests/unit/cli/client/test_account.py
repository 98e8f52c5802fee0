"""`pushctl client identities | link | unlink | devices | remove`: what each asks for and prints."""

import json
from typing import Any

import pytest

from tests.fake_service import FakeService
from tests.unit.cli.commands import pushctl
from tests.unit.cli.test_client import folder, service

__all__ = ["folder", "service"]

IDENTITY = {
    "id": "i1",
    "provider": "acc\x1bounts",
    "linked_at": "2026-01-01T00:00:00.000Z",
    "last_used_at": "2026-01-02T00:00:00.000Z",
    "current": True,
}
DEVICE = {
    "id": "d1",
    "name": "lap\x1btop",
    "created_at": "2026-01-01T00:00:00.000Z",
    "last_seen_at": "2026-01-02T00:00:00.000Z",
    "connected": False,
    "current": True,
}


def sent(service: FakeService, what: str) -> Any:
    """The JSON body of the one request for this, or None."""
    ((_, _, body),) = [each for each in service.requests if each[0] == what]
    return json.loads(body) if body else None


async def test_identities_and_devices_are_lists(service: FakeService) -> None:
    service.answers["GET /v1/identities"] = (200, {"identities": [IDENTITY]}, {})
    service.answers["GET /v1/devices"] = (200, {"devices": [DEVICE]}, {})
    assert (await pushctl("client", "identities", "--json")).lines == [IDENTITY]
    assert (await pushctl("client", "devices", "--json")).lines == [DEVICE]
    for command, row in (("identities", "i1  "), ("devices", "d1  ")):
        ran = await pushctl("client", command)
        assert (ran.code, ran.out.startswith(row), "\x1b" in ran.out) == (0, True, False)


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (("--assertion", "-"), {"credential": "BrowserID a~b", "provider": None}),
        (("--token-file", "-", "--provider", "accounts"), {"credential": "Bearer a~b", "provider": "accounts"}),
        (("--token-file", "-"), {"credential": "Bearer a~b", "provider": None}),
    ],
)
async def test_an_identity_is_linked_with_a_proof_from_elsewhere(
    service: FakeService, options: tuple[str, ...], body: dict[str, Any]
) -> None:
    service.answers["POST /v1/identities"] = (201, IDENTITY, {})
    ran = await pushctl("client", "link", *options, "--json", stdin=b"a~b\n")
    assert (ran.code, ran.lines) == (0, [IDENTITY])
    assert sent(service, "POST /v1/identities") == body


async def test_an_identity_of_the_development_provider_is_linked_by_its_name(service: FakeService) -> None:
    service.answers["POST /v1/identities"] = (201, IDENTITY, {})
    ran = await pushctl("client", "link", "work")
    assert (ran.code, ran.out.startswith("linked: identity i1 ("), "\x1b" in ran.out) == (0, True, False)
    assert sent(service, "POST /v1/identities")["credential"].startswith("BrowserID ")


@pytest.mark.parametrize(
    "options",
    [(), ("work", "--assertion", "x"), ("work", "--provider", "p"), ("--token-file", "x", "--assertion", "y")],
)
async def test_one_proof_is_given(service: FakeService, options: tuple[str, ...]) -> None:
    assert (await pushctl("client", "link", *options)).code == 2
    assert service.requests == []


async def test_what_cannot_be_linked_is_said(service: FakeService) -> None:
    problem = {"detail": "it has an account of its own", "code": "identity_taken"}
    service.answers["POST /v1/identities"] = (409, problem, {})
    ran = await pushctl("client", "link", "--assertion", "-", stdin=b"a~b\n")
    assert (ran.code, "it has an account of its own" in ran.err) == (1, True)


async def test_a_device_is_removed_an_identity_unlinked_and_everybody_signed_out(service: FakeService) -> None:
    asked = ("DELETE /v1/identities/i/1", "DELETE /v1/devices/d1", "DELETE /v1/login?everywhere=true")
    for what in asked:
        service.answers[what.partition("?")[0]] = (204, None, {})
    for arguments in (("unlink", "i/1"), ("remove", "d1"), ("logout", "--everywhere")):
        assert (await pushctl("client", *arguments)).code == 0
    assert tuple(each[0] for each in service.requests) == asked
