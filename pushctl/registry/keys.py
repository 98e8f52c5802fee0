"""The map of the key space: every key there is, its type, who writes it, how long it lives, how large it can grow.

`P` is `redis.prefix`, `*` an id, a hash or a number. Every key of a user carries the hash tag {u:<user>}, so a script
touches one slot of a Cluster.

  key                        type    owner            lives                        bounded by
  P:{u:*}:meta               hash    login            until the account goes       9 fields: epoch seq tag floor
                                                                                   floor_tag bytes topics created
                                                                                   push_url_count
  P:{u:*}:gone               hash    deletion         a day once finished          4 fields: push_url_count; until
                                                                                   finished epoch identities sessions
  P:{u:*}:identities         hash    login, link      until unlinked               limits.identities_per_user; twice
                                                                                   while the index changes its key
  P:{u:*}:devices            hash    login            until removed                limits.devices_per_user
  P:{u:*}:push_urls          hash    allow            until revoked                limits.push_urls_per_user
  P:{u:*}:push_url_order     zset    allow            until revoked                as push_urls: number -> id
  P:{u:*}:sites              hash    allow            until revoked                as push_urls: site and key -> id
  P:{u:*}:ghosts             hash    revoke           volatile                     revoked push URLs the log still names
  P:{u:*}:log                stream  every change     volatile                     limits.log_events_per_user
  P:{u:*}:messages           hash    append           volatile                     limits.unread_per_user
  P:{u:*}:unread             zset    append           volatile                     as messages: seq
  P:{u:*}:unread_by_url      zset    append           volatile                     as messages: push URL and seq
  P:{u:*}:bytes_by_url       zset    append           volatile                     limits.push_urls_per_user
  P:{u:*}:expiry             zset    append           volatile                     as messages: seq by expiry
  P:{u:*}:topics             hash    append           volatile                     as messages: push URL and topic
  P:{u:*}:stubs              hash    its end          volatile                     MAX_STUBS: states of dead messages
  P:{u:*}:stub_expiry        zset    its end          volatile                     as stubs
  P:{u:*}:waiters            zset    receipt          a minute after the last look api processes in which somebody waits
  P:{u:*}:presence           hash    hello            30 min, renewed              connections of the user's devices
  P:{u:*}:idem:*             string  append           5 min                        one per push URL and Idempotency-Key
  P:{u:*}:rates              hash    append           while one is not full        as push_urls, and one
  P:identity:*               string  login            until the account goes       one per principal
  P:session:*                string  login            the session                  one per device (two while it renews)
  P:replay:*                 string  login            the assertion                one per assertion in the last minutes
  P:{servers}:seen           hash    heartbeat        until gc buries it           socket servers, the dead for a day
  P:{servers}:rows           hash    heartbeat        until gc buries it           as seen
  P:{servers}:generations    hash    start            for good                     server ids ever used
  P:{servers}:wishes         hash    pushctl drain    until the server goes        as seen
  P:{servers}:judges         hash    whoever judges   for good                     roles that judged in the last hour
  P:{servers}:broadcasts     hash    operators        for good                     MAX_BROADCASTS, the count of changes
  P:{servers}:processes      hash    other roles      until gc forgets it          roles of the last quarter of an hour
  P:{servers}:seats          hash    boxoffice        a minute after a look        Box Offices of the last seconds
  P:{servers}:key_holders    hash    who seals        for good                     roles that reported in the last 15 s
  P:{servers}:key_uses       hash    who seals        for good                     keys ever used, by name
  P:{route:*}                stream  api, socket      a day after the last job     routing.max_jobs, max_job_bytes
  P:{route:*}:bytes          string  api, socket      a day after the last job     one number
  P:{shard:*}:due            zset    append, sweep    until swept                  users with something that expires
  P:{shard:*}:idle           hash    sweep            until the second look        as due
  P:{shard:*}:lease          hash    gc               for good                     3 fields: daemon fence until
  P:{shard:*}:users          set     login            until the account goes       users
  P:repair                   hash    gc               for good                     as a shard's lease
  P:census                   string  gc               for good                     one row
  P:{marker:*}               string  first start      for good                     64: whose registry this is
  P:lease:*                  string  gc               a turn                       gc tasks
  P:{rates:*}:*              zset    api              while one is not full        MAX_BUCKETS: those that are not

"volatile": a day beyond the longest lifetime, or up to an hour less: a change puts the end off when an hour has passed.

On a Cluster the slots fall into as many equal ranges as there are job streams (or shards), and a stream (a shard) lies
in the same range as its users: with one range per master, a master that is away takes nobody else's stream with it.

Owns: the names. Must not know: what is done with them.
"""

