"""Sealed texts: what opens, what does not, and what cannot be seen in them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.errors import NotFound, PushUrlUnknown, StoreUnavailable
from pushctl.identity.keys import Key, Keys
from pushctl.identity.sealing import PushAddress, Sealer, hash_session_token, new_session_token
from pushctl.ids import ID_PATTERN, LARGEST_TAG, MessageRef, PushUrlId, UserId, b64url
from tests.unit.identity.bundles import FUZZ

KEYS = Keys("here", (Key("KEY1", bytes(range(32))),), (Key("USER", bytes(32)),), bytes(32))
ROTATED = replace(KEYS, sealing_keys=(Key("KEY2", bytes(range(32, 64))), *KEYS.sealing_keys))
SEALER = Sealer(KEYS)
KNOWN_REFUSALS = (PushUrlUnknown, NotFound, StoreUnavailable)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

users = st.binary(min_size=16, max_size=16).map(lambda raw: UserId(b64url(raw)))
addresses = st.builds(
    PushAddress,
    users,
    st.binary(min_size=9, max_size=9).map(lambda raw: PushUrlId(b64url(raw))),
    st.integers(0, 2**32 - 1),
)
refs = st.builds(
    MessageRef,
    st.integers(0, 2**48 - 1),
    st.integers(0, LARGEST_TAG),
    st.just(SEALER.key_id),
    st.integers(0, 2**48 - 1),
)

USER = UserId(b64url(bytes(range(16))))
ADDRESS = PushAddress(USER, PushUrlId(b64url(bytes(9))), 7)
REF = MessageRef(seq=3, tag=2**63 + 1, key_id="KEY1", expires_at_ms=1_800_000_000_000)


@FUZZ
@given(address=addresses)
def test_a_push_url_opens_to_what_was_sealed_and_is_always_the_same_text(address: PushAddress) -> None:
    token = SEALER.seal_push_url(address, SEALER.key_id)

    assert SEALER.open_push_url(token) == address
    assert SEALER.seal_push_url(address, SEALER.key_id) == Sealer(KEYS).seal_push_url(address, "KEY1") == token
    assert len(token) == 64
    assert ID_PATTERN.fullmatch(token)


@FUZZ
@given(user=users, ref=refs)
def test_a_message_id_opens_to_what_was_sealed_and_is_always_the_same_text(user: UserId, ref: MessageRef) -> None:
    message_id = SEALER.seal_message_id(user, ref)

    assert SEALER.open_message_id(message_id) == (user, ref)
    assert SEALER.seal_message_id(user, ref) == message_id
    assert message_id.startswith(ref.key_id)
    assert len(message_id) == 74
    assert ID_PATTERN.fullmatch(message_id)


@FUZZ
@given(address=addresses, ref=refs, data=st.data())
def test_a_changed_character_never_opens(address: PushAddress, ref: MessageRef, data: st.DataObject) -> None:
    openers: list[tuple[str, Callable[[str], object]]] = [
        (SEALER.seal_push_url(address, SEALER.key_id), SEALER.open_push_url),
        (SEALER.seal_message_id(address.user, ref), SEALER.open_message_id),
    ]
    for text, opener in openers:
        place = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from(ALPHABET.replace(text[place], "")))
        with pytest.raises(StoreUnavailable if place < 4 else (PushUrlUnknown, NotFound)):
            opener(text[:place] + other + text[place + 1 :])


@FUZZ
@given(text=st.text() | st.text(ALPHABET, min_size=64, max_size=64) | st.text(ALPHABET, min_size=74, max_size=74))
def test_no_text_of_a_strangers_making_opens(text: str) -> None:
    for candidate in (text, "KEY1" + text[4:]):
        with pytest.raises(KNOWN_REFUSALS):
            SEALER.open_push_url(candidate)
        with pytest.raises(KNOWN_REFUSALS):
            SEALER.open_message_id(candidate)


@pytest.mark.parametrize("respell", ["{}=", "{}\n", " {}", "{}A", "{}AAAA"])
def test_a_text_opens_in_its_one_spelling_only(respell: str) -> None:
    with pytest.raises(PushUrlUnknown):
        SEALER.open_push_url(respell.format(SEALER.seal_push_url(ADDRESS, "KEY1")))
    with pytest.raises(NotFound):
        SEALER.open_message_id(respell.format(SEALER.seal_message_id(USER, REF)))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 60, 62, 63, 65, 66, 68, 71, 75, 76, 78, 128, 4096])
def test_a_text_of_another_length_is_unknown_whatever_key_it_names(length: int) -> None:
    # Said on proof: no key ever seals to that length. So it is no "try again later" either.
    with pytest.raises(PushUrlUnknown):
        SEALER.open_push_url("A" * length)
    with pytest.raises(NotFound):
        SEALER.open_message_id("A" * length)


def test_a_push_url_and_a_message_id_never_open_as_each_other() -> None:
    with pytest.raises(NotFound):
        SEALER.open_message_id(SEALER.seal_push_url(ADDRESS, "KEY1"))
    with pytest.raises(PushUrlUnknown):
        SEALER.open_push_url(SEALER.seal_message_id(USER, REF))


def test_two_purposes_share_no_key_even_for_the_same_content() -> None:
    push_urls, messages = SEALER._push_urls, SEALER._messages
    sealed = push_urls.seal("KEY1", bytes(36))

    assert sealed != messages.seal("KEY1", bytes(36))
    assert messages.open(sealed) is None


def test_push_urls_of_one_user_share_nothing_but_the_key_id() -> None:
    tokens = [
        SEALER.seal_push_url(replace(ADDRESS, push_url=PushUrlId(b64url(number.to_bytes(9))), number=number), "KEY1")
        for number in range(40)
    ]
    bodies = [token[4:] for token in tokens]
    assert {token[:4] for token in tokens} == {"KEY1"}

    seen: dict[str, int] = {}
    for owner, body in enumerate(bodies):
        for start in range(len(body) - 4):
            assert seen.setdefault(body[start : start + 5], owner) == owner


def test_the_number_alone_changes_the_whole_text() -> None:
    one, other = (SEALER.seal_push_url(replace(ADDRESS, number=number), "KEY1")[4:] for number in (1, 2))

    assert sum(left == right for left, right in zip(one, other, strict=True)) < 12


def test_after_a_new_first_key_old_texts_open_and_old_things_keep_their_ids() -> None:
    token, message_id = SEALER.seal_push_url(ADDRESS, "KEY1"), SEALER.seal_message_id(USER, REF)
    rotated = Sealer(ROTATED)

    assert rotated.key_id == "KEY2"
    assert rotated.open_push_url(token) == ADDRESS
    assert rotated.open_message_id(message_id) == (USER, REF)
    assert rotated.seal_push_url(ADDRESS, "KEY1") == token
    assert rotated.seal_message_id(USER, REF) == message_id
    assert rotated.seal_push_url(ADDRESS, rotated.key_id) != token


def test_a_key_that_is_not_known_here_is_unavailable_and_never_unknown() -> None:
    rotated = Sealer(ROTATED)
    token = rotated.seal_push_url(ADDRESS, "KEY2")
    message_id = rotated.seal_message_id(USER, replace(REF, key_id="KEY2"))

    for ask in (
        lambda: SEALER.open_push_url(token),
        lambda: SEALER.open_message_id(message_id),
        lambda: SEALER.seal_push_url(ADDRESS, "KEY2"),
        lambda: SEALER.seal_message_id(USER, replace(REF, key_id="KEY2")),
    ):
        with pytest.raises(StoreUnavailable):
            ask()


def test_the_same_key_id_with_another_secret_opens_nothing() -> None:
    stranger = Sealer(replace(KEYS, sealing_keys=(Key("KEY1", bytes(32)),)))

    with pytest.raises(PushUrlUnknown):
        stranger.open_push_url(SEALER.seal_push_url(ADDRESS, "KEY1"))


def test_the_text_of_a_thing_never_changes_between_versions() -> None:
    # Push URLs live for years in third parties' databases. Whoever changes these texts breaks every one of them.
    assert SEALER.seal_push_url(ADDRESS, "KEY1") == ("KEY15AUdIDxS8nHcAARAJfxpAeevFvmxD-o4ITLkhB1wZiE2ZGUYRpG850ErQXNe")
    assert SEALER.seal_message_id(USER, REF) == (
        "KEY1rGbdiKPPlotD6dYRpvYfXQdN_om1LC6k3W5o75VNt_qVC33CwVMBO3PeHNaOlOEh49yQUg"
    )


def test_an_id_of_the_wrong_size_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        SEALER.seal_push_url(replace(ADDRESS, user=UserId("AAAA")), "KEY1")


def test_session_tokens_are_random_and_kept_as_their_hash() -> None:
    token = new_session_token()

    assert len(token) == 43
    assert ID_PATTERN.fullmatch(token)
    assert token != new_session_token()
    assert hash_session_token("abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"  # SHA-256 of "abc", FIPS 180-2


@FUZZ
@given(text=st.text() | st.just("\ud800"))
def test_any_text_has_a_hash(text: str) -> None:
    assert len(hash_session_token(text)) == 43
