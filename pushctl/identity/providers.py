"""Who may vouch for a log-in here, by name: what a session's provider must be for the session to stand.

Owns: the names of what is built in, and which providers the configuration lets in. Must not know: how they vouch.
"""

from pushctl.config.check import dev_idp_on
from pushctl.config.model import Config
from pushctl.identity.principals import BROWSERID, BROWSERID_DEV


def providers_of(config: Config) -> frozenset[str]:
    """The names that `Login.provider` may have under this configuration."""
    return frozenset([BROWSERID, *([BROWSERID_DEV] if dev_idp_on(config) else [])])
