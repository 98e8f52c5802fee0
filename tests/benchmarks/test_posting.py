"""The benchmark of what a POST costs its sender still works, and the lean client is lean."""

import trio

from tests.benchmarks.posting import CLIENTS, measure, server


def test_the_lean_client_takes_a_fraction_of_what_httpx_takes() -> None:
    with server() as port:
        turns = [[trio.run(measure, name, port, 4, 0.2) for name in CLIENTS] for _ in range(3)]
    ours, theirs = (min(costs, key=lambda cost: cost.cpu_us) for costs in zip(*turns, strict=True))
    assert ours.cpu_us * 4 < theirs.cpu_us  # of CPU, so that a busy machine changes little; it is twenty and more
    assert ours.per_second > 0
