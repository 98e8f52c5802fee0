"""Bringing keys in and taking them out while the service runs: what may be done next, and whom it would hurt.

Owns: the steps of a rotation, by what running roles report, and the walks that find what hangs on a key. Promises: a
step that would hurt is refused with what it would hurt and who is in the way; an old key leaves the keys file only when
nothing is sealed with it any more that somebody has.
Must not know: files, terminals; how roles report (keyring.py) and what they are told (registry/key_holders.py).
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from typing import Literal

import msgspec

from pushctl.clock import rfc3339
from pushctl.config.model import Config
from pushctl.errors import NotGood
from pushctl.identity.keys import Key, Keys
from pushctl.ids import UserId
from pushctl.registry import Registry
from pushctl.registry.key_holders import KeyHolder, Use
from pushctl.registry.keyspace import COUNT, Found
from pushctl.registry.store import DAY_MS, LOG_MARGIN_MS

Kind = Literal["sealing", "user_id", "identity_index"]
OnShare = Callable[[float], None]
"""Told how much of a walk is done, from 0 to 1."""

FIRST = "first"
"""What the key of the first file is called, which has no id of its own."""


class KeyStatus(msgspec.Struct, frozen=True):
    """Where a key stands: `pushctl keys status --json`. Roles are `role label@host/pid`."""

    kind: Kind
    id: str
    in_file: bool
    state: str
    """seals, opens (of sealing keys); first, older (of others); retired"""
    used_since: str | None
    """When it was first used, as far as Redis knows; null: it was not"""
    used_until: str | None
    roles_with: list[str]
    roles_without: list[str]
    sealing_roles: list[str]
    """Those that seal with it now."""
    push_urls: int | None = None
    """Sealed with it, if they were counted."""


def named(key_id: str, kind: Kind) -> str:
    """A key's name in reports; see keyring.py."""
    prefix = {"sealing": "", "user_id": "user_id:", "identity_index": "index:"}[kind]
    return prefix + ("" if key_id == FIRST else key_id)


def keys_of(keys: Keys) -> list[tuple[Kind, Key]]:
    """All of the file, the index key of the first file as FIRST."""
    index = [replace(key, id=key.id or FIRST) for key in keys.index_keys]
    parts: tuple[tuple[Kind, Collection[Key]], ...] = (
        ("sealing", keys.sealing_keys),
        ("user_id", keys.user_id_keys),
        ("identity_index", index),
    )
    return [(kind, key) for kind, some in parts for key in some]


def shown(holder: KeyHolder) -> str:
    about = holder.about
    return f"{about.role} {about.label}@{about.host}/{about.pid}"


async def status(registry: Registry, keys: Keys, push_urls: "Counter[str] | None" = None) -> list[KeyStatus]:
    """Every key of the file, and those that only Redis knows of. `push_urls`: as `count_push_urls` found them."""
    running, uses = await registry.key_holders.running(), await registry.key_holders.uses()
    found = keys_of(keys)
    rows = [_status(kind, key.id, _state(keys, kind, key), running, uses, push_urls) for kind, key in found]
    known = {named(key.id, kind) for kind, key in found}
    for name in sorted(uses.keys() - known):
        kind: Kind = "identity_index" if name.startswith("index:") else "sealing"
        rows.append(_status(kind, name.removeprefix("index:") or FIRST, None, running, uses, push_urls))
    return rows


def _state(keys: Keys, kind: Kind, key: Key) -> str:
    if kind == "sealing":
        return key.state or "opens"
    first = keys.user_id_keys[0].id if kind == "user_id" else keys.index_id or FIRST
    return "first" if key.id == first else "older"


