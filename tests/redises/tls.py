"""A Redis that speaks TLS only, to one named user only. The wheel's server has no TLS, so this is Debian's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.certificates import write_certificates
from tests.redises.process import RedisProcess, debian_binary

USER, PASSWORD = "push", "secret"


class TlsRedis:
    """The process, and what a client must know."""

    def __init__(self, process: RedisProcess, authority: Path) -> None:
        self.process = process
        self.authority = authority
        """The certificate of the authority that signed the server's."""

    def url_with(self, *, user: str = USER, password: str = PASSWORD, authority: Path | None = None) -> str:
        """rediss:// with whatever a test wants to be wrong."""
        trusted = authority or self.authority
        return f"rediss://{user}:{password}@localhost:{self.process.port}/0?ssl_ca_certs={trusted}"

    @property
    def url(self) -> str:
        return self.url_with()


@contextmanager
def redis_with_tls(folder: Path) -> Iterator[TlsRedis]:
    """A Redis with TLS, in which only USER may do anything; gone at the end."""
    authority = write_certificates(folder / "certificates")
    lines = (
        f"tls-cert-file {authority.parent / 'server.pem'}",
        f"tls-key-file {authority.parent / 'server.key'}",
        f"tls-ca-cert-file {authority}",
        "tls-auth-clients no",
        "user default off",
        f"user {USER} on >{PASSWORD} ~* &* +@all",
    )
    client = {"ssl": True, "ssl_ca_certs": str(authority), "username": USER, "password": PASSWORD, "host": "localhost"}
    process = RedisProcess(folder / "tls", *lines, listen="tls-port", binary=debian_binary(), client=client)
    try:
        yield TlsRedis(process, authority)
    finally:
        process.kill()
