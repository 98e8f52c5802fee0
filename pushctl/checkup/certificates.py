"""The certificates of public listeners: do their files serve, and for how long.

Owns: what is worth a word. Must not know: how a listener uses them (pushctl/tls.py).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from pushctl.checkup.configuration import Here
from pushctl.checkup.finding import Finding, bad, ok, warn
from pushctl.config.check import tls_on
from pushctl.config.model import ROLE_NAMES, Config, RoleName
from pushctl.errors import ConfigError
from pushctl.tls import SOON, ends_at, files_of, make_context

_RENEW: Final = "put new files in their place, then send SIGHUP to the role"


async def check_tls(here: Here) -> Iterable[Finding]:
    """Of every public listener that speaks TLS itself."""
    found = [_of(here.config, role) for role in here.roles or ROLE_NAMES if tls_on(here.config, role)]
    return found or [ok("no listener here speaks it; a proxy in front may")]


def _of(config: Config, role: RoleName) -> Finding:
    files = files_of(config, role)
    try:
        make_context(files)
    except ConfigError as error:
        return bad("; ".join(error.mistakes), "The role does not start; one that runs keeps the files it has read.")
    ends, now = ends_at(files.certificate), datetime.now(UTC)
    found = f"{role}: {files.certificate} is good until {ends:%Y-%m-%d}"
    if ends <= now:
        return bad(f"{role}: {files.certificate} ended on {ends:%Y-%m-%d}", "Clients do not connect to it.", _RENEW)
    if ends <= now + SOON:
        return warn(found, "From then on clients do not connect.", _RENEW)
    return ok(found)
