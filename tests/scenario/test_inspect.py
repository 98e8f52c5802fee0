"""`pushctl inspect` against a running service: what it says of real users, in a terminal and for programs."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from rich.console import Console, RenderableType

from pushctl.cli.inspect_view import message_view, push_url_view, server_view, user_view
from pushctl.ids import ServerId
from pushctl.inspection import MessageReport, PushUrlReport, ServerReport, UserReport, inspect_server
from pushctl.load import Load
from pushctl.registry import open_registry
from pushctl.registry.servers import Drain, Row
from tests.scenario.people import Town, eventually
from tests.unit.cli.commands import Ran, pushctl


async def inspect(town: Town, *arguments: str, stdin: str = "", keys: bool = True) -> Ran:
    config = town.service.config
    settings = {
        "redis.url": config.redis.url,
        "redis.prefix": config.redis.prefix,
        "identity.keys_file": config.identity.keys_file if keys else "",
    }
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return await pushctl("inspect", *arguments, *sets, stdin=stdin.encode())


async def report(town: Town, *arguments: str, stdin: str = "") -> Any:
    done = await inspect(town, *arguments, "--json", stdin=stdin)
    assert done.code == 0, done.err
    (found,) = done.lines
    return found


async def test_who_has_seen_it_and_who_is_behind(town: Town, tmp_path: Path) -> None:
    laptop, phone = await town.login("ada"), await town.login("ada")
    push_url = await laptop.allow()
    async with laptop.connected("s1") as on_laptop:
        await on_laptop.synced()
        sent = await town.push(push_url["url"], {"body": "between the two of us"})
        frame = await on_laptop.until("message")
        await on_laptop.send({"type": "ack", "cursor": frame["cursor"]})
        location = sent.headers["location"]

        async def delivered() -> bool:
            return bool((await report(town, "message", "@-", stdin=location))["state"] == "delivered")

        await eventually(delivered)
        about = await report(town, "message", "@-", stdin=location)
        assert {each["id"]: (each["status"], each["server"]) for each in about["devices"]} == {
            laptop.device: ("acknowledged", "s1"),
            phone.device: ("snapshot", None),
        }
        assert (about["push_url"], about["push_url_state"]) == (push_url["id"], "live")
        same = await report(town, "message", f"{laptop.user}/{about['seq']}")
        for told in ("state", "state_at", "expires_at", "sent_at", "size_bytes", "site"):
            assert same[told] == about[told]

        about = await report(town, "user", laptop.user)
        behind = {each["id"]: (each["behind_unread"], each["next_sync"], each["server"]) for each in about["devices"]}
        assert behind == {laptop.device: (0, "nothing", "s1"), phone.device: (1, "snapshot", None)}
        assert [(lease["device"], lease["server"], lease["state"]) for lease in about["leases"]] == [
            (laptop.device, "s1", "live")
        ]
        assert about["gc"]["due_at"] == about["unread"]["next_expiry_at"]
        assert [device["sessions_live"] for device in about["devices"]] == [1, 1]

        async def written() -> dict[str, Any] | None:
            """Once a heartbeat has told of it: welcome, sync, message."""
            about = await report(town, "server", "s1")
            return about if about["frames_written"] >= 3 else None

        about = await eventually(written)
        assert (about["state"], about["alive"], about["box_office"]) == ("ready", True, "names it")
        assert {judge["name"].split("-")[0] for judge in about["judges"]} == {"router", "boxoffice"}

        file = tmp_path / "url"
        file.write_text(push_url["url"])
        for secret in (f"@{file}", push_url["url"], urlsplit(push_url["url"]).path.rpartition("/")[2]):
            about = await report(town, "push-url", secret)
            assert (about["user"], about["id"], about["sender_gets"]) == (laptop.user, push_url["id"], 201)
            assert [message["acknowledged_by"] for message in about["messages"]] == [1]


async def test_nothing_secret_is_said_whatever_is_asked(office: Town) -> None:
    ada = await office.login("ada")
    push_url = await office_url(office, ada)
    sent = await office.push(push_url, {"body": "between the two of us"})
    token, message_id = push_url.rpartition("/")[2], sent.headers["location"].rpartition("/")[2]
    for arguments in (
        ("user", ada.user),
        ("push-url", push_url),
        ("message", message_id),
        ("push-url", push_url[:-1]),
        ("message", message_id[:-1]),
    ):
        for way in ((), ("--json",)):
            done = await inspect(office, *arguments, *way)
            said = done.out + done.err
            assert said
            for secret in (token[8:], message_id[8:], ada.token, "between the two of us"):
                assert secret[:24] not in said, arguments


async def office_url(town: Town, person: Any) -> str:
    return str((await person.allow())["url"])


async def test_what_is_gone_ends_with_1_and_what_is_known(office: Town) -> None:
    ada = await office.login("ada")
    push_url = await office_url(office, ada)
    sent = await office.push(push_url, {"body": "hi"})
    await ada.ask("DELETE", f"/v1/push-urls/{(await report(office, 'push-url', push_url))['id']}")
    done = await inspect(office, "push-url", push_url, "--json")
    assert done.code == 1
    assert (done.lines[0]["state"], done.lines[0]["sender_gets"]) == ("revoked", 410)
    assert "revoked: its number 1 was given out, the user's counter stands at 1" in done.err
    assert (await office.push(push_url, {"body": "hi"})).status_code == 410

    await ada.ask("DELETE", "/v1/account")
    for arguments in (("user", ada.user), ("message", sent.headers["location"])):
        done = await inspect(office, *arguments)
        assert (done.code, done.out) == (1, "")
        assert "the account was deleted; its tombstone stays until" in done.err
    done = await inspect(office, "user", "nobody-ever")
    assert (done.code, done.out) == (1, "")
    assert "never there, or lost; senders get 503" in done.err
    done = await inspect(office, "server", "s1")
    assert (done.code, done.out) == (1, "")
    assert "no socket server s1 has ever started here" in done.err


async def test_users_and_servers_need_no_keys_file_and_sealed_texts_do(office: Town) -> None:
    ada = await office.login("ada")
    push_url = await ada.allow()
    assert (await inspect(office, "user", ada.user, keys=False)).code == 0
    assert (await inspect(office, "push-url", f"{ada.user}/{push_url['id']}", keys=False)).code == 0
    done = await inspect(office, "push-url", push_url["url"], keys=False)
    assert (done.code, done.out) == (2, "")
    assert "identity.keys_file: required to open push URLs" in done.err


LONG = "a-very-long-name-" * 8
HOSTILE = "\x1b[2J\u202eevil\n"


def on_screen(shown: RenderableType, width: int = 80) -> str:
    screen = io.StringIO()
    Console(width=width, file=screen, highlight=False).print(shown)
    return screen.getvalue()


async def test_reports_fit_80_and_120_columns_whatever_others_wrote(office: Town) -> None:
    ada = await office.login("ada")
    push_url = await office_url(office, ada)
    sent = await office.push(push_url, {"body": "hi"}, Topic="t" * 32, Urgency="very-low")
    user = msgspec.convert(await report(office, "user", ada.user), UserReport)
    url = msgspec.convert(await report(office, "push-url", push_url), PushUrlReport)
    message = msgspec.convert(await report(office, "message", sent.headers["location"]), MessageReport)
    heard_of = await inspect_sample(office)
    server = msgspec.structs.replace(heard_of, id=LONG, url=f"wss://{LONG}/", rpc_url=f"http://{LONG}/", zone=LONG)
    views: list[tuple[Callable[[Any], RenderableType], Any]] = [
        (user_view, user), (push_url_view, url), (message_view, message), (server_view, server),
    ]  # fmt: skip
    for view, plain in views:
        for name in (LONG, HOSTILE):
            for width in (80, 120):
                text = on_screen(view(renamed(plain, name)), width)
                assert max(len(line) for line in text.splitlines()) <= width
                assert "\x1b" not in text
                assert "\u202e" not in text
                if plain is user or plain is message:
                    assert ada.device in text  # names give way, ids do not
    assert ada.user in on_screen(user_view(user))


async def inspect_sample(town: Town) -> ServerReport:
    """Of a server that says all it can."""
    config = town.service.config
    async with open_registry(config, name="test") as registry:
        load = Load(1.0, 1, 12_345, {"slow_closes": 1_000_000}, {"written": 123_456.7, "arrivals": 12_345.6})
        drain = Drain(LONG, 1, 300_000, 1)
        row = Row("draining", "", 1, 10, 1, "0", "then", 1, 1, drain=drain, load=load, clock_ms=1)
        await registry.servers.heartbeat(ServerId("s9"), row)
        return await inspect_server(registry, config, ServerId("s9"))


def renamed(report: Any, name: str) -> Any:
    """With this name wherever clients and sites choose one, and in every sentence."""
    changes: dict[str, Any] = {"why": [name]}
    if hasattr(report, "site"):
        changes["site"] = name
    if isinstance(report, UserReport | MessageReport):
        changes["devices"] = [msgspec.structs.replace(each, name=name, why=name) for each in report.devices]
    if isinstance(report, UserReport):
        changes["push_urls"] = [msgspec.structs.replace(each, site=name) for each in report.push_urls]
    return msgspec.structs.replace(report, **changes)
