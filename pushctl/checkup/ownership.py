"""Whose registry it is: does Redis hold the marker of the keys file's installation?

Owns: what is said of a master that does not. Must not know: how markers are kept (registry/installation.py).
"""

from collections.abc import Iterable

from pushctl.checkup.finding import Finding, bad, ok, unknown
from pushctl.checkup.masters import Master
from pushctl.errors import ConfigError
from pushctl.identity.keys import installation_of


async def check_installation(master: Master) -> Iterable[Finding]:
    config = master.config
    try:
        installation = installation_of(config.identity)
    except ConfigError:
        installation = None  # check_keys_file says why
    if installation is None:
        return [unknown("no keys file", "Nothing to compare with: see identity.keys_file above.")]
    if await master.registry.is_unused(installation):
        if config.redis.adopt_empty:
            return [ok("nobody has used it yet: the first role that starts adopts it")]
        return [bad("nobody has used it yet", "No role starts on it.", "pushctl doctor --adopt")]
    problem = (await master.registry.verdicts(installation)).get(master.address)
    if problem is None:
        return [ok(f"it is {installation}'s")]
    return [bad(f"it is not installation {installation}'s: no role uses it, senders get 503", problem)]
