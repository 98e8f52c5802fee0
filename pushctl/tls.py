"""TLS of a public listener: its files, read at start and again while it runs.

Owns: the context of new handshakes, and what its files must hold. Promises: a file that cannot be read or does not fit
is a ConfigError that names the key and the file, never a password prompt; `reload` either takes all files anew or keeps
what it had and says why; connections that stand are left alone. TLS 1.2 and newer, ALPN http/1.1.
Must not know: who listens; when to read again (runtime.py).
"""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from pushctl.config.check import tls_on
from pushctl.config.model import Config, RoleName
from pushctl.config.schema import value_at
from pushctl.errors import ConfigError
from pushctl.log import get_logger

log = get_logger(part="tls")

Plain = TypeVar("Plain", bound=trio.abc.Stream)

SOON: Final = timedelta(days=14)
"""A certificate that ends within so long is worth a word."""


class Files(msgspec.Struct, frozen=True):
    """Paths, as configured for `role`. `client_ca` may be empty."""

    role: RoleName
    certificate: str
    key: str
    client_ca: str


def files_of(config: Config, role: RoleName) -> Files:
    """As configured, for a role with a public listener."""
    table = value_at(config, role)
    return Files(role, table.tls_certificate, table.tls_key, table.tls_client_ca)


class Tls:
    """Of one listener. Raises ConfigError if its files do not serve."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._context = make_context(files)
        self.certificate = files.certificate
        self.ends = ends_at(files.certificate)
        """When the certificate in use ends."""
        self._warn_of_the_end()

    @classmethod
    def configured(cls, config: Config, role: RoleName) -> "Tls | None":
        """None: this role's public listener speaks plain HTTP. Raises ConfigError."""
        if not tls_on(config, role):
            return None
        return cls(files_of(config, role))

    def __call__(self) -> ssl.SSLContext:
        """The context of a handshake that begins now."""
        return self._context

    def reload(self) -> None:
        """Read the files again. What does not serve is logged, and the old ones stay."""
        role, certificate = self._files.role, self._files.certificate
        try:
            self._context = make_context(self._files)
        except ConfigError as error:
            log.error("tls_not_reloaded", role=role, detail=str(error))
        else:
            self.ends = ends_at(certificate)
            log.info("tls_reloaded", role=role, certificate=certificate)
            self._warn_of_the_end()

    def _warn_of_the_end(self) -> None:
        """Clients do not connect to what has ended; whether to start all the same is theirs to say."""
        if self.ends <= datetime.now(UTC) + SOON:
            log.warning("tls_ends", role=self._files.role, certificate=self.certificate, ends=self.ends.isoformat())


def make_context(files: Files) -> ssl.SSLContext:
    """Raises ConfigError with every mistake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    mistakes = [*_certificate_mistakes(context, files), *_client_ca_mistakes(context, files)]
    if mistakes:
        raise ConfigError(mistakes)
    return context


def _certificate_mistakes(context: ssl.SSLContext, files: Files) -> list[str]:
    certificate, key = f"{files.role}.tls_certificate", f"{files.role}.tls_key"
    unreadable = [*_unreadable(certificate, files.certificate), *_unreadable(key, files.key)]
    if unreadable:
        return unreadable
    try:
        # OpenSSL would ask the terminal for a password.
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except _Locked:
        return [
            f"{key}: {files.key} is locked with a password: give a key without one, in a file that only we can read"
        ]
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return [f"{key}: {files.key} is not the key of the certificate in {files.certificate}"]
        if _is_certificate(files.certificate):
            return [f"{key}: {files.key} holds no private key in PEM that TLS can use ({error.reason})"]
        return [f"{certificate}: {files.certificate} holds no certificate in PEM that TLS can use ({error.reason})"]
    return []


def _client_ca_mistakes(context: ssl.SSLContext, files: Files) -> list[str]:
    if not files.client_ca:
        return []
    name = f"{files.role}.tls_client_ca"
    unreadable = _unreadable(name, files.client_ca)
    if unreadable:
        return unreadable
    try:
        context.load_verify_locations(files.client_ca)
    except ssl.SSLError as error:
        return [f"{name}: {files.client_ca} holds no certificate in PEM ({error.reason})"]
    context.verify_mode = ssl.CERT_REQUIRED
    return []


def ends_at(certificate: str) -> datetime:
    """When the certificate in this PEM file ends; the file was found good. Raises nothing else than OSError."""
    from cryptography import x509  # not for roles without TLS

    return x509.load_pem_x509_certificate(Path(certificate).read_bytes()).not_valid_after_utc


class _Locked(Exception):
    """A key wants a password."""


def _no_password() -> str:
    raise _Locked


def _unreadable(name: str, path: str) -> list[str]:
    try:
        with Path(path).open("rb"):
            return []
    except OSError as error:
        return [f"{name}: cannot read {path}: {error.strerror}"]


def _is_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


async def shake_hands(stream: Plain, context: Callable[[], ssl.SSLContext], by: float) -> trio.SSLStream[Plain] | None:
    """The stream under TLS once the peer has shaken hands; None, and the connection is dropped, if it has not by
    then (trio.current_time), or cannot."""
    secure = trio.SSLStream(stream, context(), server_side=True, https_compatible=True)
    with trio.move_on_at(by):
        try:
            await secure.do_handshake()
        except trio.BrokenResourceError as error:
            log.debug("no_handshake", detail=str(error.__cause__ or error))
        else:
            return secure
    await trio.aclose_forcefully(stream)
    return None
