"""The keys of a running role: read from where the configuration says, shown to the others, changed while it runs.

Owns: the reports of which keys this role has, and what follows from the answers: the key that seals. Promises: what is
new is sealed only with a key that the registry named in its last answer; a role that lacks a key in use does not start,
or is not ready; a keys file that cannot be read again changes nothing. Names of keys in reports: a sealing key's id;
`user_id:ID`; `index:ID`.
Must not know: how it is decided which key may seal (registry/scripts/report_keys.lua).
"""

import os
import platform
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import takewhile

import trio

from pushctl import __version__
from pushctl.config.model import Identity
from pushctl.errors import ConfigError, StoreUnavailable, Unreachable
from pushctl.identity.keys import Keys
from pushctl.identity.peers import PeerKeys
from pushctl.identity.sealing import Sealer
from pushctl.ids import new_id
from pushctl.log import get_logger
from pushctl.reasons import Code, Reason
from pushctl.registry import Registry
from pushctl.registry.key_holders import REPORT_SECONDS, About, Report, Told


def report_of(keys: Keys) -> Report:
    """What a role with these keys says it has, and what it would seal with."""
    sealing = keys.sealing_keys
    index = [f"index:{key.id}" for key in keys.index_keys]
    return Report(
        known=[*(key.id for key in sealing), *(f"user_id:{key.id}" for key in keys.user_id_keys), *index],
        seals=[key.id for key in sealing if key.state == "seals"],
        opens=[key.id for key in sealing if key.state != "seals"],
        claims=index[:1],
    )


class KeyRing:
    """`sealer` and `peers` are the role's for as long as it runs, whatever becomes of the file."""

    def __init__(self, identity: Identity, role: str, label: str) -> None:
        """Raises ConfigError."""
        self._identity = identity
        self.keys = Keys.needed(identity)
        self.sealer = Sealer(self.keys)
        self.sealer.seal_with(None)
        self.peers = PeerKeys(self.keys)
        self._about = About(role, label, platform.node(), os.getpid(), __version__)
        self._id = f"{role}-{new_id()}"
        self._told: Told | None = None
        self._changed = trio.Event()
        self._reporting = trio.CancelScope()
        self._log = get_logger(role=role)

    @asynccontextmanager
    async def shown(self, registry: Registry) -> AsyncIterator[None]:
        """While the block lasts the others see which keys this role has. Raises Unreachable if they use one that it
        lacks; without an answer it goes on asking, and seals nothing new until there is one."""
        await self._report(registry)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_reporting, registry)
            yield
            nursery.cancel_scope.cancel()

    async def leave(self, registry: Registry) -> None:
        """The role has drained and needs its keys no more: nobody need wait for it."""
        self._reporting.cancel()
        with suppress(StoreUnavailable):
            await registry.key_holders.leave(self._id)

    async def _keep_reporting(self, registry: Registry) -> None:
        with self._reporting:
            while True:
                with trio.move_on_after(REPORT_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311 - jitter is no secret
                    await self._changed.wait()
                self._changed = trio.Event()
                await self._report(registry)

    async def _report(self, registry: Registry) -> None:
        starting = self._told is None
        keys = self.keys
        try:
            told = await registry.key_holders.report(self._id, report_of(keys), self._about, starting=starting)
        except StoreUnavailable as error:
            self._log.warning("keys_not_reported", detail=error.detail)
            return
        if told.refused:
            raise Unreachable(
                f"this role's keys lack what others use by now: {', '.join(told.lacks)}; give it the current keys file"
            )
        if keys is self.keys:  # else the file was read again meanwhile, and the next answer counts
            self._hear(told)

    def _hear(self, told: Told) -> None:
        before, self._told = self._told, told
        self.sealer.seal_with(told.seal_with)
        if told.seal_with is not None:
            self.peers.sign_with(told.seal_with)
        if before is None or before.seal_with != told.seal_with:
            self._log.info("seals_with", key_id=told.seal_with)
        if told.lacks and (before is None or before.lacks != told.lacks):
            self._log.error("keys_lacking", key_ids=list(told.lacks))

    def reload(self) -> None:
        """Read the keys again. What cannot be used is logged, and the old ones stay."""
        try:
            keys = Keys.needed(self._identity)
            if keys.installation != self.keys.installation:
                raise ConfigError([f"identity.keys_file: of another installation, {keys.installation}"])
        except ConfigError as error:
            self._log.error("keys_not_reloaded", detail=str(error))
            return
        self.keys = keys
        self.sealer.use(keys)
        self.peers.use(keys)
        if self._told is not None and self._told.seal_with not in report_of(keys).known:
            self.sealer.seal_with(None)
        self._changed.set()
        self._log.info("keys_reloaded", key_ids=list(report_of(keys).known))

    def states(self) -> dict[str, int]:
        """Sealing keys of this role, by what they do: `seals` what is new; `waits`: would, once every role has it;
        `opens`."""
        seals = self._told.seal_with if self._told is not None else None
        wanted = [key.id for key in self.keys.sealing_keys if key.state == "seals"]
        waits = list(takewhile(lambda key_id: key_id != seals, wanted))
        opens = [key.id for key in self.keys.sealing_keys if key.id != seals and key.id not in waits]
        return {"seals": int(seals is not None), "waits": len(waits), "opens": len(opens)}

    def lacking(self) -> int:
        """How many keys others use that this role has not."""
        return len(self._told.lacks) if self._told is not None else 0

    def not_ready(self) -> list[Reason]:
        """Why the role cannot do its work, as far as keys go; see Role.not_ready."""
        if self._told is None:
            return [Reason(Code.KEYS_UNSETTLED, "the registry has not said yet which key may seal")]
        reasons = []
        if self._told.lacks:
            lacks = ", ".join(self._told.lacks)
            detail = f"its keys lack {lacks}, which others use: give it the current keys file, then SIGHUP"
            reasons.append(Reason(Code.KEYS_LACKING, detail))
        if self._told.seal_with is None:
            reasons.append(Reason(Code.KEYS_NONE_SEALS, "none of its keys may seal: see `pushctl keys status`"))
        return reasons
