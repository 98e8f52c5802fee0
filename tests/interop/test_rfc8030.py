"""RFC 8030, sections 5 to 7: what it asks of a push service, each sentence at the test that shows whether it holds."""

import re

import httpx
import trio

from tests.interop.standard import does_not_apply, met, not_met
from tests.scenario.people import Person, Town

RFC = 8030
NO_MONITORING = (
    "User agents do not monitor by HTTP/2 server push here, but over a WebSocket (section 4 of the protocol, and what "
    "browsers speak, section 5)."
)
OWN_RECEIPTS = (
    "A receipt answers by long polling, with 200 and the state in JSON (`delivered`, `read`, `expired`, `replaced`, "
    "`cancelled`, `evicted`), because senders cannot be expected to speak HTTP/2 server push, and because there is "
    "more to tell than two codes can say."
)

ENCODED = {"Content-Encoding": "aes128gcm"}
BODY = b"x" * 30
RECEIPT = re.compile(r'<(/receipt/[\w-]+)>; rel="urn:ietf:params:push:receipt"')


async def subscribed(town: Town) -> tuple[Person, str]:
    ada = await town.login("ada")
    return ada, (await ada.allow())["url"]


async def post(town: Town, url: str, body: bytes = BODY, **headers: str) -> httpx.Response:
    """A Web Push message; header names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await town.http.post(url, content=body, headers={"TTL": "60"} | ENCODED | named)


async def with_receipt(town: Town, url: str, **headers: str) -> tuple[httpx.Response, str]:
    """(the answer, the URL of its receipt)."""
    answer = await post(town, url, BODY, Prefer="respond-async", **headers)
    match = RECEIPT.fullmatch(answer.headers["link"])
    assert match
    return answer, town.service.api + match[1]


async def state(town: Town, url: str, wait: int = 5) -> str:
    answer = await town.http.get(url, headers={"Prefer": f"wait={wait}"}, timeout=30)
    assert answer.status_code == 200
    return str(answer.json()["state"])


# --- 5 ---------------------------------------------------------------------------------------------------------------


@met(
    RFC,
    "5",
    "A URI for the push message resource that was created in response to the request MUST be returned in the Location "
    "header field.",
    "201 with `Location: /message/{id}`, which answers GET and DELETE.",
)
async def test_a_message_has_a_resource_of_its_own(office: Town) -> None:
    _, url = await subscribed(office)
    first, second = [await post(office, url) for _ in range(2)]
    assert first.status_code == 201
    assert first.headers["location"] != second.headers["location"]
    assert (await office.http.get(office.service.api + first.headers["location"])).status_code == 200


@met(
    RFC,
    "5.1",
    "The push service MUST support delivery confirmations.",
    "`Prefer: respond-async` gives a receipt, which says `delivered` once a device has acknowledged the message.",
)
async def test_a_delivery_is_confirmed(town: Town) -> None:
    ada, url = await subscribed(town)
    _, receipt = await with_receipt(town, url)
    assert await state(town, receipt, 0) == "stored"
    async with ada.connected() as socket:
        [page] = await socket.synced()
        await socket.send({"type": "ack", "cursor": page["cursor"]})
        assert await state(town, receipt) == "delivered"


@met(
    RFC,
    "5.1",
    "When the push service accepts the message for delivery with confirmation, it MUST return a 202 (Accepted) "
    "response.",
    "Only once the message is stored.",
)
async def test_with_a_receipt_the_answer_is_202(office: Town) -> None:
    ada, url = await subscribed(office)
    answer, _ = await with_receipt(office, url)
    assert answer.status_code == 202
    assert len(await ada.unread()) == 1


@met(
    RFC,
    "5.1",
    "A URI for the push message resource that was created in response to the request MUST be returned in the Location "
    "header field.",
    "As with 201.",
)
async def test_with_a_receipt_the_message_has_a_resource_of_its_own_too(office: Town) -> None:
    _, url = await subscribed(office)
    answer, receipt = await with_receipt(office, url)
    assert office.service.api + answer.headers["location"] != receipt
    assert (await office.http.delete(office.service.api + answer.headers["location"])).status_code == 204


@met(
    RFC,
    "5.1",
    "The push service MUST also provide a URI for the receipt subscription resource in a link relation of type "
    '"urn:ietf:params:push:receipt".',
    '`Link: </receipt/{id}>; rel="urn:ietf:params:push:receipt"`; the receipt is of this one message.',
)
async def test_a_link_names_the_receipt(office: Town) -> None:
    _, url = await subscribed(office)
    _, receipt = await with_receipt(office, url)
    assert (await office.http.get(receipt)).status_code == 200


@not_met(
    RFC,
    "5.1",
    "The push service SHOULD return the same receipt subscription in its response, although it MAY return a new "
    "receipt subscription if it is unable to reuse the one provided by the application server.",
    "Always a new one, as the sentence allows: a receipt is of one message. Several would have to be kept together "
    "somewhere, and who may see one would see all.",
)
async def test_each_message_has_a_receipt_of_its_own(office: Town) -> None:
    _, url = await subscribed(office)
    first, receipt = await with_receipt(office, url)
    _, other = await with_receipt(office, url, Link=first.headers["link"])
    assert receipt != other


@not_met(
    RFC,
    "5.1",
    "A push service MUST return a 400 (Bad Request) status code for requests that contain an invalid receipt "
    "subscription.",
    "The header `Link` of a request is not looked at, since no receipt is ever used again.",
)
async def test_a_link_in_a_request_means_nothing(office: Town) -> None:
    _, url = await subscribed(office)
    answer, _ = await with_receipt(office, url, Link='</receipt/x>; rel="urn:ietf:params:push:receipt"')
    assert answer.status_code == 202


# --- 5.2 -------------------------------------------------------------------------------------------------------------


@met(
    RFC,
    "5.2",
    "A recipient parsing and converting a TTL value to binary form SHOULD use an arithmetic type of at least 31 "
    "bits of non-negative integer range.",
    "Any number of digits is a number.",
)
async def test_a_ttl_of_31_bits_is_a_number(office: Town) -> None:
    _, url = await subscribed(office)
    assert (await post(office, url, TTL=str(2**31 - 1))).headers["ttl"] == "259200"


@met(
    RFC,
    "5.2",
    "If a recipient receives a TTL value greater than the greatest integer it can represent, or if any of its "
    "subsequent calculations overflows, it MUST consider the value to be 2147483648 (2^31).",
    "Which is then cut to the longest lifetime, as every longer TTL is.",
)
async def test_a_ttl_larger_than_any_number_is_the_longest(office: Town) -> None:
    _, url = await subscribed(office)
    for ttl in (2**31, 2**63, 10**30):
        answer = await post(office, url, TTL=str(ttl))
        assert (answer.status_code, answer.headers["ttl"]) == (201, "259200")


@not_met(
    RFC,
    "5.2",
    "A push service MUST return a 400 (Bad Request) status code in response to requests that omit the TTL header "
    "field.",
    "Met for every message with `Content-Encoding`, which is all that browsers and their senders use. A message "
    "without it, which is what `curl -d` sends, may leave TTL out and then waits for the longest lifetime.",
)
async def test_only_what_is_encoded_needs_a_ttl(office: Town) -> None:
    _, url = await subscribed(office)
    answer = await office.http.post(url, content=BODY, headers=ENCODED)
    assert (answer.status_code, answer.json()["code"], answer.json()["errno"]) == (400, "ttl_missing", 111)
    assert (await office.http.post(url, content=b"x", headers={"Content-Type": "text/plain"})).status_code == 201


@met(
    RFC,
    "5.2",
    "This TTL value MUST be less than or equal to the value provided by the application server.",
    "The smaller of TTL and the longest lifetime comes back in `TTL`.",
)
async def test_the_ttl_that_comes_back_is_never_longer(office: Town) -> None:
    _, url = await subscribed(office)
    for ttl in (0, 1, 259_199, 259_200, 259_201):
        assert int((await post(office, url, TTL=str(ttl))).headers["ttl"]) == min(ttl, 259_200)


@met(
    RFC,
    "5.2",
    "Once the TTL period elapses, the push service MUST NOT attempt to deliver the push message to the user agent.",
    "Decided at each look by the store's clock, not by when it is thrown away.",
)
async def test_what_is_over_is_not_delivered(town: Town) -> None:
    ada, url = await subscribed(town)
    await post(town, url, TTL="1")
    await post(town, url, TTL="60")
    await trio.sleep(1.05)
    async with ada.connected() as socket:
        [page] = await socket.synced()
    assert len(page["messages"]) == 1
    assert len(await ada.unread()) == 1


# --- 5.3 and 5.4 -----------------------------------------------------------------------------------------------------


@not_met(
    RFC,
    "5.3",
    "The push service MUST NOT forward the Urgency header field to the user agent.",
    "Devices on `pushctl.v1` are told the urgency, which they filter by and show; they are the user's own, and no page "
    "sees it. Browsers (section 5 of the protocol) are not told.",
)
async def test_a_device_is_told_the_urgency(office: Town) -> None:
    ada, url = await subscribed(office)
    await post(office, url, Urgency="high")
    [message] = await ada.unread()
    assert message["urgency"] == "high"


@met(
    RFC,
    "5.3",
    "A push service MUST NOT deliver push messages with lower urgency than the value indicated by the user agent "
    "in its monitoring request.",
    "`min_urgency` in the device's hello.",
)
async def test_a_device_gets_nothing_less_urgent_than_it_asked_for(town: Town) -> None:
    ada, url = await subscribed(town)
    async with ada.connected(hello={"min_urgency": "normal"}) as socket:
        await socket.synced()
        await post(town, url, Urgency="low")
        await post(town, url, Urgency="normal")
        frame = await socket.until("message")
        assert frame["message"]["urgency"] == "normal"
    assert len(await ada.unread()) == 2


@met(
    RFC,
    "5.3",
    "Multiple values for the Urgency header field MUST NOT be included in requests; otherwise, the push service MUST "
    "return a 400 (Bad Request) status code.",
    "400 `urgency_invalid`, in one line or in several.",
)
async def test_one_urgency_and_no_more(office: Town) -> None:
    _, url = await subscribed(office)
    for lines in ([("Urgency", "low, high")], [("Urgency", "low"), ("Urgency", "low")]):
        answer = await office.http.post(url, headers=[("TTL", "60"), *lines])
        assert (answer.status_code, answer.json()["code"]) == (400, "urgency_invalid")


@met(
    RFC,
    "5.4",
    "A push service that receives a request with a Topic header field that does not meet these constraints MUST return "
    "a 400 (Bad Request) status code to the application server.",
    "400 `topic_invalid`, errno 113; padding (`=`) is taken off first.",
)
async def test_a_topic_is_short_and_base64url(office: Town) -> None:
    _, url = await subscribed(office)
    for topic, status in (("x" * 32, 201), ("x" * 33, 400), ("a b", 400), ("a/b", 400), ("", 400)):
        answer = await post(office, url, Topic=topic)
        assert answer.status_code == status
        assert status == 201 or (answer.json()["code"], answer.json()["errno"]) == ("topic_invalid", 113)


@met(
    RFC,
    "5.4",
    "Delivery receipts for such deleted messages SHOULD be suppressed.",
    "The receipt of a replaced message says `replaced`, whatever is acknowledged later.",
)
async def test_a_replaced_message_is_never_said_to_be_delivered(office: Town) -> None:
    ada, url = await subscribed(office)
    _, receipt = await with_receipt(office, url, Topic="t")
    await post(office, url, Topic="t")
    cursor = (await ada.ask("GET", "/v1/sync")).json()["cursor"]
    await ada.ask("GET", f"/v1/sync?cursor={cursor}")
    assert await state(office, receipt) == "replaced"


@not_met(
    RFC,
    "5.4",
    "The value of the Topic header field MUST NOT be forwarded to user agents.",
    "Devices on `pushctl.v1` are told it with the message, as they are the urgency. Browsers are not told.",
)
async def test_a_device_is_told_the_topic(office: Town) -> None:
    ada, url = await subscribed(office)
    await post(office, url, Topic="weather")
    [message] = await ada.unread()
    assert message["topic"] == "weather"


# --- 6 ---------------------------------------------------------------------------------------------------------------

does_not_apply(
    RFC,
    "6",
    "The push service MUST NOT deliver messages with lower urgency than the value of the header field",
    NO_MONITORING + " `min_urgency` in the hello does what the header would.",
)
does_not_apply(
    RFC,
    "6",
    "The response headers SHOULD provide a URI for the push resource corresponding to the push message "
    "subscription in a "
    'link relation of type "urn:ietf:params:push".',
    NO_MONITORING + " A message says its `push_url`.",
)
does_not_apply(
    RFC,
    "6",
    "In response to this request, the push service MUST generate a server push for all push messages that have not yet "
    "been delivered.",
    NO_MONITORING + " `GET /v1/sync` answers at once with everything a device missed.",
)
does_not_apply(
    RFC,
    "6.1",
    "The synthetic request MUST provide a URI for the push resource corresponding to the push message subscription "
    "in a "
    'link relation of type "urn:ietf:params:push".',
    NO_MONITORING + " One connection brings the messages of all the user's push URLs, so there are no sets.",
)
does_not_apply(
    RFC,
    "6.2",
    "the user agent MUST acknowledge receipt of the message by performing an HTTP DELETE on the push message resource.",
    NO_MONITORING + " Devices acknowledge there; DELETE of a message is its sender's way to take it back.",
)


@not_met(
    RFC,
    "6.2",
    "If the push service receives the acknowledgement and the application has requested a delivery receipt, the push "
    "service MUST return a 204 (No Content) response to the application server monitoring the receipt subscription.",
    OWN_RECEIPTS,
)
async def test_an_acknowledged_message_is_delivered_by_its_receipt(office: Town) -> None:
    ada, url = await subscribed(office)
    _, receipt = await with_receipt(office, url)
    cursor = (await ada.ask("GET", "/v1/sync")).json()["cursor"]
    await ada.ask("GET", f"/v1/sync?cursor={cursor}")
    assert await state(office, receipt) == "delivered"


@met(
    RFC,
    "6.2",
    "The push service SHOULD continue to retry delivery of the message until its advertised expiration.",
    "A device that has not acknowledged a message gets it again with each new connection.",
)
async def test_what_was_not_acknowledged_comes_again(town: Town) -> None:
    ada, url = await subscribed(town)
    await post(town, url)
    for _ in range(2):
        async with ada.connected() as socket:
            [page] = await socket.synced()
            assert len(page["messages"]) == 1


@not_met(
    RFC,
    "6.2",
    "If the application has requested a delivery receipt, then the push service MUST return a 410 (Gone) response "
    "to the application server monitoring the receipt subscription.",
    OWN_RECEIPTS,
)
async def test_a_message_that_was_given_up_is_dead_by_its_receipt(office: Town) -> None:
    _, url = await subscribed(office)
    _, receipt = await with_receipt(office, url, TTL="1")
    assert await state(office, receipt) == "expired"


@not_met(
    RFC,
    "6.3",
    "If the user agent fails to acknowledge the receipt of the push message and the push service ceases to retry "
    "delivery of the message prior to its advertised expiration, then the push service MUST push a failure "
    "response with a status code of 410 (Gone).",
    OWN_RECEIPTS,
)
async def test_a_message_that_was_taken_back_is_dead_by_its_receipt(office: Town) -> None:
    _, url = await subscribed(office)
    answer, receipt = await with_receipt(office, url)
    await office.http.delete(office.service.api + answer.headers["location"])
    assert await state(office, receipt) == "cancelled"


# --- 7 ---------------------------------------------------------------------------------------------------------------

does_not_apply(
    RFC,
    "7.1",
    "A user agent MUST support the 307 (Temporary Redirect) status code [RFC7231]",
    "It is asked of user agents. Here the Box Office says which servers to connect to.",
)
does_not_apply(
    RFC,
    "7.2",
    "Stored push messages SHOULD include a Last-Modified header field",
    NO_MONITORING + " A message says when it was `sent_at`.",
)


@met(
    RFC,
    "7.2",
    "Push services MUST NOT return a 413 status code in responses to an entity body that is 4096 bytes or less in "
    "size.",
    "4096 bytes are taken, and that is the default of `messages.max_body_bytes`; an operator who sets less breaks it.",
)
async def test_4096_bytes_are_taken(office: Town) -> None:
    ada, url = await subscribed(office)
    assert (await post(office, url, b"x" * 4096)).status_code == 201
    assert (await post(office, url, b"x" * 4097)).status_code == 413
    [message] = await ada.unread()
    assert len(message["data"]) == 4096 * 4 // 3 + 1


@met(
    RFC,
    "7.2",
    "If the application server requested a delivery receipt, the push service MUST return a failure response",
    "The receipt of a message that had to make room says `evicted`.",
)
async def test_a_message_that_had_to_make_room_is_dead_by_its_receipt(office: Town) -> None:
    _, url = await subscribed(office)
    _, receipt = await with_receipt(office, url)
    for _ in range(200):
        await post(office, url)
    assert await state(office, receipt) == "evicted"


@met(
    RFC,
    "7.3",
    "this MUST be signaled by returning a 404 (Not Found) status code.",
    "The receipts of an account that was deleted.",
)
async def test_a_receipt_of_nobody_is_404(office: Town) -> None:
    ada, url = await subscribed(office)
    _, receipt = await with_receipt(office, url)
    await ada.ask("DELETE", "/v1/account")
    assert (await office.http.get(receipt, headers={"Prefer": "wait=5"})).status_code == 404


@not_met(
    RFC,
    "7.3",
    "A push service MUST return a 404 (Not Found) status code if an application server attempts to send a push message "
    "to an expired push message subscription.",
    "410, for good: that is what browsers' push services answer and what senders clean up at. Push URLs do not expire; "
    "404 is said of one that never was.",
)
async def test_a_push_url_that_was_revoked_is_410(office: Town) -> None:
    ada = await office.login("ada")
    push_url = await ada.allow()
    await ada.ask("DELETE", f"/v1/push-urls/{push_url['id']}")
    answer = await post(office, push_url["url"])
    assert (answer.status_code, answer.json()["errno"]) == (410, 106)


does_not_apply(
    RFC,
    "7.3.1",
    "A push service MAY expire a subscription set at any time and MUST also expire all push message subscriptions "
    "in the set.",
    "There are no subscription sets: one connection brings the messages of all the user's push URLs.",
)
does_not_apply(
    RFC,
    "7.3.1",
    "If a specific push message subscription that is a member of a subscription set is expired or removed, then it "
    "MUST also be removed from its subscription set.",
    "There are no subscription sets.",
)