def _status(
    kind: Kind,
    key_id: str,
    state: str | None,
    running: list[KeyHolder],
    uses: dict[str, Use],
    push_urls: "Counter[str] | None",
) -> KeyStatus:
    name = named(key_id, kind)
    use = uses.get(name)
    retired = use is not None and use.retired_ms > 0
    return KeyStatus(
        kind,
        key_id,
        state is not None,
        "retired" if retired else state or "not in the file",
        rfc3339(use.first_ms) if use else None,
        rfc3339(use.last_ms) if use else None,
        [shown(holder) for holder in running if name in holder.known],
        [shown(holder) for holder in running if name not in holder.known],
        [shown(holder) for holder in running if holder.seals_with == name],
        push_urls[key_id] if push_urls is not None and kind == "sealing" else None,
    )


# --- bringing in -----------------------------------------------------------------------------------------------------


def with_new(keys: Keys, kind: Kind) -> tuple[Keys, Key]:
    """The first step: the keys with one more. A new sealing key only opens. NotGood while the index is on its way."""
    key = Key.generate("opens" if kind == "sealing" else None)
    if kind == "sealing":
        return keys.with_sealing(*keys.sealing_keys, key), key
    if kind == "user_id":
        return replace(keys, user_id_keys=(key, *keys.user_id_keys)), key
    if keys.older_index_keys:
        raise NotGood("the identity index already moves to a new key: see `pushctl keys status`")
    return keys.with_index(key, *keys.index_keys), key


async def check_none_waits(registry: Registry, keys: Keys) -> None:
    """Before one more sealing key: raises NotGood if the last one has not got to its second step."""
    for key in await _waiting(registry, keys):
        raise NotGood(
            f"{key.id} was brought in before, and has not sealed yet: `pushctl keys rotate sealing --continue`, or "
            f"take it out (`pushctl keys retire {key.id}`); --force for another one all the same"
        )


async def pending(registry: Registry, keys: Keys) -> Key:
    """The sealing key that was brought in and has never sealed: the newest. Raises NotGood."""
    waiting = await _waiting(registry, keys)
    if not waiting:
        raise NotGood("no new sealing key waits: `pushctl keys rotate sealing` brings one in")
    return waiting[-1]


async def _waiting(registry: Registry, keys: Keys) -> list[Key]:
    uses = await registry.key_holders.uses()
    return [key for key in keys.sealing_keys if key.state == "opens" and key.id not in uses]


async def check_everybody_has(registry: Registry, key: Key) -> int:
    """Whether every role that runs has this sealing key; how many those are. NotGood names those that lack it."""
    running = await registry.key_holders.running()
    without = [shown(holder) for holder in running if key.id not in holder.known]
    if without:
        raise NotGood(
            f"{key.id} only opens, for these roles lack it: {', '.join(without)}. Give them the file, and send them "
            "SIGHUP or restart them"
        )
    return len(running)


def promoted(keys: Keys, key_id: str) -> Keys:
    """The second step: this key seals, all others open."""
    key = next(key for key in keys.sealing_keys if key.id == key_id)
    others = (replace(other, state="opens") for other in keys.sealing_keys if other.id != key_id)
    return keys.with_sealing(replace(key, state="seals"), *others)


# --- taking out ------------------------------------------------------------------------------------------------------


def quiet_ms(config: Config) -> int:
    """How long a sealing key must not have sealed: messages live for so long at most (`messages.max_lifetime_seconds`),
    what is left of them in logs an hour and a day longer."""
    return config.messages.max_lifetime_seconds * 1000 + LOG_MARGIN_MS + DAY_MS


