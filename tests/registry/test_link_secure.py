"""TLS, users and passwords of Redis: what works, and that what does not is told in a line that gives nothing away."""

from pathlib import Path

import pytest
import trio

from pushctl.config.model import Config
from pushctl.errors import ConfigError, StoreUnavailable, Unreachable
from pushctl.ids import ServerId
from pushctl.registry import open_registry
from tests.certificates import write_certificates
from tests.redises.process import RedisProcess
from tests.redises.tls import PASSWORD, TlsRedis
from tests.registry.people import Person, impatient, unhurried, until


async def told(config: Config) -> str:
    """Why the registry does not open: one line, without the password."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_registry(config, name="test"):
            pass
    assert caught.group_contains(Unreachable)
    problem: BaseException = caught.value
    while isinstance(problem, BaseExceptionGroup):
        (problem,) = problem.exceptions
    line = str(problem)
    assert PASSWORD not in line
    assert "\n" not in line
    return line


@pytest.mark.debian
async def test_tls_with_a_named_user(tls_redis: TlsRedis) -> None:
    async with open_registry(unhurried(tls_redis.url), name="test") as registry:
        ada = await Person.register(registry)
        await ada.post("hello")
        assert await ada.bodies() == ["hello"]
        # A record of TLS holds 16 KiB: large questions and answers come in many.
        large = b"x" * 3_000_000
        await registry.link.ask("SET", "large", large, lane="bulk")
        assert await registry.link.ask("GET", "large", lane="bulk") == large


@pytest.mark.debian
async def test_a_listener_over_tls_is_broken_off_with_its_master(tls_redis: TlsRedis) -> None:
    async with (
        open_registry(impatient(tls_redis.url), name="test") as registry,
        registry.channels.listen(ServerId("s1"), 0) as listener,
    ):
        with tls_redis.process.frozen(), pytest.raises(StoreUnavailable), trio.fail_after(10):
            await listener.hear()


@pytest.mark.debian
async def test_a_server_that_another_authority_signed_is_refused(tls_redis: TlsRedis, folder: Path) -> None:
    strange = write_certificates(folder / "strange")
    line = await told(impatient(tls_redis.url_with(authority=strange), connect_seconds=1))
    assert "CERTIFICATE_VERIFY_FAILED" in line
    assert "redis.connect_seconds" in line


@pytest.mark.debian
async def test_a_wrong_password_is_told_and_not_shown(tls_redis: TlsRedis) -> None:
    line = await told(impatient(tls_redis.url_with(password=f"not-{PASSWORD}"), connect_seconds=1))
    assert "WRONGPASS" in line


@pytest.mark.debian
async def test_plain_text_to_a_tls_port_is_told(tls_redis: TlsRedis) -> None:
    plain = tls_redis.url.replace("rediss://", "redis://").partition("?")[0]
    assert "cannot be used" in await told(impatient(plain, connect_seconds=1, timeout_seconds=0.3))


@pytest.mark.debian
async def test_tls_to_a_plain_port_is_told(own_redis: RedisProcess, folder: Path, tls_redis: TlsRedis) -> None:
    plain = RedisProcess(folder / "plain", listen="port")
    try:
        url = f"rediss://push:{PASSWORD}@localhost:{plain.port}/0?ssl_ca_certs={tls_redis.authority}"
        assert "cannot be used" in await told(impatient(url, connect_seconds=1, timeout_seconds=0.3))
    finally:
        plain.kill()


async def test_certificates_that_are_not_there_are_a_mistake_in_the_configuration() -> None:
    config = impatient(f"rediss://push:{PASSWORD}@localhost:1/0?ssl_ca_certs=/nonexistent/ca.pem")
    with pytest.raises(ConfigError, match=r"\[redis\] url: cannot use /nonexistent/ca.pem") as caught:
        async with open_registry(config, name="test"):
            pass
    assert PASSWORD not in str(caught.value)


async def test_a_user_who_may_do_only_what_is_needed(own_redis: RedisProcess) -> None:
    """Neither ROLE nor CLUSTER, which some hosts of Redis keep to themselves."""
    own_redis.ask("ACL", "SETUSER", "push", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-role", "-cluster", "-info")
    config = unhurried(own_redis.url.replace("unix://", f"unix://push:{PASSWORD}@"))
    async with open_registry(config, name="test", installation="i-1") as registry:
        ada = await Person.register(registry)
        await ada.post("hello")
        assert await ada.bodies() == ["hello"]


async def test_a_user_without_a_password_is_told(own_redis: RedisProcess) -> None:
    own_redis.ask("CONFIG", "SET", "requirepass", PASSWORD)
    line = await told(impatient(own_redis.url, connect_seconds=0.5))
    assert "NOAUTH" in line


async def test_a_password_that_is_changed_while_it_runs_is_told(own_redis: RedisProcess) -> None:
    own_redis.ask("ACL", "SETUSER", "push", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    config = unhurried(own_redis.url.replace("unix://", f"unix://push:{PASSWORD}@"))
    async with open_registry(config, name="test") as registry:
        own_redis.ask("ACL", "SETUSER", "push", "resetpass", ">another")
        own_redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: "WRONGPASS" in " ".join(map(str, registry.link.why_not())))
        assert PASSWORD not in " ".join(map(str, registry.link.why_not()))
