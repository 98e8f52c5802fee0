"""Where errors end, and which do not."""

import pytest
import trio

from pushctl.http.contained import Contained, is_caused_by


def test_an_exception_ends_there_and_is_kept() -> None:
    with Contained() as call:
        raise ZeroDivisionError
    assert isinstance(call.error, ZeroDivisionError)
    with Contained() as call:
        pass
    assert call.error is None


def test_what_is_no_exception_goes_through() -> None:
    with pytest.raises(KeyboardInterrupt), Contained():
        raise KeyboardInterrupt
    with pytest.raises(BaseExceptionGroup), Contained():
        raise BaseExceptionGroup("", [ZeroDivisionError(), KeyboardInterrupt()])


async def test_cancellation_goes_through() -> None:
    with trio.CancelScope() as scope, Contained():
        scope.cancel()
        await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught


def test_a_cause_is_found_wherever_it_hides() -> None:
    cause = KeyError("cause")
    for error in (cause, led_to(cause), ExceptionGroup("", [ValueError(), led_to(cause)]), led_to(led_to(cause))):
        assert is_caused_by(error, KeyError)
        assert not is_caused_by(error, OSError)


def led_to(cause: Exception) -> Exception:
    try:
        raise RuntimeError from cause
    except RuntimeError as error:
        return error
