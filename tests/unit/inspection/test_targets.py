"""What an operator may type, and what it names."""

import pytest

from pushctl.errors import Failed
from pushctl.identity.keys import Key, Keys
from pushctl.identity.sealing import PushAddress, Sealer
from pushctl.ids import MessageRef, PushUrlId, UserId
from pushctl.inspection.targets import (
    MESSAGE_ID_CHARACTERS,
    TOKEN_CHARACTERS,
    MessageTarget,
    PushUrlTarget,
    message_target,
    push_url_target,
    server_target,
    user_target,
)

# The same in every run, for they stand in the names of tests.
USER = UserId("t0pW3d85nG9aze33TZtO5w")
URL = PushUrlId("Kzr1LKEs8Kg6")
SEALER = Sealer(Keys("here", (Key("a1b2", b"s" * 32),), (Key("c3d4", b"u" * 32),), b"i" * 32))
TOKEN = SEALER.seal_push_url(PushAddress(USER, URL, 7), SEALER.key_id)
MESSAGE = SEALER.seal_message_id(USER, MessageRef(17, 5, SEALER.key_id, 1000))


def sealer() -> Sealer:
    return SEALER


def no_keys() -> Sealer:
    raise AssertionError("this needs no keys")


def test_sealed_texts_are_as_long_as_we_say() -> None:
    assert (len(TOKEN), len(MESSAGE)) == (TOKEN_CHARACTERS, MESSAGE_ID_CHARACTERS)


@pytest.mark.parametrize(
    "typed",
    [TOKEN, f" {TOKEN}\n", f"/push/{TOKEN}", f"https://push.example/push/{TOKEN}", f"http://[::1]:80/push/{TOKEN}"],
)
def test_a_push_url_is_known_in_every_form_it_is_handed_around_in(typed: str) -> None:
    assert push_url_target(typed, sealer) == PushUrlTarget(USER, URL, 7)


@pytest.mark.parametrize("typed", [MESSAGE, f"/message/{MESSAGE}", f"https://push.example/message/{MESSAGE}"])
def test_a_message_is_known_by_its_id_and_its_location(typed: str) -> None:
    assert message_target(typed, sealer) == MessageTarget(USER, 17, 5, 1000)


def test_what_stands_in_the_logs_needs_no_keys() -> None:
    assert push_url_target(f"{USER}/{URL}", no_keys) == PushUrlTarget(USER, URL, None)
    assert message_target(f"{USER}/17", no_keys) == MessageTarget(USER, 17, None, None)
    assert user_target(USER) == USER
    assert server_target("s1") == "s1"


WRONG_PUSH_URLS = (
    "", "x", URL, "https://", "https://push.example/", f"https://push.example/message/{TOKEN}", "http://[", "/push/",
    f"https://push.example/push/{TOKEN[:-1]}", f"https://push.example/x/push/{TOKEN}", f"/{URL}", f"{USER}/",
    f"/{USER}/{URL}", f"{USER}/{URL}/x", "a b/c", TOKEN + "x", TOKEN[:-1] + "!", MESSAGE,
)  # fmt: skip


@pytest.mark.parametrize("typed", WRONG_PUSH_URLS)
def test_what_is_no_push_url_is_told_what_was_expected_and_not_repeated(typed: str) -> None:
    with pytest.raises(ValueError, match="expected a push URL") as refused:
        push_url_target(typed, no_keys)
    assert not typed.strip("/") or len(typed) < 2 or typed not in str(refused.value)


@pytest.mark.parametrize(
    "typed",
    ["", MESSAGE[:-1], TOKEN, f"/push/{MESSAGE}", f"{USER}/0", f"{USER}/x", f"{USER}/-1", f"{USER}/{2**53}", "/1"],
)
def test_what_is_no_message_is_told_what_was_expected(typed: str) -> None:
    with pytest.raises(ValueError, match="expected a message's id"):
        message_target(typed, no_keys)


@pytest.mark.parametrize("typed", ["", "a b", f"{USER}/1", TOKEN, MESSAGE, "x" * 129, "ü"])
def test_what_is_no_user_is_told_what_was_expected(typed: str) -> None:
    with pytest.raises(ValueError, match="expected a user's id"):
        user_target(typed)


@pytest.mark.parametrize("typed", ["", "s 1", "ws://s1/"])
def test_what_is_no_server_is_told_what_was_expected(typed: str) -> None:
    with pytest.raises(ValueError, match="expected a socket server's id"):
        server_target(typed)


def test_what_other_keys_sealed_says_what_senders_get() -> None:
    other = Sealer(Keys.generate())
    with pytest.raises(Failed, match=f"sealed with key {TOKEN[:4]}, which is not in the keys file: senders get 503"):
        push_url_target(TOKEN, lambda: other)
    with pytest.raises(Failed, match="senders get 503"):
        message_target(MESSAGE, lambda: other)
    forged = TOKEN[:-1] + ("A" if TOKEN[-1] != "A" else "B")
    with pytest.raises(Failed, match="was not made with these keys: senders get 404"):
        push_url_target(forged, sealer)
    with pytest.raises(Failed, match="was not made with these keys: senders get 404"):
        message_target(MESSAGE[:8] + ("A" if MESSAGE[8] != "A" else "B") + MESSAGE[9:], sealer)
