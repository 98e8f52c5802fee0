"""Batches are bounded in bytes, keep the order and lose nothing."""

from hypothesis import given
from hypothesis import strategies as st

from pushctl.protocol.jobs import Appended, Batch, Displaced, Ephemeral, HintedEvent, Job, SessionEnds, decode_hint
from pushctl.routing.batches import BATCH_BYTES, batches

LARGEST_FRAME = 16_384

jobs_of_all_kinds = st.one_of(
    st.builds(
        lambda sizes: Appended("u", "e", 0, 0, [HintedEvent(n, n, -1, b"x" * size) for n, size in enumerate(sizes)]),
        st.lists(st.integers(0, LARGEST_FRAME), min_size=1, max_size=8),
    ),
    st.builds(lambda size: Ephemeral("u", 1, 2, b"x" * size), st.integers(0, LARGEST_FRAME)),
    st.builds(lambda count: Displaced("u", ["c" * 12] * count, ["s1"]), st.integers(0, 50)),
    st.just(SessionEnds("u", ["s"], 0)),
)


def opened(raw: bytes) -> list[Job]:
    batch = decode_hint(raw)
    assert isinstance(batch, Batch)
    return batch.jobs


@given(st.lists(jobs_of_all_kinds, max_size=300))
def test_every_job_is_in_one_batch_in_order(jobs: list[Job]) -> None:
    assert [job for batch in batches(jobs) for job in opened(batch)] == jobs


@given(st.lists(jobs_of_all_kinds, max_size=40), st.integers(1, 20))
def test_no_batch_is_much_larger_than_its_bound(jobs: list[Job], times: int) -> None:
    assert all(len(batch) <= BATCH_BYTES + 8 * (LARGEST_FRAME + 200) for batch in batches(jobs * times))


def test_small_jobs_travel_together() -> None:
    assert len(list(batches([SessionEnds("u", ["s"], 0)] * 1000))) == 1
