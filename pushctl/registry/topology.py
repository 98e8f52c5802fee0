"""Where Redis is: one server, the master that Sentinels name, or the masters of a Cluster.

Owns: what `redis.url` may say, asking Sentinels, reading a Cluster's map of slots.
Promises: an address is never printed whole (it holds the password). Nothing here keeps a connection.
Must not know: lanes, commands of ours.

    redis://user:password@host:6379/0                  one server, or any node of a Cluster
    redis://host1:6379,host2:6379/0                    several nodes of a Cluster to begin with
    redis+sentinel://host1:26379,host2/service/0       the master of `service`, as these Sentinels say
    rediss://, rediss+sentinel://                      the same over TLS
    unix:///path/to/redis.sock
"""

import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec.structs import replace

from pushctl.errors import ConfigError, StoreUnavailable
from pushctl.registry.connection import Address, Connection, ErrorReply

SENTINEL_PORT = 26379


class Target(msgspec.Struct, frozen=True):
    """What `redis.url` names. `service`: what Sentinels call the master; then `seeds` are Sentinels."""

    seeds: tuple[Address, ...]
    service: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Raises ConfigError that does not repeat the URL."""
        parts = urlsplit(url)
        scheme, plus, kind = parts.scheme.partition("+")
        if plus and kind != "sentinel":
            raise ConfigError([f"[redis] url: expected redis://, rediss://, redis+sentinel:// or unix://, got {kind}"])
        if scheme == "unix" or not parts.netloc:
            return cls((Address.parse(url),))
        login, at, hosts = parts.netloc.rpartition("@")
        service, path = None, parts.path
        if plus:
            service, _, database = parts.path.strip("/").partition("/")
            path = f"/{database or 0}"
            if not service:
                raise ConfigError(["[redis] url: expected redis+sentinel://host:port/SERVICE, got no service"])
            hosts = ",".join(host if _has_port(host) else f"{host}:{SENTINEL_PORT}" for host in hosts.split(","))
        return cls(
            tuple(
                Address.parse(urlunsplit((scheme, f"{login}{at}{host}", path, parts.query, "")))
                for host in hosts.split(",")
            ),
            service,
        )

    def __str__(self) -> str:
        seeds = ", ".join(map(str, self.seeds))
        return f"the master {self.service} of {seeds}" if self.service else seeds


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]


class Map(msgspec.Struct, frozen=True):
    """The masters of a Cluster: (first slot, last slot, address), in order of slots."""

    ranges: tuple[tuple[int, int, Address], ...]

    @property
    def masters(self) -> list[Address]:
        return list(dict.fromkeys(address for _, _, address in self.ranges))


async def locate(target: Target, *, name: str, seconds: float) -> Address:
    """The one server, or the master that the first Sentinel to answer names. Raises StoreUnavailable."""
    if target.service is None:
        return target.seeds[0]
    problem = "no Sentinel answers"
    for seed in random.sample(target.seeds, len(target.seeds)):
        try:
            # The credentials of the URL are the master's; Sentinels are asked without any.
            sentinel = replace(seed, username=None, password=None, database=0)
            reply = await _ask(sentinel, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", target.service), name, seconds)
        except StoreUnavailable as error:
            problem = error.detail
            continue
        if isinstance(reply, list):
            host, port = reply
            return replace(seed, host=host.decode(), port=int(port))
        problem = f"Sentinel at {seed} knows no master {target.service}"
    raise StoreUnavailable(problem)


async def discover(target: Target, *, name: str, seconds: float) -> tuple[Address, Map | None]:
    """A server that answers, and its Cluster's map; None when it is in no Cluster. Raises StoreUnavailable."""
    if target.service is not None:
        return await locate(target, name=name, seconds=seconds), None
    problem = "no answer"
    for seed in random.sample(target.seeds, len(target.seeds)):
        try:
            reply = await _ask(seed, ("CLUSTER", "SLOTS"), name, seconds)
        except StoreUnavailable as error:
            problem = error.detail
            continue
        if isinstance(reply, ErrorReply):
            if str(reply).startswith("LOADING"):
                problem = f"Redis at {seed} is loading its data"
                continue
            # A server in no Cluster says so with an error, and so does one that does not let us ask.
            return seed, None
        try:
            return seed, read_map(reply, seed)
        except StoreUnavailable as error:
            problem = error.detail
    raise StoreUnavailable(problem)


def read_map(reply: Any, asked: Address) -> Map:
    """From the reply to CLUSTER SLOTS. Raises StoreUnavailable for a Cluster that has given out no slots yet."""
    if asked.database:
        raise ConfigError([f"[redis] url: a Cluster has only database 0, not {asked.database}"])
    ranges = []
    for first, last, master, *_ in reply:
        assert isinstance(first, int)
        assert isinstance(last, int)
        assert isinstance(master, list)
        # A node that does not know its own name yet says nothing: it is the one we asked.
        host = master[0].decode() if master[0] else asked.host
        ranges.append((first, last, replace(asked, host=host, port=int(master[1]))))
    if not ranges:
        raise StoreUnavailable(f"the Cluster at {asked} has given out no slots")
    return Map(tuple(sorted(ranges, key=lambda part: part[:2])))


async def _ask(address: Address, command: Sequence[str], name: str, seconds: float) -> Any:
    """Ask one server over a connection of its own. Raises StoreUnavailable."""
    connection = await Connection.open(address, name=f"pushctl-{name}-where", seconds=seconds)
    try:
        return await connection.ask_within(seconds, *command)
    finally:
        await connection.aclose()
