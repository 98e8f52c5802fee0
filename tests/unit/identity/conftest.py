"""Keys, made once: generating RSA is what is slow here."""

import pytest

from pushctl.identity.keys import Keys
from tests.unit.identity.bundles import KeyRing


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    return KeyRing.make()


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys.generate()
