"""Who may vouch for a log-in here, by name: what a session's provider must be for the session to stand.

Owns: which providers the configuration lets in, built in or named there. Must not know: how they vouch.
"""

from pushctl.config.check import dev_idp_on
from pushctl.config.model import Config
from pushctl.config.oidc_rules import active_providers
from pushctl.identity.principals import BROWSERID, BROWSERID_DEV


def providers_of(config: Config) -> frozenset[str]:
    """The names that `Login.provider` may have under this configuration."""
    return frozenset(
        [
            *([BROWSERID] if config.identity.browserid.enabled else []),
            *([BROWSERID_DEV] if dev_idp_on(config) else []),
            *(provider.name for provider in active_providers(config)),
        ]
    )
