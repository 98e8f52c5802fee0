"""The whole road of an encrypted, signed message on the command line: no browser, no other program."""

import json
from pathlib import Path

import pytest

from tests.scenario.people import Town
from tests.unit.cli.commands import pushctl


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHCTL_CLIENT_DIR", str(tmp_path / "profiles"))
    monkeypatch.delenv("PUSHCTL_PUSH_URL", raising=False)


async def test_from_a_key_to_a_message_that_only_one_device_reads(office: Town, tmp_path: Path) -> None:
    pem, other_pem, subscription = tmp_path / "site.pem", tmp_path / "other.pem", tmp_path / "subscription.json"
    made = await pushctl("keys", "vapid", str(pem))
    assert made.code == 0
    assert pem.stat().st_mode & 0o777 == 0o600
    assert (await pushctl("keys", "vapid", str(pem))).code == 1, "never overwritten"
    await pushctl("keys", "vapid", str(other_pem))
    key = made.out.strip()

    login = ["client", "login", "ada", "--api", office.service.api, "--boxoffice", office.service.boxoffice]
    assert (await pushctl(*login)).code == 0
    allowed = await pushctl("client", "allow", "news.example", "--web-push", "--vapid-key", key)
    assert allowed.code == 0
    assert json.loads(allowed.out).keys() == {"endpoint", "keys", "expirationTime"}
    subscription.write_text(allowed.out)

    send = ["send", "--encrypt", str(subscription)]
    for ran, status in (
        (await pushctl(*send, "unsigned"), 401),
        (await pushctl(*send, "by another", "--vapid", str(other_pem)), 403),
    ):
        assert ran.code == 1
        assert str(status) in ran.err
    signed = ["--vapid", str(pem), "--contact", "mailto:ops@news.example"]
    for words in (["Hello"], ["Goal!", "--title", "2:1", "--ttl", "1h"]):
        sent = await pushctl(*send, *words, *signed, "--json")
        assert sent.code == 0, sent.err
    shown = (await pushctl("client", "messages", "--json")).lines
    assert [(line["title"], line["body"], line["encoding"], line["data"]) for line in shown] == [
        (None, "Hello", "aes128gcm", None),
        ("2:1", "Goal!", "aes128gcm", None),
    ]
    people = (await pushctl("client", "messages")).out
    assert "Hello" in people
    assert "2:1" in people

    assert (await pushctl(*login, "--profile", "phone")).code == 0
    elsewhere = (await pushctl("client", "messages", "--profile", "phone", "--json")).lines
    assert [(line["body"], line["encoding"]) for line in elsewhere] == [(None, "aes128gcm")] * 2
    assert elsewhere[0]["data"]


async def test_what_is_no_subscription_or_too_long_is_said_and_not_sent(office: Town, tmp_path: Path) -> None:
    nothing, spoiled = tmp_path / "none.json", tmp_path / "spoiled.json"
    spoiled.write_text('{"endpoint": "https://push.example/push/s3cret", "keys": {"p256dh": "x", "auth": "y"}}')
    for file in (nothing, spoiled):
        ran = await pushctl("send", "--encrypt", str(file), "Hello")
        assert ran.code == 2
        assert str(file) in ran.err
        assert "s3cret" not in ran.err
    assert (await pushctl("send", f"{office.service.api}/push/x", "Hello", "--contact", "mailto:a@b.example")).code == 2
    assert (await pushctl("send", f"{office.service.api}/push/x", "Hello", "--vapid", str(nothing))).code == 2
    await pushctl("client", "login", "ada", "--api", office.service.api, "--boxoffice", office.service.boxoffice)
    allowed = await pushctl("client", "allow", "news.example", "--web-push")
    spoiled.write_text(allowed.out)
    ran = await pushctl("send", "--encrypt", str(spoiled), "x" * 3994)
    assert ran.code == 1
    assert "3993" in ran.err
