"""Keys, made once: generating RSA is what is slow here."""

import pytest

from pushctl.identity.keys import Keys
from tests.unit.identity.bundles import KeyRing
from tests.unit.identity.tokens import Signer


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    return KeyRing.make()


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys.generate()


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer.make()
