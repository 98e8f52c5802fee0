"""Who may come in: decisions and counts, with a clock of ours."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushctl.config.model import Config
from roles.socket.admission import MAX_TOLD, Admission, Guest, Refused

NO_RATE = {"arrivals_per_second_per_address": 0}


class Door:
    """An admission, what it counted, and a clock."""

    def __init__(self, *, limits: dict[str, Any] | None = None, **socket: Any) -> None:
        self.refusals: Counter[str] = Counter()
        self.now = 1000.0
        config = Config()
        self._admission = Admission(
            replace(
                config,
                socket=replace(config.socket, **socket),
                limits=replace(config.limits, **(NO_RATE | (limits or {}))),
            ),
            self.now,
            count=lambda reason: self.refusals.update([reason]),
            chance=random.Random(7),
        )
        self.everybody = ExitStack()

    @property
    def inside(self) -> int:
        return self._admission.inside

    @contextmanager
    def arrival(self, host: str) -> Iterator[Guest | None]:
        guest = self._admission.arrive(host, self.now)
        yield guest
        if guest is not None:
            self._admission.leave(guest)

    def comes(self, host: str) -> Guest | None:
        """And stays until `everybody.close()`."""
        return self.everybody.enter_context(self.arrival(host))

    def is_let_in(self, host: str) -> bool:
        guest = self.comes(host)
        return guest is not None and guest.refused is None

    def introduce(self, guest: Guest | None, *headers: tuple[bytes, bytes]) -> None:
        assert guest is not None
        self._admission.introduce(guest, headers, self.now)

    def ask(self, *, origin: str | None, subprotocols: list[str]) -> str | None:
        """As a peer whose upgrade request is otherwise in order; the subprotocol it is given."""
        return self._admission.examine(
            origin=origin, own_origin="http://push.example:8082", key_is_valid=True, subprotocols=subprotocols
        )

    def retry_after(self, host: str) -> int:
        guest = self.comes(host)
        assert guest is not None
        assert guest.refused is not None
        assert guest.refused.problem.status == 503
        seconds = guest.refused.problem.retry_after_seconds
        assert seconds is not None
        return seconds


def test_a_full_server_refuses_and_takes_again_when_somebody_leaves() -> None:
    door = Door(max_connections=2)
    with door.arrival("192.0.2.1"):
        assert door.is_let_in("192.0.2.2")
        assert 30 <= door.retry_after("192.0.2.3") < 60
    assert door.is_let_in("192.0.2.4")
    assert door.refusals == {"full": 1}


def test_an_address_has_so_many_connections_and_no_more() -> None:
    door = Door(limits={"connections_per_address": 2})
    with door.arrival("192.0.2.1"):
        assert door.is_let_in("192.0.2.1")
        assert not door.is_let_in("192.0.2.1")
        assert not door.is_let_in("::ffff:192.0.2.1")
        assert door.is_let_in("192.0.2.2")
    assert door.is_let_in("192.0.2.1")
    assert door.refusals == {"address": 2}


def test_the_addresses_of_one_64_are_one_address() -> None:
    door = Door(limits={"connections_per_address": 2})
    assert door.is_let_in("2001:db8::1")
    assert door.is_let_in("2001:db8::ffff:1:2:3")
    assert not door.is_let_in("2001:db8:0:0:9::1%eth0")
    assert door.is_let_in("2001:db8:0:1::1")


def test_exempt_networks_are_not_counted_by_address_but_by_number() -> None:
    door = Door(max_connections=3, limits={"connections_per_address": 1, "exempt_networks": ("127.0.0.0/8",)})
    assert all(door.is_let_in("127.0.0.1") for _ in range(3))
    assert not door.is_let_in("127.0.0.1")
    assert door.refusals == {"full": 1}


def test_behind_a_trusted_proxy_the_client_counts_and_what_it_forges_moves_nothing() -> None:
    door = Door(trusted_proxies=("10.0.0.0/8",), limits={"connections_per_address": 1})
    honest, again, other = (door.comes("10.0.0.9") for _ in range(3))
    door.introduce(honest, (b"x-forwarded-for", b"198.51.100.7"))
    with pytest.raises(Refused) as refused:
        door.introduce(again, (b"x-forwarded-for", b"203.0.113.1, 198.51.100.7, 10.0.0.8"))
    assert refused.value.problem.status == 503
    door.introduce(other, (b"forwarded", b"for=198.51.100.8"))
    assert door.refusals == {"address": 1}


def test_headers_of_anybody_else_change_nothing() -> None:
    door = Door(trusted_proxies=("10.0.0.0/8",), limits={"connections_per_address": 1})
    guest = door.comes("192.0.2.1")
    door.introduce(guest, (b"x-forwarded-for", b"198.51.100.7"))
    assert not door.is_let_in("192.0.2.1")
    assert door.is_let_in("198.51.100.7")


def test_who_comes_too_fast_is_refused_and_the_rate_is_kept() -> None:
    door = Door(accept_rate=10, accept_burst=5)
    assert sum(door.is_let_in(f"192.0.2.{n}") for n in range(20)) == 5
    door.now += 0.3
    assert sum(door.is_let_in(f"192.0.2.{n}") for n in range(20)) == 3
    assert door.refusals == {"accept_rate": 32}


def test_the_more_come_too_fast_the_longer_they_are_spread() -> None:
    few = Door(accept_rate=10, accept_burst=1)
    many = Door(accept_rate=10, accept_burst=1)
    few.comes("192.0.2.1")
    many.comes("192.0.2.1")
    assert max(few.retry_after("192.0.2.1") for _ in range(MAX_TOLD)) <= 15
    for _ in range(5000):
        with many.arrival("192.0.2.1"):
            pass
    later = [many.retry_after("192.0.2.1") for _ in range(MAX_TOLD)]
    assert max(later) > 200
    assert max(later) <= 301
    assert min(later) < 100


def test_one_address_that_comes_again_and_again_takes_no_turn_of_others() -> None:
    limits = {"arrivals_per_second_per_address": 1, "arrivals_burst_per_address": 3}
    door = Door(accept_rate=1, accept_burst=10, limits=limits)
    for _ in range(100):
        with door.arrival("192.0.2.66"):
            pass
    assert door.refusals == {"address_rate": 97}
    assert sum(door.is_let_in(f"192.0.2.{n}") for n in range(7)) == 7


def test_few_refusals_are_told_at_a_time_and_the_others_are_dropped() -> None:
    door = Door(max_connections=1)
    door.comes("192.0.2.1")
    guests = [door.comes("192.0.2.2") for _ in range(MAX_TOLD + 10)]
    assert guests.count(None) == 10
    door.everybody.close()
    assert door.is_let_in("192.0.2.2")


def test_those_who_were_dropped_leave_nothing_behind() -> None:
    door = Door(accept_rate=1, accept_burst=2, limits={"connections_per_address": 2})
    with ExitStack() as others:
        for n in range(MAX_TOLD + 2):
            others.enter_context(door.arrival(f"192.0.2.{n}"))
        assert door.comes("198.51.100.1") is None
        assert door.comes("198.51.100.1") is None
    door.now += 10
    assert door.is_let_in("198.51.100.1")
    assert door.is_let_in("198.51.100.1")


HOSTS = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "127.0.0.1"])


@given(st.lists(st.tuples(st.booleans(), HOSTS, st.floats(0, 1)), max_size=60))
def test_whatever_comes_and_goes_the_counts_are_of_those_inside(moves: list[tuple[bool, str, float]]) -> None:
    limits = {"connections_per_address": 2, "exempt_networks": ("127.0.0.0/8",)}
    door = Door(max_connections=5, accept_rate=5, accept_burst=5, limits=limits)
    here: list[tuple[ExitStack, str, bool]] = []
    for comes, host, seconds in moves:
        door.now += seconds
        if comes:
            stack = ExitStack()
            guest = stack.enter_context(door.arrival(host))
            here.append((stack, host, guest is not None and guest.refused is None))
        elif here:
            here.pop(0)[0].close()
        inside = [host for _, host, let_in in here if let_in]
        assert door.inside == len(inside) <= 5
        assert max(inside.count("192.0.2.1"), inside.count("192.0.2.2")) <= 2
        assert inside.count("2001:db8::1") + inside.count("2001:db8::2") <= 2
    for stack, _, _ in here:
        stack.close()
    door.now += 10
    assert door.inside == 0
    assert door.is_let_in("192.0.2.1")
    assert door.is_let_in("192.0.2.1")


@pytest.mark.parametrize(
    ("offered", "given"),
    [
        (["push-notification"], "push-notification"),
        (["push-notification", "pushctl.v1"], "pushctl.v1"),
        (["chat", "push-notification"], "push-notification"),
        ([], None),
    ],
)
def test_a_peer_is_given_what_it_offers_of_ours_and_nothing_if_it_offers_nothing(
    offered: list[str], given: str | None
) -> None:
    door = Door()
    assert door.ask(origin=None, subprotocols=offered) == given
    with pytest.raises(Refused) as refused:
        door.ask(origin=None, subprotocols=["chat"])
    assert refused.value.problem.status == 400


def test_the_servers_own_origin_is_allowed_also_with_firefox_slash_behind_it() -> None:
    door = Door(origins=("https://app.example",))
    for origin in (None, "https://app.example", "http://push.example:8082", "http://push.example:8082/"):
        assert door.ask(origin=origin, subprotocols=["push-notification"]) == "push-notification"
    for origin in ("https://evil.example", "https://app.example/", "http://push.example:8082/x"):
        with pytest.raises(Refused) as refused:
            door.ask(origin=origin, subprotocols=["push-notification"])
        assert refused.value.problem.status == 403
