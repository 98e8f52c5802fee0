"""Messages between their writing and their acknowledgement. No I/O."""

from roles.socket.flight import MAX_RUNS, Flight


def test_each_message_is_acknowledged_once_with_the_moment_it_was_written() -> None:
    flight = Flight()
    flight.written(3, 1, 10.0)
    flight.written(5, 2, 11.0)
    assert flight.acknowledged(2) == []
    assert flight.acknowledged(4) == [(1, 10.0)]
    assert flight.acknowledged(4) == []
    flight.written(6, 1, 12.0)
    assert flight.acknowledged(6) == [(2, 11.0), (1, 12.0)]


def test_a_device_that_acknowledges_nothing_costs_no_memory_and_every_message_still_counts() -> None:
    flight = Flight()
    for seq in range(1, 1001):
        flight.written(seq, 1, float(seq))
    done = flight.acknowledged(1000)
    assert len(done) == MAX_RUNS
    assert sum(messages for messages, _ in done) == 1000
    assert done[-1] == (1000 - MAX_RUNS + 1, float(MAX_RUNS))  # longer than it was for some, shorter for none


def test_a_log_that_began_anew_does_not_wait_for_the_old_one() -> None:
    flight = Flight()
    flight.written(900, 5, 1.0)
    flight.written(2, 1, 2.0)
    assert flight.acknowledged(2) == [(1, 2.0)]
