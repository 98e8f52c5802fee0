"""What a release leaves behind, and what must be true of it under the next one.

Owns: the recorded story: two devices of one user, three sites, a deleted account, a browser, a broadcast. `record`
lives it, `relive` goes on from there. Promises: each kind of thing that lives longer than a process is in it.
Must not know: which releases.
"""

import json
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import trio

from pushctl.clock import parse_rfc3339
from tests.previous.era import Addresses, Era
from tests.scenario.mozilla_peer import Browser

Story = dict[str, Any]

ICON: Final = "data:image/png;base64,iVBORw0KGgo="
NEWS: Final[tuple[dict[str, str], ...]] = (
    {"title": "before", "body": "both devices have it"},
    {"title": "read", "body": "the phone read it, the laptop does not know"},
    {
        "title": "all of it",
        "body": "Grüße",
        "icon": "https://news.example/i.png",
        "url": "https://news.example/",
        "tag": "t",
    },
    {"title": "replaced", "body": "1:0"},
    {"title": "replacing", "body": "2:0"},
    {"title": "cancelled"},
    {"title": "low", "body": "urgency"},
)
HEADERS: Final[Mapping[str, dict[str, str]]] = {
    "replaced": {"Topic": "score"},
    "replacing": {"Topic": "score"},
    "low": {"Urgency": "low", "TTL": "86400"},
    "all of it": {"Idempotency-Key": "once"},
    "read": {"Prefer": "respond-async"},
}
LEFT: Final = ["before", "all of it", "replacing", "low", "sealed", "of a site that went"]
"""Unread in the end, in order. The phone alone can read what is sealed."""


# --- recording -------------------------------------------------------------------------------------------------------


async def record(era: Era, folder: Path) -> Story:
    """Live it with a service in `folder`/service and profiles in `folder`/profiles: data, keys and profiles stay."""
    story: Story = {"messages": {}}
    with trio.fail_after(180):
        async with era.service(folder / "service") as at, httpx.AsyncClient() as http:
            log_in = ("client", "login", "alice", "--api", at.api, "--boxoffice", at.boxoffice)
            await era.run(*log_in, "--profile", "laptop")
            await era.run(*log_in, "--profile", "phone")
            await era.run("client", "link", "alice-at-work", "--profile", "laptop")
            news = (await era.lines("client", "allow", "news.example", "--icon", ICON, "--profile", "laptop"))[0]["url"]
            gone = (await era.lines("client", "allow", "gone.example", "--profile", "laptop"))[0]["url"]
            sealed = await era.run("client", "allow", "sealed.example", "--web-push", "--profile", "phone")
            (folder / "subscription.json").write_text(sealed)
            await _push(http, news, NEWS[0], story)
            for device in ("laptop", "phone"):
                await era.run("client", "sync", "--profile", device)
            for message in NEWS[1:]:
                await _push(http, news, message, story)
            await era.run("send", "--encrypt", str(folder / "subscription.json"), "sealed")
            await http.delete(story["messages"]["cancelled"]["location"])
            await _push(http, gone, {"title": "of a site that went"}, story)
            for event in await era.lines("client", "sync", "--profile", "phone"):
                if event.get("title") == "read":
                    await era.run("client", "read", event["id"], "--profile", "phone")
            await era.run("client", "revoke", "gone.example", "--profile", "phone")
            story |= {"news": news, "gone": gone, "deleted": await _delete_somebody(era, at, http)}
            story["browser"] = await _browse(at, http)
            await era.run("broadcast", "news/edition", "7", "--set", f"redis.url={at.redis}")
            story["recorded_at"] = (await era.lines("stats", "--set", f"redis.url={at.redis}"))[0]["at"]
    _tidy(folder)
    return story


