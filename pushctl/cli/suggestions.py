"""What a shell suggests for the values of options and arguments, beside the choices that they say themselves.

Owns: profiles, roles, sections, configuration keys. Promises: a suggestion asks nobody and changes nothing, so it comes
at once; what only Redis knows (server ids, users) is not suggested.
Must not know: what the values are for. Nothing is imported before a shell asks.
"""

import os
from collections.abc import Iterable


def profiles(incomplete: str) -> list[str]:
    """The profiles that this user has."""
    from pushctl.client.profile import known_profiles

    return _beginning(known_profiles(os.environ), incomplete)


def roles(incomplete: str) -> list[str]:
    from pushctl.config.model import ROLE_NAMES

    return _beginning(ROLE_NAMES, incomplete)


def config_keys(incomplete: str) -> list[str]:
    """Keys and tables of the configuration."""
    from pushctl.config.schema import keys, tables

    return _beginning((*tables(), *keys()), incomplete)


def assignments(incomplete: str) -> list[str]:
    """For `--set`: every key with its equals sign."""
    from pushctl.config.schema import UNSAID, keys

    return _beginning((f"{path}=" for path in keys() if path not in UNSAID), incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
