"""What lets a role call another: one audience, one body, one moment, one time, and keys that can be rotated."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.errors import Unauthenticated
from pushctl.identity.keys import Key, Keys
from pushctl.identity.peers import FRESH_MS, Gate, PeerKeys, Stale

HERE = "/hints/s1/7"
NOW_MS = 1_000_000
KEYS = Keys.generate()


class Clock:
    ms = NOW_MS


def gate(keys: Keys = KEYS, clock: Clock | None = None, purpose: str = HERE) -> Gate:
    clock = clock or Clock()
    return Gate(PeerKeys(keys), purpose, lambda: clock.ms)


def sign(keys: Keys = KEYS, moment_ms: int = NOW_MS, body: bytes = b"body") -> str:
    return PeerKeys(keys).sign(HERE, moment_ms, body)


@pytest.mark.parametrize("off_ms", [-FRESH_MS, 0, FRESH_MS])
def test_what_was_signed_just_now_for_us_is_let_in(off_ms: int) -> None:
    gate().check(sign(moment_ms=NOW_MS + off_ms), b"body")


@pytest.mark.parametrize("off_ms", [-FRESH_MS - 1, FRESH_MS + 1])
def test_another_moment_is_stale_before_anything_else_is_looked_at(off_ms: int) -> None:
    with pytest.raises(Stale):
        gate().check(sign(moment_ms=NOW_MS + off_ms), b"body")


def test_a_signature_is_good_once() -> None:
    door, signature = gate(), sign()
    door.check(signature, b"body")
    with pytest.raises(Unauthenticated, match="before"):
        door.check(signature, b"body")
    door.check(sign(), b"body")


def test_a_signature_is_good_once_for_as_long_as_it_is_fresh() -> None:
    clock = Clock()
    door, signature = gate(clock=clock), sign(moment_ms=NOW_MS + FRESH_MS)
    door.check(signature, b"body")
    clock.ms += 2 * FRESH_MS
    with pytest.raises(Unauthenticated, match="before"):
        door.check(signature, b"body")


def test_nonces_are_forgotten_when_they_cannot_come_again() -> None:
    clock = Clock()
    door = gate(clock=clock)
    for _ in range(100):
        door.check(sign(moment_ms=clock.ms), b"body")
        clock.ms += FRESH_MS
    assert len(door._seen) == len(door._order) <= 3


@pytest.mark.parametrize("purpose", ["/hints/s1/8", "/hints/s2/7"])
def test_another_process_cannot_be_given_what_was_signed_for_this_one(purpose: str) -> None:
    with pytest.raises(Unauthenticated):
        gate(purpose=purpose).check(sign(), b"body")


def test_another_body_moment_or_nonce_is_not_what_was_signed() -> None:
    key_id, moment, nonce, mac = sign().split(".")
    for signature, body in (
        (f"{key_id}.{moment}.{nonce}.{mac}", b"other"),
        (f"{key_id}.{int(moment) + 1}.{nonce}.{mac}", b"body"),
        (f"{key_id}.{moment}.{nonce}x.{mac}", b"body"),
        (f"{key_id}.{moment}.{nonce}.{mac[:-1]}", b"body"),
    ):
        with pytest.raises(Unauthenticated):
            gate().check(signature, body)


def test_what_is_signed_cannot_be_cut_up_in_another_way() -> None:
    """A nonce that takes in the head of the body is the same text to sign, and would be a new nonce."""
    door = gate()
    key_id, moment, nonce, mac = sign(body=b"one\ntwo").split(".")
    with pytest.raises(Unauthenticated):
        door.check(f"{key_id}.{moment}.{nonce}\none.{mac}", b"two")
    door.check(f"{key_id}.{moment}.{nonce}.{mac}", b"one\ntwo")


def test_a_new_key_is_known_before_it_signs_and_an_old_one_until_it_is_taken_out() -> None:
    old, new = KEYS.sealing_keys[0], Key.generate()
    before, told, turned, after = (
        replace(KEYS, sealing_keys=keys) for keys in ((old,), (old, new), (new, old), (new,))
    )
    for signer, verifier in ((before, told), (told, before), (told, turned), (turned, told), (turned, after)):
        gate(verifier).check(sign(signer), b"body")
    for signer, verifier in ((turned, before), (before, after)):
        with pytest.raises(Unauthenticated):
            gate(verifier).check(sign(signer), b"body")


def test_another_installation_is_not_let_in() -> None:
    with pytest.raises(Unauthenticated):
        gate().check(sign(Keys.generate()), b"body")


@given(st.one_of(st.text(), st.lists(st.text(), min_size=4, max_size=4).map(".".join)), st.binary())
def test_whatever_is_shown_is_refused_in_one_way(signature: str, body: bytes) -> None:
    with pytest.raises(Unauthenticated):
        gate().check(signature, body)
