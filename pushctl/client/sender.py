"""A third party: one message to one push URL, and what became of it (docs/protocol.md, section 2).

Owns: the request a push is, the meaning of its answers, and waiting for a state.
Promises: 410 says that the user revoked the push URL; no error text holds the push URL, which is a secret.
Must not know: the command line; the client API (a third party has no account).
"""

import math
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx
import msgspec
import trio
from msgspec import Struct, structs

from pushctl.client.foreign import printable
from pushctl.client.http import ANSWER_SECONDS, NoRoom, Refused, decoded, origin_of, request
from pushctl.clock import system_clock
from pushctl.errors import Failed, NotGood, PushctlError
from pushctl.protocol.frames import Notification, Urgency
from pushctl.webpush.encryption import MAX_PLAINTEXT_BYTES, SubscriptionKeys, seal_message
from pushctl.webpush.signing import VapidKey

WaitFor = Literal["delivered", "read"]

_REACHED: Final[dict[WaitFor, tuple[str, ...]]] = {"delivered": ("delivered", "read"), "read": ("read",)}
_DEAD: Final = ("expired", "replaced", "cancelled", "evicted")

LONGEST_SECONDS: Final = 2_419_200
"""What an encrypted message says if nothing was said: it must say something, and every service cuts it to its own."""

RECEIPT_RELATION: Final = "urn:ietf:params:push:receipt"
RECEIPT_SECONDS: Final = 30
"""A request for a receipt waits so long; then it is asked again."""

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0
PAUSE_GROWTH: Final = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What to send. `notification` None = an empty push. `ttl_seconds` None = as long as the service keeps messages."""

    notification: Notification | None = None
    ttl_seconds: int | None = None
    topic: str | None = None
    urgency: Urgency | None = None
    idempotency_key: str | None = None
    encrypt_for: SubscriptionKeys | None = None
    """Only the device with these keys can read it (RFC 8291)."""
    sign_with: VapidKey | None = None
    receipt: bool = False
    """Ask for a receipt: somebody will wait for the delivery."""
    contact: str | None = None
    """Whom the push service can ask about the sender: a mailto: or https: URL."""


class Sent(Struct, frozen=True, omit_defaults=True):
    """The service took it. `location` and `receipt` are absolute. `state`: `stored`, or what was waited for;
    `ephemeral` for TTL 0, which is given to whoever is connected and not stored."""

    id: str
    location: str
    ttl_seconds: int
    state: str
    receipt: str | None = None


class _State(Struct, frozen=True):
    state: str


async def send(client: httpx.AsyncClient, push_url: str, push: Push) -> Sent:
    """One POST, bounded by the caller (trio.fail_after). Never repeated here: whether a connection that broke had
    stored it, only an idempotency key can tell.

    Raises Failed (410: revoked; other refusals) or Unreachable (no connection; 429, 503).
    """
    headers, content = _content(push)
    if push.sign_with is not None:
        headers["Authorization"] = push.sign_with.authorization(push_url, system_clock(), push.contact)
    if push.ttl_seconds is not None:
        headers["TTL"] = str(push.ttl_seconds)
    if push.topic is not None:
        headers["Topic"] = push.topic
    if push.urgency is not None:
        headers["Urgency"] = push.urgency
    if push.idempotency_key is not None:
        headers["Idempotency-Key"] = push.idempotency_key
    if push.receipt:
        headers["Prefer"] = "respond-async"
    try:
        answer = await request(client, "POST", push_url, headers=headers, content=content, seconds=math.inf)
    except Refused as refused:
        raise _explained(refused, origin_of(push_url)) from None
    location, ttl = answer.headers.get("Location"), answer.headers.get("TTL", "")
    if location is None or not (ttl.isascii() and ttl.isdigit()):
        raise Failed(f"{origin_of(push_url)} does not answer like a push service: no Location or no TTL")
    ttl_seconds = int(ttl)
    receipt = answer.links.get(RECEIPT_RELATION, {}).get("url")
    return Sent(
        id=urlsplit(location).path.rstrip("/").rpartition("/")[2],
        location=str(httpx.URL(push_url).join(location)),
        ttl_seconds=ttl_seconds,
        state="stored" if ttl_seconds > 0 else "ephemeral",
        receipt=str(httpx.URL(push_url).join(receipt)) if receipt is not None else None,
    )


def _content(push: Push) -> tuple[dict[str, str], bytes]:
    """Headers and body. An encrypted message that is only a body is its text: what a page's service worker reads."""
    if push.notification is None:
        return {}, b""
    members = msgspec.structs.asdict(push.notification)
    said = {name: value for name, value in members.items() if value is not None}
    if push.encrypt_for is None:
        return {"Content-Type": "application/json"}, msgspec.json.encode(said)
    plaintext = said["body"].encode() if said.keys() == {"body"} else msgspec.json.encode(said)
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise Failed(f"an encrypted message has at most {MAX_PLAINTEXT_BYTES} bytes, not {len(plaintext)}")
    headers = {"Content-Encoding": "aes128gcm", "Content-Type": "application/octet-stream", "TTL": str(LONGEST_SECONDS)}
    return headers, seal_message(plaintext, push.encrypt_for)


async def wait_for(client: httpx.AsyncClient, sent: Sent, state: WaitFor) -> Sent:
    """The message once it is delivered or read. Bounded by the caller (trio.fail_after).

    The receipt says at once when it is delivered. What comes after that no receipt tells, and a service may give none:
    then this polls, the only thing here that does. The pause grows, so that a long wait for a reader costs the service
    one question every two seconds. Raises NotGood if the message dies before.
    """
    pause, receipt = FIRST_PAUSE_SECONDS, sent.receipt
    while True:
        try:
            answer = await _state(client, sent, receipt)
        except NoRoom as busy:
            # It was asked not to be asked for a while; the message may be on its way all the same.
            pause = max(pause, busy.retry_after_seconds or 0.0)
        else:
            if answer.state in _REACHED[state]:
                return structs.replace(sent, state=answer.state)
            if answer.state in _DEAD:
                raise NotGood(f"the message is {answer.state}, so it will not be {state}")
            if answer.state == "delivered":
                receipt = None
        await trio.sleep(pause)
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)


async def _state(client: httpx.AsyncClient, sent: Sent, receipt: str | None) -> _State:
    if receipt is None:
        answer = await request(client, "GET", sent.location)
    else:
        waits = {"Prefer": f"wait={RECEIPT_SECONDS}"}
        answer = await request(client, "GET", receipt, headers=waits, seconds=RECEIPT_SECONDS + ANSWER_SECONDS)
    state: _State = decoded(answer, _State)
    return state


def _explained(refused: Refused, origin: str) -> PushctlError:
    if refused.status == 410:
        return Failed(f"{origin} answered 410: the user revoked this push URL, forget it")
    if refused.status == 404:
        return Failed(f"{origin} answered 404: it never made this push URL, or it was copied in part")
    if refused.status in (401, 403):
        detail = printable(refused.detail) or "it wants a signature (VAPID)"
        return Failed(f"{origin} answered {refused.status}: {detail}")
    return refused