async def retire_sealing(registry: Registry, config: Config, key_id: str, *, force: bool, on_share: OnShare) -> int:
    """Take a sealing key out of use, and make sure that no push URL hangs on it; how many do (0, unless forced).
    NotGood: it stays. From the first step on no role begins to seal with it, so none can be made during the walk."""
    retired = await registry.key_holders.retire(key_id, quiet_ms=quiet_ms(config), force=force)
    if retired.used_by:
        raise NotGood(f"{key_id} seals: {', '.join(retired.used_by)} use it; `pushctl keys rotate sealing` first")
    if not retired.done:
        raise NotGood(
            f"messages may be sealed with {key_id} for {retired.early_ms / 3_600_000:.1f} hours more: they, and what "
            f"is left of them, live for {quiet_ms(config) / 3_600_000:g} hours from when it last sealed"
        )
    left = (await count_push_urls(registry, on_share))[key_id]
    if left and not force:
        # It opens, so roles must not start without it.
        await registry.key_holders.reprieve(key_id, retired.before)
        raise NotGood(
            f"{left:,} live push URLs are sealed with {key_id}: they would answer 503 for good. It may go when their "
            "sites have been given new ones; --force if it must go now"
        )
    return left


async def count_push_urls(registry: Registry, on_share: OnShare) -> "Counter[str]":
    """How many live push URLs each sealing key sealed, by a walk over all keys: indexes may have lost users."""
    counts: Counter[str] = Counter()
    async for found in _walk(registry, on_share):
        counts += await registry.push_urls.sealed_with(list(found.allowing))
    return counts


Owned = tuple[str, UserId | None]
"""An entry of the identity index, and the user to whom it leads; None: it has just gone."""


async def unmoved(registry: Registry, keys: Keys, key_id: str, on_share: OnShare) -> tuple[int, list[Owned]]:
    """(Users whom the identity index knows under this older key only, all entries under it and whose they are.)"""
    newest = keys.index_id
    entries: list[Owned] = []
    missing: Counter[UserId] = Counter()
    async for found in _walk(registry, on_share):
        users = await registry.sessions.users_of(found.entries)
        for entry, user in zip(found.entries, users, strict=True):
            under = entry.partition(".")[0] if "." in entry else FIRST
            if under == key_id:
                entries.append((entry, user))
            if user is not None and under in (key_id, newest):
                missing[user] += 1 if under == key_id else -1
    return sum(left > 0 for left in missing.values()), entries


async def _walk(registry: Registry, on_share: OnShare) -> AsyncIterator[Found]:
    """All keys of all masters, a few at a time."""
    masters = await registry.keyspace.masters()
    steps, all_steps = 0, max(1.0, sum(masters.values()) / COUNT)
    for master in masters:
        cursor = -1
        while cursor:
            cursor, found = await registry.keyspace.step(master, max(cursor, 0))
            steps += 1
            on_share(min(1.0, steps / all_steps))
            yield found


async def retire_index(registry: Registry, keys: Keys, key_id: str, *, force: bool, on_share: OnShare) -> int:
    """Remove what the identity index holds under an older key; how many users it knew under that key only (0, unless
    forced: then they are found as new ones, under the id that the first user_id key makes). NotGood: all stays."""
    without = [
        shown(holder)
        for holder in await registry.key_holders.running()
        if named(keys.index_id, "identity_index") not in holder.known
    ]
    if without:
        raise NotGood(f"these roles have only the old key of the identity index: {', '.join(without)}")
    left, entries = await unmoved(registry, keys, key_id, on_share)
    if left and not force:
        raise NotGood(
            f"{left:,} users have not logged in since: nobody would find their inboxes; --force to give them up"
        )
    await registry.key_holders.retire(named(key_id, "identity_index"), quiet_ms=0, force=True)
    for at in range(0, len(entries), COUNT):
        some = entries[at : at + COUNT]
        await registry.sessions.forget_entries([entry for entry, _ in some])
        # Or repair would put them back.
        await registry.identities.drop_entries([(user, entry) for entry, user in some if user is not None])
    return left


def without(keys: Keys, key_id: str) -> Keys:
    """The keys without this one, which is not the one in use."""
    older = (key for key in keys.older_index_keys if (key.id or FIRST) != key_id)
    return replace(
        keys,
        sealing_keys=tuple(key for key in keys.sealing_keys if key.id != key_id),
        user_id_keys=tuple(key for key in keys.user_id_keys if key.id != key_id),
        older_index_keys=tuple(older),
    )
