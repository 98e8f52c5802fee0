"""Start-up and shutdown of applications around a body."""

import pytest
import trio
import trio.testing
from litestar import Litestar

from pushctl.errors import Failed
from pushctl.http.asgi import Receive, Scope, Send
from pushctl.http.lifespan import lifespan


async def test_the_body_runs_between_startup_and_shutdown() -> None:
    story: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            story.append(phase)
            await send({"type": f"lifespan.{phase}.complete"})

    with trio.fail_after(5):
        async with lifespan(app):
            story.append("body")
    assert story == ["startup", "body", "shutdown"]


async def test_litestar_runs_its_hooks() -> None:
    story: list[str] = []

    async def started() -> None:
        story.append("startup")

    async def stopped() -> None:
        story.append("shutdown")

    with trio.fail_after(5):
        async with lifespan(Litestar(on_startup=[started], on_shutdown=[stopped], logging_config=None)):  # type: ignore[arg-type] # its own names for ASGI's types
            story.append("body")
    assert story == ["startup", "body", "shutdown"]


async def test_an_application_without_lifespan_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    async def raises(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError(scope["path"])

    async def returns(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    for app in (raises, returns):
        with trio.fail_after(5):
            async with lifespan(app):
                pass
    assert capsys.readouterr().err == ""


async def test_an_application_that_cannot_start_is_one_clear_line() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no table"})

    with trio.fail_after(5), pytest.raises(Failed, match="cannot start: no table"):
        async with lifespan(app):
            raise AssertionError("never reached")


async def test_a_crash_while_it_lives_is_logged_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ZeroDivisionError

    with trio.fail_after(5):
        async with lifespan(app):
            await trio.testing.wait_all_tasks_blocked()
    assert "app_lifespan_crashed" in capsys.readouterr().err
