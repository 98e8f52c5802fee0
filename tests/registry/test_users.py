"""Users, devices, sessions and the identity index."""

import pytest

from pushctl.config.model import Config
from pushctl.errors import LimitReached, NotFound
from pushctl.ids import DeviceId, SessionHash, UserId
from pushctl.registry import Registry
from tests.registry.test_messages import ADA


async def test_the_same_principal_is_the_same_user_for_ever(registry: Registry) -> None:
    assert await registry.sessions.user_of("entry", UserId("first")) == "first"
    assert await registry.sessions.user_of("entry", UserId("second")) == "first"


async def test_an_assertion_is_used_once(registry: Registry) -> None:
    assert await registry.sessions.first_use("digest", 60_000)
    assert not await registry.sessions.first_use("digest", 60_000)


async def test_a_session_that_ended_is_not_found(registry: Registry) -> None:
    one, two = SessionHash("one"), SessionHash("two")
    for session in (one, two):
        await registry.sessions.begin(
            session, ADA, DeviceId("d"), provider="browserid", expires_at_ms=1, lasts_ms=60_000
        )
    await registry.sessions.end(one)
    assert await registry.sessions.find(one) is None
    assert await registry.sessions.live([one, two]) == [False, True]


async def test_a_device_logs_in_again_and_its_older_session_is_told(registry: Registry) -> None:
    first = await registry.users.register(ADA, device=None, name="a", session=SessionHash("1"), identity="i")
    again = await registry.users.register(ADA, device=first.device, name="b", session=SessionHash("2"), identity="i")
    assert (first.new_user, again.new_user) == (True, False)
    assert (again.device, again.older_sessions) == (first.device, ["1"])
    devices, _ = await registry.users.devices(ADA)
    assert [(device.name, device.session) for device in devices.values()] == [("b", "2")]
    with pytest.raises(NotFound):
        await registry.users.register(ADA, device=DeviceId("x"), name="c", session=SessionHash("3"), identity="i")
    with pytest.raises(NotFound):  # and makes no user
        await registry.users.register(
            UserId("bob"), device=first.device, name="c", session=SessionHash("3"), identity="j"
        )
    assert await registry.users.count(UserId("bob")) is None


async def test_a_user_has_a_bounded_number_of_devices(registry: Registry, config: Config) -> None:
    for n in range(config.limits.devices_per_user):
        await registry.users.register(ADA, device=None, name=str(n), session=SessionHash(str(n)), identity="i")
    with pytest.raises(LimitReached):
        await registry.users.register(ADA, device=None, name="more", session=SessionHash("more"), identity="i")


async def test_a_new_device_has_the_id_that_its_session_was_begun_for(registry: Registry) -> None:
    registered = await registry.users.register(
        ADA, device=None, new_device=DeviceId("d"), name="a", session=SessionHash("1"), identity="i"
    )
    assert registered.device == "d"