async def _push(http: httpx.AsyncClient, push_url: str, message: Mapping[str, str], story: Story) -> None:
    answer = await http.post(push_url, json=message, headers=HEADERS.get(message["title"], {}))
    assert answer.status_code in (201, 202), answer.text
    receipt = answer.links.get("urn:ietf:params:push:receipt", {}).get("url", "")
    location = str(answer.url.join(answer.headers["location"]))
    story["messages"][message["title"]] = {"location": location, "receipt": receipt and str(answer.url.join(receipt))}


async def _delete_somebody(era: Era, at: Addresses, http: httpx.AsyncClient) -> str:
    """The push URL of an account that is no more."""
    await era.run("client", "login", "bob", "--api", at.api, "--boxoffice", at.boxoffice, "--profile", "bob")
    push_url = (await era.lines("client", "allow", "news.example", "--profile", "bob"))[0]["url"]
    profile = era.profiles / "bob.sqlite3"
    with sqlite3.connect(profile) as database:
        (token,) = database.execute("SELECT token FROM session").fetchone()
    database.close()
    answer = await http.delete(at.api + "/v1/account", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 204, answer.text
    profile.unlink()
    return str(push_url)


async def _browse(at: Addresses, http: httpx.AsyncClient) -> Story:
    """A browser that leaves with a message unacknowledged, and one channel given back."""
    browser = Browser(at.socket[0])
    async with browser.connected() as talk:
        endpoint, given_back = await browser.subscribe(talk), await browser.subscribe(talk)
        channel, other = browser.endpoints
        await talk.unregister(other)
        assert (await http.post(endpoint, headers={"TTL": "86400"})).status_code == 201
        version = (await talk.notification())["version"]
    return {
        "uaid": browser.uaid,
        "channel": channel,
        "endpoint": endpoint,
        "given_back": given_back,
        "version": version,
    }


def _tidy(folder: Path) -> None:
    """Only what a release must be able to read."""
    for name in ("lock", "redis.log", "redis.sock"):
        (folder / "service" / name).unlink(missing_ok=True)
    (folder / "service.log").unlink()


# --- reliving --------------------------------------------------------------------------------------------------------


def ago(story: Story, now_ms: int) -> int:
    """So many seconds ago is the moment just after the story."""
    return (now_ms - parse_rfc3339(story["recorded_at"])) // 1000


async def relive(era: Era, folder: Path) -> None:
    """Go on with what `folder` holds (it is changed), and look at everything in it."""
    story: Story = json.loads((folder / "story.json").read_text())
    with trio.fail_after(120):
        async with era.service(folder / "service") as at, httpx.AsyncClient() as http:
            await _what_sites_hold(http, at, story)
            await _what_devices_missed(era, at)
            await _what_browsers_hold(http, at, story["browser"])
            await _what_comes_next(era, http, at, story, folder)
            await _what_operators_see(era, at)


def _at(at: Addresses, recorded: str) -> str:
    """What was recorded, at the address that the service has now."""
    return at.api + urlsplit(recorded).path


async def _what_sites_hold(http: httpx.AsyncClient, at: Addresses, story: Story) -> None:
    states = {}
    for title, each in story["messages"].items():
        answer = await http.get(_at(at, each["location"]))
        states[title] = answer.json()["state"] if answer.status_code == 200 else answer.status_code
    assert states == {
        "before": "delivered",
        "read": "read",
        "all of it": "stored",
        "replaced": "replaced",
        "replacing": "stored",
        "cancelled": "cancelled",
        "low": "stored",
        "of a site that went": "stored",
    }
    receipt = await http.get(_at(at, story["messages"]["read"]["receipt"]), headers={"Prefer": "wait=1"})
    assert receipt.json()["state"] == "read"
    again = await http.post(_at(at, story["news"]), json=NEWS[2], headers=HEADERS["all of it"])
    assert (again.status_code, urlsplit(again.headers["location"]).path) == (
        201,
        urlsplit(story["messages"]["all of it"]["location"]).path,
    )
    for recorded in (story["gone"], story["deleted"], story["browser"]["given_back"]):
        assert (await http.post(_at(at, recorded), json={"title": "nobody"})).status_code == 410


async def _what_devices_missed(era: Era, at: Addresses) -> None:
    """The laptop was away since `before`, and is told of what is left; the phone has seen all."""
    there = {"PUSHCTL_CLIENT_API": at.api, "PUSHCTL_CLIENT_BOXOFFICE": at.boxoffice}
    told = await era.lines("client", "sync", "--profile", "laptop", environment=there)
    assert told[-1]["mode"] == "delta", told[-1]
    titles = [event["title"] or event["body"] for event in told if event["event"] == "message"]
    assert titles == [title if title != "sealed" else None for title in LEFT[1:]], titles
    assert [event["event"] for event in told][-2:] == ["revoked", "sync"]
    its_own = await era.lines("client", "sync", "--profile", "phone", environment=there)
    assert [event["event"] for event in its_own] == ["read", "revoked", "sync"], its_own
    unread = await era.lines("client", "messages", "--profile", "phone", environment=there)
    assert [each["title"] or each["body"] for each in unread] == LEFT
    assert {each["icon"] for each in unread if each["title"] == "before"} == {ICON}
    assert len(await era.lines("client", "identities", "--profile", "phone", environment=there)) == 2
    assert len(await era.lines("client", "devices", "--profile", "phone", environment=there)) == 2


async def _what_browsers_hold(http: httpx.AsyncClient, at: Addresses, story: Story) -> None:
    browser = Browser(at.socket[1])
    browser.uaid = story["uaid"]
    async with browser.connected(broadcasts={"news/edition": "6"}) as talk:
        assert browser.uaid == story["uaid"]
        owed = await talk.notification()
        assert (owed["channelID"], owed["version"]) == (story["channel"], story["version"])
        await talk.ack(owed)
        assert (await http.post(_at(at, story["endpoint"]), headers={"TTL": "60"})).status_code == 201
        assert (await talk.notification())["channelID"] == story["channel"]
        hello = next(frame for frame in talk.frames if frame.get("messageType") == "hello")
        assert hello["broadcasts"] == {"news/edition": "7"}


async def _what_comes_next(era: Era, http: httpx.AsyncClient, at: Addresses, story: Story, folder: Path) -> None:
    """A device stays connected: what is sent to the old push URLs reaches it."""
    there = {"PUSHCTL_CLIENT_API": at.api, "PUSHCTL_CLIENT_BOXOFFICE": at.boxoffice}
    subscription = json.loads((folder / "subscription.json").read_text())
    subscription["endpoint"] = _at(at, subscription["endpoint"])
    (folder / "moved.json").write_text(json.dumps(subscription))
    heard: list[dict[str, Any]] = []

    async def listen() -> None:
        heard.extend(
            await era.lines("client", "listen", "--profile", "phone", "--count", "2", "--for", "20s", environment=there)
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        assert (await http.post(_at(at, story["news"]), json={"title": "next"})).status_code == 201
        await era.run("send", "--encrypt", str(folder / "moved.json"), "next, sealed")
    assert [each["title"] or each["body"] for each in heard if each["event"] == "message"] == ["next", "next, sealed"]
    assert await era.lines("client", "read", "--all", "--profile", "phone", environment=there) == [
        {"read": len(LEFT) + 2}
    ]
    assert await era.lines("client", "messages", "--profile", "laptop", environment=there) == []


async def _what_operators_see(era: Era, at: Addresses) -> None:
    redis = ("--set", f"redis.url={at.redis}")
    found = (await era.lines("stats", *redis, "--expect", "2"))[0]
    assert {server["id"] for server in found["servers"] if server["state"] == "ready"} == {"s1", "s2"}
    assert found["redis"]


def copied(recorded: Path, folder: Path) -> Path:
    """A copy to go on with. What is secret is its owner's alone again: a repository does not keep that."""
    shutil.copytree(recorded, folder)
    for secret in (folder / "service" / "keys.toml", *(folder / "profiles").iterdir()):
        secret.chmod(0o600)
    return folder
