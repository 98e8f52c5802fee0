"""RFC 8292: what it asks of a push service, each sentence at the test that shows whether it holds."""

import json
import time

import httpx

from pushctl.ids import b64url, unb64url
from pushctl.webpush.signing import VapidKey
from tests.interop.standard import does_not_apply, met
from tests.scenario.people import Person, Town

RFC = 8292
KEY, OTHER = VapidKey.generate(), VapidKey.generate()
NO_SUBSCRIBE_RESOURCE = (
    "User agents do not subscribe by a request of this form: push URLs are made by `POST /v1/push-urls` and by the "
    "socket's protocols, with the key as a member."
)


async def subscribed(town: Town, key: VapidKey | None = KEY) -> tuple[Person, str]:
    """A push URL that takes only what the key signed."""
    ada = await town.login("ada")
    wanted = {"site": "https://news.example", "vapid_key": key and key.public}
    return ada, (await ada.ask("POST", "/v1/push-urls", wanted)).json()["url"]


def signed(town: Town, key: VapidKey = KEY, **changed: object) -> str:
    claims = {"aud": town.service.api, "exp": int(time.time_ns() // 10**9) + 3600} | changed
    token = key.token({name: value for name, value in claims.items() if value is not None})
    return f"vapid t={token}, k={key.public}"


async def post(town: Town, url: str, authorization: str | None, body: bytes = b"x", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    encoded = {"TTL": "60", "Content-Encoding": "aes128gcm"} | named
    return await town.http.post(
        url, content=body, headers=encoded | ({} if authorization is None else {"Authorization": authorization})
    )


async def outcome(town: Town, url: str, authorization: str | None) -> tuple[int, str | None, str | None]:
    """(status, code, claim that failed)."""
    answer = await post(town, url, authorization)
    if answer.status_code == 201:
        return 201, None, None
    said = answer.json()
    return answer.status_code, said["code"], said["claim"]


# --- 2 ---------------------------------------------------------------------------------------------------------------


@met(
    RFC,
    "2",
    'An "aud" (Audience) claim in the token MUST include the Unicode serialization of the origin (Section 6.1 of '
    "[RFC6454]) of the push resource URL.",
    "Any other is 401 `vapid_invalid`, with what was expected and what was there.",
)
async def test_a_token_for_another_service_is_refused(office: Town) -> None:
    _, url = await subscribed(office)
    for audience in ("https://push.example", f"{office.service.api}/", None):
        assert await outcome(office, url, signed(office, aud=audience)) == (401, "vapid_invalid", "aud")
    assert await outcome(office, url, signed(office)) == (201, None, None)


@met(
    RFC,
    "2",
    'An "exp" (Expiry) claim MUST be included with the time after which the token expires.',
    "Without one, or after it, 401 `vapid_invalid`.",
)
async def test_a_token_says_when_it_expires(office: Town) -> None:
    _, url = await subscribed(office)
    for expiry in (None, "soon", 1_000_000_000):
        assert await outcome(office, url, signed(office, exp=expiry)) == (401, "vapid_invalid", "exp")


@met(
    RFC,
    "2",
    'An "exp" claim MUST NOT be more than 24 hours from the time of the request.',
    "One that is, is 401 `vapid_invalid`.",
)
async def test_a_token_lives_a_day_at_most(office: Town) -> None:
    _, url = await subscribed(office)
    now = time.time_ns() // 10**9
    assert await outcome(office, url, signed(office, exp=now + 86_500)) == (401, "vapid_invalid", "exp")
    assert await outcome(office, url, signed(office, exp=now + 86_300)) == (201, None, None)


@met(
    RFC,
    "2",
    "A push service MUST NOT use information from an invalid token.",
    "A message with an invalid token is refused, also where no token would have been needed.",
)
async def test_an_invalid_token_is_worse_than_none(office: Town) -> None:
    ada, url = await subscribed(office, None)
    assert await outcome(office, url, signed(office, exp=1)) == (401, "vapid_invalid", "exp")
    assert await ada.unread() == []
    assert await outcome(office, url, None) == (201, None, None)


@met(
    RFC,
    "2",
    "The JWT MUST use a JSON Web Signature (JWS) [RFC7515].",
    "What is no JWS in three parts of base64url is 401 `vapid_invalid`.",
)
async def test_a_token_is_a_jws(office: Town) -> None:
    _, url = await subscribed(office)
    for token in ("x", "a.b", f"{b64url(b'{}')}.{b64url(b'{}')}"):
        assert await outcome(office, url, f"vapid t={token}, k={KEY.public}") == (401, "vapid_invalid", None)


@met(
    RFC,
    "2",
    "The signature MUST use ECDSA on the NIST P-256 curve",
    "`alg` is ES256 and nothing else, and the signature holds.",
)
async def test_a_token_is_signed_with_es256(office: Town) -> None:
    _, url = await subscribed(office)
    good = signed(office)
    _, _, rest = good.partition(".")
    for algorithm in ("none", "HS256", "RS256"):
        other = b64url(json.dumps({"typ": "JWT", "alg": algorithm}).encode())
        assert await outcome(office, url, f"vapid t={other}.{rest}") == (401, "vapid_invalid", "alg")
    by_another = signed(office, OTHER).replace(OTHER.public, KEY.public)
    assert await outcome(office, url, by_another) == (401, "vapid_invalid", "signature")


does_not_apply(
    RFC,
    "2.1",
    'The "sub" claim SHOULD include a contact URI for the application server',
    "It is asked of senders; `pushctl send --contact URL` says one. `sub` is not looked at here.",
)
does_not_apply(
    RFC,
    "2.2",
    "the size of additional claims SHOULD be kept as small as possible.",
    "It is asked of senders. A token has at most 4096 characters here; further claims are ignored.",
)


# --- 3 ---------------------------------------------------------------------------------------------------------------


@met(
    RFC,
    "3",
    "this authentication scheme MUST NOT be used with the Proxy-Authenticate or Proxy-Authorization header fields.",
    "It is read from `Authorization` alone.",
)
async def test_what_is_said_to_proxies_is_not_for_us(office: Town) -> None:
    _, url = await subscribed(office)
    answer = await post(office, url, None, Proxy_Authorization=signed(office))
    assert (answer.status_code, answer.json()["code"]) == (401, "vapid_missing")
    assert "proxy-authenticate" not in answer.headers
    assert answer.headers["www-authenticate"] == "vapid"


@met(
    RFC,
    "3",
    'All unknown or unsupported parameters to "vapid" authentication credentials MUST be ignored.',
    "Only `t` and `k` are looked at.",
)
async def test_other_parameters_are_ignored(office: Town) -> None:
    _, url = await subscribed(office)
    assert await outcome(office, url, f'{signed(office)}, realm="x", colour=red') == (201, None, None)


does_not_apply(
    RFC,
    "3.2",
    "An application server MUST select a different private key for the key exchange [RFC8291] and signing the "
    "authentication token.",
    "It is asked of senders; the next sentence asks it of the push service.",
)


@met(
    RFC,
    "3.2",
    "a push service SHOULD reject push messages that have identical values for these parameters with a 400 (Bad "
    "Request) status code.",
    "400 `encoding_invalid`. For that alone the key in front of an aes128gcm body is looked at, never the ciphertext.",
)
async def test_the_key_that_signs_does_not_encrypt(office: Town) -> None:
    _, url = await subscribed(office)
    body = bytes(20) + b"\x41" + unb64url(KEY.public) + bytes(30)
    answer = await post(office, url, signed(office), body)
    assert (answer.status_code, answer.json()["code"]) == (400, "encoding_invalid")


# --- 4 ---------------------------------------------------------------------------------------------------------------

does_not_apply(
    RFC,
    "4.1",
    "A push service MUST ignore the body of a request that uses a different media type.",
    NO_SUBSCRIBE_RESOURCE,
)
does_not_apply(
    RFC,
    "4.1",
    'For the "application/webpush-options+json" media type, a push service MUST ignore any members on this object that '
    "it does not understand.",
    NO_SUBSCRIBE_RESOURCE,
)


@met(
    RFC,
    "4.2",
    "When a push subscription has been restricted to an application server, the request for push message delivery MUST "
    "include a JWT signed by the private key that corresponds to the public key used when creating the subscription.",
    "With another key's good signature it is 403 `vapid_forbidden`.",
)
async def test_a_restricted_push_url_takes_its_own_key_alone(office: Town) -> None:
    ada, url = await subscribed(office)
    assert await outcome(office, url, signed(office, OTHER)) == (403, "vapid_forbidden", "k")
    assert await ada.unread() == []
    assert await outcome(office, url, signed(office)) == (201, None, None)


@met(
    RFC,
    "4.2",
    'A push service MUST reject a message sent to a restricted push subscription if that message includes no "vapid" '
    'authentication or invalid "vapid" authentication.',
    "401 `vapid_missing`, 401 `vapid_invalid`; what is still asked for is in `WWW-Authenticate: vapid`.",
)
async def test_a_restricted_push_url_takes_nothing_unsigned(office: Town) -> None:
    ada, url = await subscribed(office)
    assert await outcome(office, url, None) == (401, "vapid_missing", "k")
    assert await outcome(office, url, signed(office)[:-4]) == (401, "vapid_invalid", None)
    assert await ada.unread() == []


@met(
    RFC,
    "4.2",
    "A push service MUST NOT forward the JWT or public key to the user agent when delivering the push message.",
    "Of `Crypto-Key`, in which older senders have both keys, only the one that devices need travels on.",
)
async def test_neither_token_nor_key_reaches_a_device(town: Town) -> None:
    ada, url = await subscribed(town)
    authorization = signed(town)
    token = authorization.partition("t=")[2].partition(",")[0]
    async with ada.connected() as socket:
        await socket.synced()
        await post(town, url, authorization)
        await post(
            town,
            url,
            f"WebPush {token}",
            Content_Encoding="aesgcm",
            Encryption="salt=abc",
            Crypto_Key=f"dh=def;p256ecdsa={KEY.public}",
        )
        frames = [await socket.until("message") for _ in range(2)]
    assert frames[1]["message"]["headers"] == {"encryption": "salt=abc", "crypto_key": "dh=def"}
    for frame in frames:
        assert token not in json.dumps(frame)
        assert KEY.public not in json.dumps(frame)
