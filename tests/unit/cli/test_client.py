"""`pushctl client`: what each command prints, and with which code it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio_websocket

from pushctl.client.store import Store
from pushctl.protocol import frames
from tests.fake_service import FakeService, FakeSocket, open_fake_service, until_closed
from tests.unit.cli.commands import Ran, pushctl, run
from tests.unit.client.builders import cursor, message, push_url, session

SOON = "2099-01-01T00:00:00.000Z"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of profiles; nothing else of the environment matters."""
    monkeypatch.setenv("PUSHCTL_CLIENT_DIR", str(tmp_path))
    for variable in ("PUSHCTL_CLIENT_API", "PUSHCTL_CLIENT_BOXOFFICE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
async def service(folder: Path) -> AsyncIterator[FakeService]:
    """Where the default profile is logged in, with nothing new to say."""
    async with open_fake_service() as running:
        with Store(folder / "default.sqlite3") as store:
            store.begin_session(session())
            for setting in ("api", "boxoffice"):
                store.set_setting(setting, running.api_url)
        running.answers["GET /v1/sync"] = synced(frames.DeltaFrame([], cursor(1), True))
        yield running


def synced(page: frames.DeltaFrame | frames.SnapshotFrame) -> Any:
    """A page as GET /v1/sync answers it."""
    fields = {name: getattr(page, name) for name in page.__struct_fields__ if name not in ("type", "min_urgency")}
    return 200, {**fields, "next": None}, {}


def with_messages(service: FakeService, *names: str) -> None:
    found = [message(name, expires_at=SOON) for name in names]
    icon = "https://news.example/i.png"
    service.answers["GET /v1/sync"] = synced(frames.SnapshotFrame([push_url(icon=icon)], found, cursor(5), True))


# --- login -----------------------------------------------------------------------------------------------------------


async def test_a_login_remembers_where_and_names_the_device_after_the_profile(folder: Path) -> None:
    async with open_fake_service() as service:
        where = ("--api", service.api_url, "--boxoffice", service.api_url + "/")
        ran = await pushctl("client", "login", "alice", "--profile", "phone", "--json", *where)
        assert (ran.code, ran.lines[0]["user"], ran.lines[0]["device_name"]) == (0, "alice", "phone")
        assert "token-1" not in ran.out + ran.err
        service.answers["GET /v1/sync"] = synced(frames.DeltaFrame([], cursor(1), True))
        assert (await pushctl("client", "sync", "--profile", "phone")).code == 0
    with Store(folder / "phone.sqlite3") as store:
        assert (store.setting("api"), store.setting("boxoffice")) == (service.api_url, service.api_url)


async def test_a_failed_login_remembers_nothing(folder: Path) -> None:
    ran = await pushctl("client", "login", "alice", "--api", "http://127.0.0.1:1")
    why = "cannot connect to http://127.0.0.1:1: connection refused"
    what_now = "`pushctl serve all` starts a service here, --api names another"
    assert (ran.code, ran.err) == (5, f"pushctl: {why}; {what_now}\n")
    with Store(folder / "default.sqlite3") as store:
        assert (store.setting("api"), store.session()) == (None, None)


async def test_the_environment_comes_before_the_profile_and_a_flag_before_the_environment(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHCTL_CLIENT_API", "http://127.0.0.1:1")
    assert (await pushctl("client", "sync")).code == 5
    assert (await pushctl("client", "login", "alice", "--api", service.api_url)).code == 0
    monkeypatch.setenv("PUSHCTL_CLIENT_API", "")
    assert (await pushctl("client", "sync")).code == 0
    monkeypatch.setenv("PUSHCTL_CLIENT_API", "nonsense")
    assert (await pushctl("client", "sync")).code == 2


async def test_an_assertion_from_elsewhere_is_read_from_a_file_not_from_the_arguments(service: FakeService) -> None:
    ran = await pushctl("client", "login", "--assertion", "-", stdin=b"no assertion\n")
    assert (ran.code, ran.err) == (1, "pushctl: this is no backed BrowserID assertion (certificate~assertion)\n")


@pytest.mark.parametrize(
    "args",
    [
        ["login"],
        ["login", "alice", "--assertion", "-"],
        ["login", "alice", "--api", "nonsense"],
        ["login", "alice", "--provider", "accounts"],
        ["login", "--token-file", "-", "--assertion", "-"],
        ["login", "--token-file", "/nowhere"],
        ["login", "--provider", "unheard-of"],
        ["login", "--issuer", "https://accounts.example"],
        ["login", "--issuer", "http://accounts.example", "--client-id", "c"],
        ["login", "--issuer", "https://accounts.example", "--client-id", "c", "--scope", "push"],
        ["allow", "a b"],
        ["allow", "news.example", "--icon", "/nowhere"],
        ["read"],
        ["read", "m1", "--all"],
        ["listen", "--count", "0"],
        ["listen", "--for", "soon"],
        ["listen", "--min-urgency", "urgent"],
        ["urls", "--profile", "../etc"],
        ["run"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_a_2(args: list[str], folder: Path) -> None:
    ran = run("client", *args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err


@pytest.mark.parametrize(
    "args", [["logout"], ["urls"], ["sync"], ["read", "--all"], ["listen"], ["allow", "x.example"]]
)
def test_without_a_login_it_says_so(args: list[str], folder: Path) -> None:
    ran = run("client", *args)
    assert (ran.code, ran.err) == (1, "pushctl: not logged in: run `pushctl client login NAME`\n")


# --- push URLs -------------------------------------------------------------------------------------------------------


async def test_allow_prints_the_push_url_and_nothing_else_on_stdout(service: FakeService) -> None:
    service.answers["POST /v1/push-urls"] = (201, push_url(), {})
    ran = await pushctl("client", "allow", "news.example")
    assert (ran.code, ran.out, ran.err) == (0, f"{push_url().url}\n", "a new push URL\n")
    assert service.bodies("POST /v1/push-urls")[0]["site"] == "https://news.example"
    service.answers["POST /v1/push-urls"] = (200, push_url(), {})
    [line] = (await pushctl("client", "allow", "news.example", "--json")).lines
    assert (line["url"], line["icon"], line["created"]) == (push_url().url, None, False)


async def test_revoke_takes_a_site_or_an_id(service: FakeService) -> None:
    service.answers["GET /v1/push-urls"] = (200, {"push_urls": [push_url()]}, {})
    service.answers["DELETE /v1/push-urls/p1"] = (204, None, {})
    for typed in ("news.example", "https://news.example/", "p1"):
        ran = await pushctl("client", "revoke", typed, "--json")
        assert ran.lines == [{"id": "p1", "site": "https://news.example"}]
    assert (await pushctl("client", "revoke", "other.example")).code == 1


async def test_urls_are_brought_up_to_date_unless_told_not_to(service: FakeService) -> None:
    with_messages(service)
    assert (await pushctl("client", "urls", "--offline", "--json")).lines == []
    [line] = (await pushctl("client", "urls", "--json")).lines
    assert (line["site"], line["url"], line["icon"]) == (
        *("https://news.example", push_url().url),
        "https://news.example/i.png",
    )
    ran = await pushctl("client", "urls", "--offline")
    assert ran.out == f" N  https://news.example  {push_url().url}  (icon)\n"


# --- messages --------------------------------------------------------------------------------------------------------


async def test_messages_are_shown_with_title_body_and_icon(service: FakeService) -> None:
    with_messages(service, "m1", "m2")
    first, second = (await pushctl("client", "messages", "--json")).lines
    assert (first["id"], first["title"], first["body"], first["icon"], first["read"]) == (
        *("m1", "News", "m1"),
        *("https://news.example/i.png", False),
    )
    assert second["id"] == "m2"
    assert "● m1" in (await pushctl("client", "messages", "--offline")).out


async def test_read_takes_the_beginning_of_an_id_and_all(service: FakeService) -> None:
    with_messages(service, "abc1", "abd2", "xyz3")
    await pushctl("client", "sync")
    service.answers["POST /v1/messages/read"] = (200, {"read": 1}, {})
    assert (await pushctl("client", "read", "abc", "--json")).lines == [{"read": 1}]
    ambiguous = await pushctl("client", "read", "ab")
    assert (ambiguous.code, "2 messages begin with 'ab'" in ambiguous.err) == (2, True)
    service.answers["GET /v1/sync"] = synced(frames.DeltaFrame([], cursor(6), True))
    await pushctl("client", "read", "--all")
    assert service.bodies("POST /v1/messages/read") == [{"ids": ["abc1"]}, {"ids": ["abd2", "xyz3"]}]
    assert (await pushctl("client", "messages", "--offline")).out == ""
    shown = (await pushctl("client", "messages", "--offline", "--all", "--json")).lines
    assert [line["read"] for line in shown] == [True] * 3


async def test_read_of_an_id_that_no_message_has_is_an_error_and_reads_nothing(service: FakeService) -> None:
    with_messages(service, "abc1")
    ran = await pushctl("client", "read", "abc", "nosuch")
    assert (ran.code, ran.out) == (1, "")
    assert "no message here has the id 'nosuch'" in ran.err
    assert service.bodies("POST /v1/messages/read") == []
    assert "● abc1" in (await pushctl("client", "messages", "--offline")).out


async def test_a_message_that_this_device_has_not_heard_of_yet_is_read_by_its_id(service: FakeService) -> None:
    with_messages(service, "new1")
    service.answers["POST /v1/messages/read"] = (200, {"read": 1}, {})
    assert (await pushctl("client", "read", "new", "--json")).lines == [{"read": 1}]


async def test_sync_prints_what_is_new_and_how_it_came(service: FakeService) -> None:
    with_messages(service, "m1")
    ran = await pushctl("client", "sync", "--json")
    assert [line["event"] for line in ran.lines] == ["push_url", "message", "sync"]
    assert ran.lines[-1] == {
        "event": "sync",
        "mode": "snapshot",
        "events": None,
        "push_urls": 1,
        "messages": 1,
        "cursor": cursor(5),
    }
    again = await pushctl("client", "sync")
    assert (again.out, "up to date: a snapshot" in again.err) == ("", True)


# --- listen ----------------------------------------------------------------------------------------------------------


async def greet_and_send(socket: FakeSocket) -> None:
    missed = frames.MessageEvent(cursor(2), message("m1", expires_at=SOON))
    await socket.greet(frames.DeltaFrame([missed], cursor(2), True))
    await socket.send(
        frames.MessageEvent(cursor(3), message("m2", expires_at=SOON)),
        frames.ReadEvent(cursor(4), ["m1"]),
        frames.PushUrlEvent(cursor(5), push_url()),
        frames.RevokedEvent(cursor(6), "p1"),
        frames.DroppedEvent(cursor(7), ["m2"], "cancelled"),
        frames.MessageEvent(None, message("m3")),
    )
    await until_closed(socket)


async def listened(service: FakeService, *args: str) -> Ran:
    service.scripts = [greet_and_send]
    return await pushctl("client", "listen", "--count", "3", "--for", "10s", *args)


FIELDS = {
    "connected": {"server", "id", "user", "device"},
    "sync": {"mode", "events", "push_urls", "messages", "cursor"},
    "message": {
        *("id", "push_url", "site", "title", "body", "icon", "url", "tag", "urgency", "topic", "data", "encoding"),
        *("sent_at", "expires_at", "received_at", "latency_ms", "live", "cursor"),
    },
    "read": {"ids"},
    "push_url": {"id", "site", "url", "icon"},
    "revoked": {"id", "site"},
    "dropped": {"ids", "reason"},
}


async def test_listen_prints_every_event_with_its_documented_names(service: FakeService) -> None:
    ran = await listened(service, "--json")
    assert (ran.code, ran.err) == (0, "")
    kinds = ["connected", "message", "sync", "message", "read", "push_url", "revoked", "dropped", "message"]
    assert [line["event"] for line in ran.lines] == kinds
    assert all(set(line) == {"event", *FIELDS[line["event"]]} for line in ran.lines)
    assert [line["live"] for line in ran.lines if line["event"] == "message"] == [False, True, True]
    help_text = run("client", "listen", "--help").out
    assert all(name in help_text for kind, names in FIELDS.items() for name in (kind, *names))


async def test_for_people_messages_go_to_stdout_and_news_of_the_connection_to_stderr(service: FakeService) -> None:
    ran = await listened(service)
    assert [line.split()[1] for line in ran.out.splitlines()] == [
        "N",
        "N",
        "read",
        "allowed",
        "revoked",
        "dropped",
        "N",
    ]
    assert "connected to s1" in ran.err
    assert "up to date: 1 missed event\n" in ran.err


async def test_too_few_messages_in_the_time_are_a_4(service: FakeService) -> None:
    async def quiet(socket: FakeSocket) -> None:
        await socket.greet(frames.DeltaFrame([], cursor(1), True))
        await until_closed(socket)

    service.scripts = [quiet, quiet]
    ran = await pushctl("client", "listen", "--count", "1", "--for", "2s")
    assert (ran.code, ran.err.splitlines()[-1]) == (4, "pushctl: received 0 of 1 messages within 2 s")
    assert (await pushctl("client", "listen", "--for", "2s")).code == 0


async def test_never_connected_is_a_5_at_once_or_at_the_end(service: FakeService) -> None:
    began = trio.current_time()
    assert (await pushctl("client", "listen", "--for", "20s")).code == 5
    assert trio.current_time() - began < 10
    ran = await pushctl("client", "listen", "--for", "300ms", "--keep-trying", "--count", "1")
    assert (ran.code, "not connected within 0.3 s" in ran.err) == (5, True)


# --- listen --exec (a process of its own: it takes signals) -----------------------------------------------------------


async def two_messages(socket: FakeSocket) -> None:
    said: list[frames.ClientFrame] = []
    missed: list[frames.Event] = [
        frames.MessageEvent(cursor(seq), message(f"m{seq}", expires_at=SOON)) for seq in (1, 2)
    ]
    await socket.greet(frames.DeltaFrame(missed, cursor(2), True))
    with suppress(trio_websocket.ConnectionClosed):
        while True:
            said.append(frames.decode_client_frame(await socket.websocket.get_message()))
    reads.append([each.ids for each in said if isinstance(each, frames.Read)])


reads: list[list[Any]] = []


def listening(*args: str) -> list[str]:
    return [sys.executable, "-m", "pushctl", "client", "listen", *args]


async def executed(*args: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(20):
        return await trio.run_process(listening(*args), check=False, capture_stdout=True, capture_stderr=True)


async def test_a_command_per_message_marks_read_what_it_did_and_the_rest_comes_again(
    service: FakeService, folder: Path
) -> None:
    reads.clear()
    service.scripts = [two_messages, two_messages]
    asked = ("--count", "2", "--read", "--exec", 'echo did "$PUSHCTL_ID"; test "$PUSHCTL_ID" = m1')
    ran = await executed(*asked)
    assert (ran.returncode, ran.stdout) == (3, b"did m1\ndid m2\n")
    assert b"--exec ended with 1 for message m2" in ran.stderr
    assert ran.stderr.endswith(b"pushctl: --exec failed for 1 of 2 messages\n")
    again = await executed("--for", "4s", "--read", "--json", "--exec", 'echo did "$PUSHCTL_ID"')
    assert (again.returncode, b"did m2\n" in again.stderr, b"did m1" in again.stderr) == (0, True, False)
    assert all(msgspec.json.decode(line)["event"] for line in again.stdout.splitlines())
    with Store(folder / "default.sqlite3") as store:
        assert store.messages() == []
    assert reads[0] == [["m1"]], "told before it left"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)], ids=str)
async def test_a_signal_ends_the_command_too(
    number: signal.Signals, code: int, service: FakeService, tmp_path: Path
) -> None:
    service.scripts = [two_messages]
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            process = await nursery.start(
                partial(
                    trio.run_process,
                    listening("--exec", f"exec 3> {fifo}; echo started >&3; sleep 1000"),
                    check=False,
                    capture_stderr=True,
                    # Tests that run in the background ignore SIGINT, and children take that over.
                    preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                )
            )
            pipe = await trio.open_file(fifo)
            assert await pipe.readline() == "started\n"
            process.send_signal(number)
        async with pipe:
            assert await pipe.read() == "", "the command does not hold it open any more"
    assert process.returncode == code


# --- all of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["login", "logout", "allow", "revoke", "urls", "sync", "messages", "read", "listen", "run"]
)
def test_every_help_text_ends_with_examples(command: str) -> None:
    ran = run("client", command, "--help")
    assert ran.code == 0
    last = ran.out.rstrip().splitlines()[-1]
    assert last.startswith("    ")
    assert f"pushctl client {command}" in last or "pushctl send" in last