import binascii
from functools import lru_cache
from itertools import count

import msgspec

from pushctl.ids import ServerId, SessionHash, UserId
from pushctl.registry.script import Script

SLOTS = 16_384
"""Of a Redis Cluster."""

SHARDS = 16
"""Of the gc index and of the index of users."""

MAX_STUBS = 1000

MAX_BUCKETS = 4096
"""Of one kind in one shard."""


class Keys(msgspec.Struct, frozen=True):
    prefix: str

    def user(self, user: UserId, noun: str) -> str:
        return f"{self.prefix}:{{u:{user}}}:{noun}"

    def of_script(self, script: Script, user: UserId, **special: str) -> list[str]:
        """The keys a user script names, in its order; `special` ones by what was given."""
        return [special.get(noun) or self.user(user, noun) for noun in script.keys]

    def idempotency(self, user: UserId, digest: str) -> str:
        return self.user(user, f"idem:{digest}")

    def identity(self, entry: str) -> str:
        return f"{self.prefix}:identity:{entry}"

    def session(self, session: SessionHash) -> str:
        return f"{self.prefix}:session:{session}"

    def replay(self, digest: str) -> str:
        return f"{self.prefix}:replay:{digest}"

    def servers(self, noun: str) -> str:
        return f"{self.prefix}:{{servers}}:{noun}"

    def route(self, partition: int, partitions: int) -> str:
        return f"{self.prefix}:{{{_tag_in_range('route', partition, partitions)}}}"

    def job_bytes(self, partition: int, partitions: int) -> str:
        return f"{self.route(partition, partitions)}:bytes"

    def marker(self, part: int, parts: int) -> str:
        return f"{self.prefix}:{{{_tag_in_range('marker', part, parts)}}}"

    def shard(self, shard: int, noun: str) -> str:
        """`noun`: due, idle, lease or users."""
        return f"{self.prefix}:{{{_tag_in_range('shard', shard, SHARDS)}}}:{noun}"

    def rates(self, shard: int, kind: str) -> str:
        """Token buckets that processes share."""
        return f"{self.prefix}:{{{_tag_in_range('rates', shard, SHARDS)}}}:{kind}"

    @property
    def census(self) -> str:
        return f"{self.prefix}:census"

    @property
    def repair(self) -> str:
        return f"{self.prefix}:repair"

    def lease(self, name: str) -> str:
        return f"{self.prefix}:lease:{name}"

    def channel(self, server: ServerId | None, partition: int, partitions: int) -> str:
        """The pub/sub channel on which a socket server (None: every one of them) hears of a partition's users. Not a
        key, but in the slot of the partition's job stream: a Cluster of Redis 7 keeps it on that one master."""
        listener = "everyone" if server is None else f"server:{server}"
        return f"{self.route(partition, partitions)}:{listener}"

    def receipts(self, api: str) -> str:
        """The pub/sub channel on which an api process hears whose messages to look at again."""
        return f"{self.prefix}:receipts:{api}"


def slot_of(key: str | bytes) -> int:
    """The slot of a Redis Cluster that holds this key: CRC16 of its hash tag, or of all of it if it has none."""
    raw = key.encode() if isinstance(key, str) else key
    _, opened, rest = raw.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return binascii.crc_hqx(tag if opened and closed and tag else raw, 0) % SLOTS


def shard_of(user: UserId, shards: int = SHARDS) -> int:
    """Which of so many equal ranges of slots holds this user's keys."""
    return slot_of(f"u:{user}") * shards // SLOTS


@lru_cache(maxsize=4096)
def _tag_in_range(noun: str, part: int, parts: int) -> str:
    """A hash tag whose slot lies in the `part`th of so many equal ranges."""
    begin = f"{noun}:{parts}.{part}."
    begun = binascii.crc_hqx(begin.encode(), 0)  # as slot_of; thousands are tried at every start
    return next(f"{begin}{n}" for n in count() if binascii.crc_hqx(b"%d" % n, begun) % SLOTS * parts // SLOTS == part)
