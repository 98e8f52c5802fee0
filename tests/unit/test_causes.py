"""Why a connection failed."""

import socket

import pytest
import trio

from pushctl.causes import cause_of


async def test_it_is_said_in_the_systems_words_not_in_a_librarys() -> None:
    with pytest.raises(OSError, match="all attempts") as caught:
        await trio.open_tcp_stream("127.0.0.1", 1)
    assert cause_of(caught.value) == "connection refused"


def test_a_name_that_is_nowhere_is_said_and_what_has_no_words_is_named() -> None:
    assert cause_of(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert cause_of(trio.ClosedResourceError()) == "ClosedResourceError"
