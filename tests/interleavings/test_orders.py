"""The enumeration itself leaves no order out."""

from itertools import permutations

from tests.interleavings.orders import orders


def test_there_is_every_order_once() -> None:
    every = set(permutations(["a", "a", "b", "b", "c"]))
    found = list(orders({"a": 2, "b": 2, "c": 1}))
    assert len(found) == len(every) == 30
    assert set(found) == every


def test_of_two_orders_that_swap_the_twins_there_is_one() -> None:
    every = set(orders({"a": 2, "b": 2, "c": 1}))
    found = list(orders({"a": 2, "b": 2, "c": 1}, twins=("a", "b")))
    swapped = {tuple({"a": "b", "b": "a"}.get(name, name) for name in order) for order in found}
    assert len(found) == 15
    assert set(found) | swapped == every
