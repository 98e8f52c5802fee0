"""Other people's senders, used as their documentation says: pywebpush (PyPI) and web-push (npm).

Owns: how each is called. What they answer with is put on one form.
Must not know: what is tested.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pywebpush
import requests
import trio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pushctl.ids import b64url
from pushctl.webpush.encryption import Subscription
from pushctl.webpush.signing import VapidKey

NPM = Path(__file__).with_name("web_push")
CONTACT = "mailto:ops@news.example"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: str


class Sender(Protocol):
    async def __call__(
        self, to: Subscription, payload: str | None, *, encoding: str, key: VapidKey | None, authority: Path
    ) -> Answer:
        """`key`: sign with it; `authority`: the certificate that servers are believed by."""
        ...


async def python(
    to: Subscription, payload: str | None, *, encoding: str, key: VapidKey | None, authority: Path
) -> Answer:
    """pywebpush, which is synchronous."""
    call = partial(_python, to, payload, encoding, key, authority)
    return await trio.to_thread.run_sync(call)


def _python(to: Subscription, payload: str | None, encoding: str, key: VapidKey | None, authority: Path) -> Answer:
    with requests.Session() as session:
        session.verify = str(authority)
        session.trust_env = False
        signed: dict[str, Any] = {}
        if key is not None:
            private = key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            signed = {"vapid_private_key": b64url(private), "vapid_claims": {"sub": CONTACT}}
        try:
            answer = pywebpush.webpush(
                msgspec.to_builtins(to),
                payload,
                content_encoding=encoding,
                ttl=60,
                requests_session=session,
                timeout=10,
                **signed,
            )
        except pywebpush.WebPushException as refused:
            answer = refused.response
        assert isinstance(answer, requests.Response)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status_code, headers, answer.text)


async def javascript(
    to: Subscription, payload: str | None, *, encoding: str, key: VapidKey | None, authority: Path
) -> Answer:
    """web-push, in a Node.js of its own."""
    options: dict[str, Any] = {"contentEncoding": encoding, "TTL": 60}
    if key is not None:
        private = b64url(key.private.private_numbers().private_value.to_bytes(32))
        options["vapidDetails"] = {"subject": CONTACT, "publicKey": key.public, "privateKey": private}
    asked = {"subscription": msgspec.to_builtins(to), "payload": payload, "options": options}
    ran = await trio.run_process(
        ["node", str(NPM / "send.js")],
        stdin=json.dumps(asked).encode(),
        capture_stdout=True,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(authority)},
    )
    said = json.loads(ran.stdout)
    return Answer(said["statusCode"], said["headers"], said["body"])
