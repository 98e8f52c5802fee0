"""One connection to one Redis, on Trio: hiredis packs what goes out and parses what comes in.

Owns: opening (TCP, TLS, Unix socket; AUTH, SELECT, name) and the byte stream. Knows nothing of who asks or why.
Promises: nothing is ever sent twice. A connection that failed, or whose send was cancelled half-way, is dead for good.
Must not know: keys, scripts, deadlines (they are the caller's).

Why not a library: redis-py is synchronous or asyncio. Its pipelines in a worker thread cost 10.6 µs of CPU per command
here, one multiplexed Trio connection 4.3 µs, and without a thread a cancelled caller is simply gone.
"""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlparse

import hiredis
import msgspec
import trio

from pushctl.causes import cause_of
from pushctl.errors import ConfigError, StoreUnavailable
from pushctl.plain_stream import PlainStream

Argument = bytes | str | int | float
Reply = Any
"""bytes, int, None, list of replies, or an ErrorReply instance."""

ErrorReply = hiredis.ReplyError

RECEIVE_BYTES = 65_536


class ConnectionLost(StoreUnavailable):
    """Redis closed the connection, or it broke. Whatever was sent and not answered may or may not have run."""


class Address(msgspec.Struct, frozen=True):
    """Where a Redis is and how to introduce oneself. Never printed whole: it holds the password."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str | None = None
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None
    database: int = 0

    @classmethod
    def parse(cls, url: str) -> "Address":
        """From redis://, rediss:// or unix://. Raises ConfigError that does not repeat the URL (it may hold a
        password)."""
        try:
            options = _options(url)
        except ValueError as error:
            raise ConfigError([f"[redis] url: {error}"]) from None
        tls = None
        if url.startswith("rediss://"):
            tls = _context(options)
        return cls(
            host=options.get("host", "127.0.0.1"),
            port=options.get("port", 6379),
            path=options.get("path"),
            tls=tls,
            username=options.get("username"),
            password=options.get("password"),
            database=options.get("db", 0),
        )

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"{self.host}:{self.port}"


def _options(url: str) -> dict[str, Any]:
    """As redis-py reads it, ValueError too. That is asked only if the URL has options (`?name=value`), or is none:
    it takes longer to import than the rest of the registry."""
    if "?" in url or not url.startswith(("redis://", "rediss://", "unix://")):
        from redis.connection import parse_url

        return dict(parse_url(url))  # type: ignore[no-untyped-call]
    parts = urlparse(url)
    found: dict[str, Any] = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    if parts.scheme == "unix":
        found["path"] = unquote(parts.path)
    else:
        found |= {"host": unquote(parts.hostname or ""), "port": parts.port or ""}
        with suppress(ValueError):
            found["db"] = int(unquote(parts.path).replace("/", ""))
    return {name: value for name, value in found.items() if value != ""}


def _context(options: dict[str, Any]) -> ssl.SSLContext:
    """Raises ConfigError for certificates that cannot be read."""
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    except OSError as error:
        named = [options[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") if name in options]
        raise ConfigError([f"[redis] url: cannot use {', '.join(named)}: {error}"]) from None
    return context


def pack(command: Sequence[Argument]) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # its stub says: one argument
    return packed


class Connection:
    """A byte stream to Redis with a parser. Not safe for two readers or two writers at once: the owner sees to that."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = hiredis.Reader()

    @classmethod
    async def open(cls, address: Address, *, name: str, seconds: float) -> "Connection":
        """Connect, authenticate, select the database. Raises ConnectionLost or StoreUnavailable with Redis' words, and
        ConnectionLost after `seconds`."""
        with trio.move_on_after(seconds):
            return await cls._open(address, name)
        raise ConnectionLost(f"Redis at {address} accepts connections but does not answer")

    @classmethod
    async def _open(cls, address: Address, name: str) -> "Connection":
        stream: trio.abc.Stream
        try:
            if address.path:
                stream = PlainStream.of(await trio.open_unix_socket(address.path))
            else:
                stream = PlainStream.of(await trio.open_tcp_stream(address.host, address.port))
                if address.tls:
                    stream = trio.SSLStream(stream, address.tls, server_hostname=address.host)
        except OSError as error:
            raise ConnectionLost(f"cannot connect to Redis at {address}: {cause_of(error)}") from None
        connection = cls(stream)
        try:
            await connection._introduce(address, name)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return connection

    async def _introduce(self, address: Address, name: str) -> None:
        commands: list[tuple[str | int, ...]] = [("CLIENT", "SETNAME", name)]
        if address.database:
            commands.insert(0, ("SELECT", address.database))
        if address.password is not None:
            user = (address.username,) if address.username else ()
            commands.insert(0, ("AUTH", *user, address.password))
        for command in commands:
            reply = await self.ask(*command)
            if isinstance(reply, ErrorReply):
                raise StoreUnavailable(f"Redis at {address} refused {command[0]}: {reply}")

    async def ask(self, *command: Argument) -> Reply:
        """Send one command and wait for its reply: for connections that do one thing at a time."""
        await self.send(pack(command))
        return await self.receive()

    async def ask_within(self, seconds: float, *command: Argument) -> Reply:
        """As `ask`; ConnectionLost after `seconds`."""
        with trio.move_on_after(seconds):
            return await self.ask(*command)
        raise ConnectionLost(f"Redis does not answer {command[0]!s}")

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
            raise ConnectionLost(f"Redis went away: {error.__cause__ or error}") from None

    def parsed(self) -> Reply:
        """The next reply that has arrived whole; False when there is none (no Redis reply is False)."""
        try:
            return self._reader.gets()
        except hiredis.ProtocolError as error:
            raise ConnectionLost(f"Redis sent what is no Redis reply: {error}") from None

    async def more(self) -> None:
        """Wait for more bytes from Redis."""
        try:
            chunk = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as error:
            raise ConnectionLost(f"Redis went away: {error.__cause__ or error}") from None
        if not chunk:
            raise ConnectionLost("Redis closed the connection")
        self._reader.feed(bytes(chunk))

    async def receive(self) -> Reply:
        """The next reply, waiting for it."""
        while (reply := self.parsed()) is False:
            await self.more()
        return reply

    def break_off(self) -> None:
        """From now on, and for whoever is just waiting, this connection is lost."""
        transport = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        assert isinstance(transport, PlainStream)
        transport.close()

    async def aclose(self) -> None:
        """Close without ceremony: Redis needs no goodbye."""
        await trio.aclose_forcefully(self._stream)
