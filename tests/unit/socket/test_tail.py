"""What goes to a device, in which order, whatever order hints come in. No I/O."""

from hypothesis import given
from hypothesis import strategies as st

from pushctl.ids import Cursor, Position
from pushctl.protocol.jobs import Appended, HintedEvent
from roles.socket.tail import Tail

EPOCH = "e" * 16


def at(seq: int, tag: int | None = None) -> Cursor:
    return Cursor(EPOCH, Position(seq, seq * 10 if tag is None else tag))


def hint(*seqs: int, frame: bytes | None = None, rank: int = 2, epoch: str = EPOCH) -> Appended:
    """A job about events with these sequence numbers; the tag of event n is 10 n."""
    events = [HintedEvent(seq, seq * 10, rank, b"%d" % seq if frame is None else frame) for seq in seqs]
    return Appended("ada", epoch, seqs[0] - 1, (seqs[0] - 1) * 10, events)


def live_tail(seq: int = 0, *, outbox_bytes: int = 1000, min_rank: int = 0) -> Tail:
    tail = Tail(outbox_bytes=outbox_bytes, min_rank=min_rank, cursor=None)
    tail.end_read(at(seq), done=True, heard_before=tail.begin_read())
    assert not tail.behind
    return tail


def taken(tail: Tail) -> list[bytes]:
    frames = []
    while (prepared := tail.take()) is not None:
        frames.append(prepared.frame)
    return frames


def test_a_hint_that_fits_exactly_is_sent() -> None:
    tail = live_tail()
    tail.offer(hint(1, 2))
    tail.offer(hint(3))
    assert taken(tail) == [b"1", b"2", b"3"]
    assert tail.cursor == at(3)
    assert tail.sent == at(3)


def test_a_repeated_hint_is_not_sent_twice() -> None:
    tail = live_tail()
    tail.offer(hint(1))
    tail.offer(hint(1))
    assert taken(tail) == [b"1"]
    assert not tail.behind


def test_a_hole_that_closes_in_time_costs_no_read() -> None:
    tail = live_tail()
    tail.offer(hint(3))
    tail.offer(hint(2))
    assert tail.has_hole()
    assert taken(tail) == []
    tail.offer(hint(1))
    assert not tail.has_hole()
    assert taken(tail) == [b"1", b"2", b"3"]


def test_a_hint_of_another_log_makes_it_read_its_own() -> None:
    for wrong in (hint(1, epoch="f" * 16), Appended("ada", EPOCH, 0, 7, [HintedEvent(1, 10, 2, b"1")])):
        tail = live_tail()
        tail.offer(wrong)
        assert tail.behind
        assert taken(tail) == []


def test_the_same_number_with_another_tag_is_another_log() -> None:
    tail = live_tail(5)
    tail.offer(Appended("ada", EPOCH, 4, 40, [HintedEvent(5, 51, 2, b"x")]))
    assert tail.behind


def test_an_event_too_large_for_its_job_is_read_from_the_log() -> None:
    tail = live_tail()
    tail.offer(hint(1, frame=b""))
    assert tail.behind
    assert tail.cursor == at(0)


def test_past_its_bytes_a_connection_is_only_behind() -> None:
    tail = live_tail(outbox_bytes=100)
    for seq in range(1, 1000):
        tail.offer(hint(seq, frame=b"x" * 40))
    assert tail.behind
    assert len(taken(tail)) == 2
    assert tail.cursor == at(2)


def test_a_hint_during_a_read_keeps_it_behind_until_the_next() -> None:
    tail = live_tail()
    tail.fall_behind()
    heard = tail.begin_read()
    tail.offer(hint(5))  # appended after the read was answered: the page does not have it
    tail.end_read(at(4), done=True, heard_before=heard)
    assert tail.behind
    heard = tail.begin_read()
    tail.end_read(at(5), done=True, heard_before=heard)
    assert not tail.behind


def test_a_hint_during_the_very_first_read_is_not_forgotten() -> None:
    for cursor in (None, Cursor("f" * 16, Position(7, 70))):
        tail = Tail(outbox_bytes=1000, min_rank=0, cursor=cursor)
        heard = tail.begin_read()
        tail.offer(hint(5))
        tail.end_read(at(4), done=True, heard_before=heard)
        assert tail.behind


def test_a_hint_of_what_a_failover_took_back_does_not_keep_it_reading_for_ever() -> None:
    tail = live_tail()
    tail.offer(hint(9))
    tail.fall_behind()
    tail.end_read(at(4), done=True, heard_before=tail.begin_read())
    assert not tail.behind


def test_urgency_filters_messages_and_nothing_else() -> None:
    tail = live_tail(min_rank=2)
    tail.offer(hint(1, rank=1))
    tail.offer(hint(2, rank=-1))
    tail.offer(hint(3, rank=2))
    assert taken(tail) == [b"2", b"3"]
    tail.offer_ephemeral(1, b"low", 9)
    tail.offer_ephemeral(3, b"high", 9)
    assert taken(tail) == [b"high"]


def test_nothing_in_no_log_comes_before_the_first_sync() -> None:
    tail = Tail(outbox_bytes=1000, min_rank=0, cursor=None)
    tail.offer_ephemeral(3, b"now", 9)
    assert taken(tail) == []


def test_what_is_prepared_is_not_yet_sent() -> None:
    tail = live_tail()
    tail.offer(hint(1))
    assert tail.sent == at(0)
    tail.take()
    assert tail.sent == at(1)


@given(
    order=st.permutations(range(1, 9)),
    lost=st.sets(st.integers(1, 8), max_size=3),
    repeated=st.lists(st.integers(1, 8), max_size=4),
    limit=st.integers(1, 12),
)
def test_whatever_is_lost_repeated_or_reordered_each_event_leaves_once_in_order(
    order: list[int], lost: set[int], repeated: list[int], limit: int
) -> None:
    """The log has 8 events; reads answer from it whenever the tail asks, as the connection's writer does."""
    tail = live_tail(outbox_bytes=limit)
    sent: list[bytes] = []

    def write() -> None:
        sent.extend(taken(tail))
        if tail.has_hole():
            tail.fall_behind()
        if tail.behind:
            heard = tail.begin_read()
            assert tail.cursor is not None
            sent.extend(b"%d" % seq for seq in range(tail.cursor.position.seq + 1, 9))
            tail.end_read(at(8), done=True, heard_before=heard)

    for seq in (*order, *repeated):
        if seq not in lost:
            tail.offer(hint(seq))
        if seq % 3 == 0:
            write()
    write()
    tail.fall_behind()  # reconcile, at the latest
    write()
    assert sent == [b"%d" % seq for seq in range(1, 9)]


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    data=st.data(),
)
def test_hints_that_are_only_reordered_leave_in_log_order_and_cost_no_read(
    sizes: list[int], data: st.DataObject
) -> None:
    """Each hint is of a few events. As long as none is lost, the hole before it closes by itself."""
    first, hints = 1, []
    for size in sizes:
        hints.append(hint(*range(first, first + size)))
        first += size
    tail = live_tail(outbox_bytes=10_000)
    sent: list[bytes] = []
    for each in data.draw(st.permutations(hints)):
        tail.offer(each)
        if data.draw(st.booleans()):
            tail.offer(each)
        sent += taken(tail)
        assert not tail.behind
    assert sent == [b"%d" % seq for seq in range(1, first)]
    assert not tail.has_hole()
