"""The credential a device logs in with: a backed assertion, made with the embedded development identity provider.

Owns: the user's key (made anew for each login, kept nowhere) and the steps from it to an assertion.
Must not know: the store, sessions, whether an assertion will be believed.
"""

import json
import re
from typing import Final

import trio

from pushctl.client.api import Api
from pushctl.client.http import Refused
from pushctl.clock import Clock
from pushctl.errors import Failed
from pushctl.ids import unb64url

CERTIFICATE_SECONDS: Final = 3600
ASSERTION_MS: Final = 120_000

_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]{1,64}")


async def dev_assertion(api: Api, name: str, clock: Clock) -> str:
    """A backed assertion for `name` or `name@dev-idp.localhost`, good for two minutes and one session.

    Failed if the name is none of the provider's, or if the service has the provider off.
    """
    from pushctl.identity.browserid_make import make_assertion, make_bundle, make_key, public_key_json
    from pushctl.identity.issuers import DEV_IDP_DOMAIN

    local_part = name.removesuffix(f"@{DEV_IDP_DOMAIN}")
    if _NAME.fullmatch(local_part) is None:
        raise Failed(
            f"the development identity provider knows names such as alice, not {name!r}: use letters, digits, '_', '.',"
            " '+', '-', or log in with --assertion"
        )
    key = await trio.to_thread.run_sync(make_key)  # 60 ms of CPU and more: too long for the event loop
    try:
        certificate = await api.certificate(f"{local_part}@{DEV_IDP_DOMAIN}", public_key_json(key), CERTIFICATE_SECONDS)
    except Refused as refused:
        if refused.status == 404:
            raise Failed(
                f"{api.audience} has no development identity provider: log in with --assertion, or see whether this is"
                " the right --api"
            ) from None
        raise
    return make_bundle(certificate, make_assertion(key, audience=api.audience, expires_at_ms=clock() + ASSERTION_MS))


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
