"""The development identity provider: real certificates for `<name>@dev-idp.localhost`, without a password.

Owns: its key (in memory only; a restart makes old certificates void) and what it will certify.
Promises: certifies nobody outside its reserved domain. What it signs goes through the ordinary verifier, which knows it
as one more issuer; there is no other way in. Imported only while the provider is on.
Must not know: HTTP. The routes, and who may reach them, are the api role's.
"""

import re
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicNumbers

from pushctl.errors import BodyInvalid
from pushctl.identity.browserid_make import make_certificate, make_key, public_key_json
from pushctl.identity.issuers import DEFAULT_ALGORITHMS, DEV_IDP_DOMAIN
from pushctl.identity.public_keys import parse_public_key
from pushctl.identity.support import Authority

SIGN_IN_PATH = "/dev/browserid/sign_in"
PROVISION_PATH = "/dev/browserid/provision"

DEFAULT_SECONDS = 3600
_LEAST_SECONDS = 60
_MOST_SECONDS = 86_400
_BACKDATED_MS = 10_000
"""Other verifiers allow no skew at all between their clock and ours."""

_NAME = re.compile(rf"[A-Za-z0-9_.+-]{{1,64}}@{re.escape(DEV_IDP_DOMAIN)}", re.ASCII)


class DevIdp:
    """Certifies whoever asks. The constructor takes the key; `generate` makes one (60 ms of CPU)."""

    domain = DEV_IDP_DOMAIN

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key
        self._public_key = public_key_json(key)

    @classmethod
    def generate(cls) -> "DevIdp":
        return cls(make_key())

    @property
    def authority(self) -> Authority:
        """For the verifier's table, under `domain`."""
        return Authority(self.domain, (parse_public_key(self._public_key, DEFAULT_ALGORITHMS),))

    def document(self) -> dict[str, object]:
        """The support document (`/.well-known/browserid`). It must name two pages, which no browser opens by itself."""
        return {"public-key": self._public_key, "authentication": SIGN_IN_PATH, "provisioning": PROVISION_PATH}

    def certificate(self, email: str, public_key: Mapping[str, object], duration_seconds: int, now_ms: int) -> str:
        """A certificate that lives `duration_seconds` (60 s to a day), from 10 s before `now_ms`.

        `public_key`: `{"algorithm": "RS", "n": "<decimal>", "e": "65537"}`, nothing else. Raises BodyInvalid with the
        field, as in the body of `POST /dev/browserid/certificate`.
        """
        if _NAME.fullmatch(email) is None:
            raise BodyInvalid(f"give an address such as alice@{DEV_IDP_DOMAIN}", field="$.email")
        certified = _certified_key(public_key)
        if not _LEAST_SECONDS <= duration_seconds <= _MOST_SECONDS:
            raise BodyInvalid(f"give {_LEAST_SECONDS} to {_MOST_SECONDS} seconds", field="$.duration_seconds")
        issued_at_ms = now_ms - _BACKDATED_MS
        return make_certificate(
            self._key,
            issuer=DEV_IDP_DOMAIN,
            email=email,
            public_key=certified,
            issued_at_ms=issued_at_ms,
            expires_at_ms=issued_at_ms + duration_seconds * 1000,
        )


def _certified_key(members: Mapping[str, object]) -> dict[str, str]:
    """The key anew from its numbers, so that nothing else of what was sent gets signed."""
    if members.keys() != {"algorithm", "n", "e"} or members["algorithm"] != "RS":
        raise BodyInvalid('give {"algorithm": "RS", "n": "<decimal>", "e": "65537"}', field="$.public_key")
    if members["e"] != "65537":
        raise BodyInvalid('only "65537" is certified', field="$.public_key.e")
    try:
        key = parse_public_key(members, DEFAULT_ALGORITHMS)
    except ValueError:
        key = None
    if key is None or key.algorithm != "RS256" or not isinstance(key.numbers, RSAPublicNumbers):
        raise BodyInvalid("give the odd modulus of an RSA-2048 key in decimal", field="$.public_key.n")
    return {"algorithm": "RS", "n": str(key.numbers.n), "e": str(key.numbers.e)}
