"""Log-ins and deletions of the same account that meet: no session outlives its account."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from pushctl.config.model import Config
from pushctl.errors import NotFound
from pushctl.identity.keys import Keys
from pushctl.identity.principals import BROWSERID, Principal
from pushctl.identity.verifier import Login
from pushctl.ids import ConnectionId, ServerId, UserId, new_id
from pushctl.inbox.accounts import Accounts, SignedIn
from pushctl.registry import Registry
from pushctl.registry.script import Script
from pushctl.registry.servers import Row
from pushctl.registry.store import AccountGone
from roles.gc.census import take_census
from tests.registry.conftest import Shift
from tests.registry.identity_people import believing

KEYS = Keys.generate()
ALICE = Principal(BROWSERID, "", "alice@idp.example")
USER = KEYS.user_id(ALICE)


async def sign_in(accounts: Accounts, device_id: str | None = None) -> SignedIn:
    login = Login(ALICE, expires_at_ms=2**50, replay_digest=new_id(), keep_replay_ms=1000, provider="browserid")
    return await accounts.sign_in(login, KEYS, device_name="laptop", device_id=device_id)


def at_register(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, what: Callable[[], Awaitable[object]], *, before: bool
) -> None:
    """Let something happen right before or right after the script that makes the user or its device, once."""
    run, pending = registry.link.run_script, [what]

    async def run_script(script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        happens = script.name == "register" and bool(pending)
        if happens and before:
            await pending.pop()()
        reply = await run(script, keys, arguments)
        if happens and not before:
            await pending.pop()()
        return reply

    monkeypatch.setattr(registry.link, "run_script", run_script)


async def sessions(registry: Registry, config: Config) -> list[bytes]:
    replies = await registry.link.ask_masters("KEYS", f"{config.redis.prefix}:session:*")
    return [key for reply in replies.values() for key in reply]


async def test_a_log_in_that_a_deletion_overtakes_leaves_no_session(
    registry: Registry, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(registry, believing(config))
    await sign_in(accounts)
    at_register(registry, monkeypatch, lambda: accounts.delete_account(USER), before=False)
    await sign_in(accounts)
    assert await sessions(registry, config) == []
    assert await registry.users.count(USER) is None


async def test_a_log_in_that_comes_after_a_deletion_opens_a_new_account(
    registry: Registry, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(registry, believing(config))
    first = await sign_in(accounts)
    at_register(registry, monkeypatch, lambda: accounts.delete_account(USER), before=True)
    second = await sign_in(accounts)
    assert len(await sessions(registry, config)) == 1
    assert (await accounts.session_of_token(second.token)).user == USER
    assert first.device_id not in (await registry.users.devices(USER))[0]
    # The deletion took the identity with it; the new account has put it back.
    assert await registry.sessions.user_of(KEYS.index_entry(ALICE), UserId("another")) == USER


async def test_a_device_removed_while_it_logs_in_again_has_no_session(
    registry: Registry, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(registry, believing(config))
    first = await sign_in(accounts)
    at_register(registry, monkeypatch, lambda: accounts.remove_device(USER, first.device_id), before=False)
    await sign_in(accounts, first.device_id)
    assert await sessions(registry, config) == []


async def test_a_log_in_that_is_refused_leaves_no_session(registry: Registry, config: Config) -> None:
    accounts = Accounts(registry, believing(config))
    with pytest.raises(NotFound):
        await sign_in(accounts, "nobody's")
    assert await sessions(registry, config) == []


async def test_a_deletion_is_confirmed_before_all_of_it_is_tidied(registry: Registry, config: Config) -> None:
    accounts = Accounts(registry, believing(config))
    await sign_in(accounts)
    entry = registry.users._store.keys.identity(KEYS.index_entry(ALICE))
    await registry.link.ask("DEL", entry)
    await registry.link.ask("HSET", entry, "of", "another kind")  # every question of it fails
    await accounts.delete_account(USER)
    with pytest.raises(AccountGone):
        await registry.users.devices(USER)
    assert await registry.users.unfinished_deletion(USER) is not None
    await registry.link.ask("DEL", entry)
    await take_census(registry, accounts)
    assert await registry.users.unfinished_deletion(USER) is None


async def test_a_device_is_connected_while_the_start_of_the_server_lives_that_it_is_on(
    registry: Registry, config: Config, shift: Shift
) -> None:
    accounts, s1 = Accounts(registry, believing(config)), ServerId("s1")
    signed_in = await sign_in(accounts)
    session = await accounts.session_of_token(signed_in.token)

    async def connected() -> bool:
        (device,) = await accounts.devices(session)
        return device.connected

    async def beat(generation: int) -> None:
        row = Row("ready", "ws://s1/", 0, 10, generation, "0", "2026-01-01T00:00:00.000Z")
        await registry.servers.heartbeat(s1, row)

    assert not await connected()
    await registry.presence.claim(
        USER, session.device, ConnectionId("c"), session=session.hash, server=s1, generation=2, rank=0
    )
    assert await connected()  # nothing is known of the server
    await beat(1)
    assert await connected()  # nor of this start of it
    await beat(2)
    assert await connected()
    shift.ms = 8000
    assert not await connected()
    await beat(2)
    assert await connected()
    await beat(3)
    assert not await connected()
