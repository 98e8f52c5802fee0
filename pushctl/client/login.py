"""The credential a device logs in with: a backed assertion, made with the embedded development identity provider; and
whom a credential speaks for. (Tokens of other providers: oidc.py.)

Owns: the user's key (made anew for each login, kept nowhere) and the steps from it to an assertion.
Must not know: the store, sessions, whether an assertion will be believed.
"""

import json
import re
from typing import TYPE_CHECKING, Final

import trio

from pushctl.client.api import Api
from pushctl.client.http import Refused
from pushctl.client.oidc import claims_of
from pushctl.clock import Clock
from pushctl.errors import Failed
from pushctl.ids import unb64url

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

CERTIFICATE_SECONDS: Final = 3600
ASSERTION_MS: Final = 120_000

_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]{1,64}")


async def dev_assertion(api: Api, name: str, clock: Clock) -> str:
    """A backed assertion for `name` or `name@dev-idp.localhost`, good for two minutes and one session.

    Failed if the name is none of the provider's, or if the service has the provider off.
    """
    from pushctl.identity.browserid_make import make_key

    local_part_of(name)  # before the key is made
    key = await trio.to_thread.run_sync(make_key)  # 60 ms of CPU and more: too long for the event loop
    return assertion_by(key, await dev_certificate(api, name, key), api.audience, clock)


def local_part_of(name: str) -> str:
    """Failed if the name is none of the development identity provider's."""
    from pushctl.identity.issuers import DEV_IDP_DOMAIN

    local_part = name.removesuffix(f"@{DEV_IDP_DOMAIN}")
    if _NAME.fullmatch(local_part) is None:
        raise Failed(
            f"the development identity provider knows names such as alice, not {name!r}: use letters, digits, '_', '.',"
            " '+', '-', or log in with --assertion"
        )
    return local_part


async def dev_certificate(api: Api, name: str, key: "RSAPrivateKey") -> str:
    """The provider's word that `name` holds `key`, good for CERTIFICATE_SECONDS. Failed as `dev_assertion`."""
    from pushctl.identity.browserid_make import public_key_json
    from pushctl.identity.issuers import DEV_IDP_DOMAIN

    email = f"{local_part_of(name)}@{DEV_IDP_DOMAIN}"
    try:
        return await api.certificate(email, public_key_json(key), CERTIFICATE_SECONDS)
    except Refused as refused:
        if refused.status == 404:
            raise Failed(
                f"{api.audience} has no development identity provider: log in with --provider or --assertion, or see "
                "whether this is the right --api"
            ) from None
        raise


def assertion_by(key: "RSAPrivateKey", certificate: str, audience: str, clock: Clock) -> str:
    """A backed assertion by whoever holds `key`: one certificate backs any number of them."""
    from pushctl.identity.browserid_make import make_assertion, make_bundle

    return make_bundle(certificate, make_assertion(key, audience=audience, expires_at_ms=clock() + ASSERTION_MS))


def account_of(assertion: str) -> str:
    """The address a backed assertion speaks for, not verified: only to know our own device again. Failed for what is no
    backed assertion."""
    try:
        claims = json.loads(unb64url(assertion.split("~")[0].split(".")[1]))
        email = claims["principal"]["email"]
        if not isinstance(email, str):
            raise TypeError
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):
        raise Failed("this is no backed BrowserID assertion (certificate~assertion)") from None
    return email


def account_of_token(token: str) -> str:
    """The same of an OIDC token: its issuer and subject."""
    claims = claims_of(token)
    return f"{claims.get('iss')} {claims.get('sub')}"
