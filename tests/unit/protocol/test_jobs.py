"""Jobs and hints between roles of neighbouring releases."""

from typing import Any

import msgspec
import pytest

from pushctl.protocol.jobs import Batch, BatchInPart, Displaced, JobInvalid, SessionEnds, decode_hint, decode_job

DISPLACED = Displaced("ada", ["c1"], ["s1"], for_good=False)


def packed(*value: Any) -> bytes:
    return msgspec.msgpack.encode(list(value))


def test_a_field_that_a_newer_release_added_is_skipped() -> None:
    assert decode_job(packed("d", "ada", ["c1"], ["s1"], False, "new")) == DISPLACED


def test_a_field_that_an_older_release_did_not_have_is_filled_in() -> None:
    assert decode_job(packed("d", "ada", ["c1"], ["s1"])) == Displaced("ada", ["c1"], ["s1"], for_good=True)


def test_a_job_of_a_newer_release_costs_no_other_job_of_its_batch() -> None:
    ends = SessionEnds("bob", ["s"], 5)
    with pytest.raises(BatchInPart) as caught:
        decode_hint(packed("b", [["d", "ada", ["c1"], ["s1"], False], ["a9", "eve", 1], ["s", "bob", ["s"], 5]]))
    assert caught.value.known == Batch([DISPLACED, ends])


@pytest.mark.parametrize("raw", [packed("b", [["a9", "eve"]]), packed("z", []), b"", b"\xc1"])
def test_what_holds_nothing_known_is_invalid(raw: bytes) -> None:
    with pytest.raises(JobInvalid) as caught:
        decode_hint(raw)
    assert not isinstance(caught.value, BatchInPart)
