"""A load in a process of its own: it waits for its trigger, reports also when it is stopped, and keeps its secrets."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from pushctl.client.load import LoadPlan
from pushctl.client.load_apart import load_apart
from pushctl.client.targets import Target
from pushctl.errors import Unreachable
from tests.fake_service import FakeService, open_fake_service

PATIENCE_SECONDS = 20
SECRET = "s3cret-of-somebody"


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    async with open_fake_service() as running:
        running.answers[f"POST /push/{SECRET}"] = (201, None, {})
        yield running


def plan(origin: str, **changed: Any) -> LoadPlan:
    least: dict[str, Any] = {"rate": 100.0, "seconds": 3600.0, "concurrency": 2}
    target = Target(f"{origin}/push/{SECRET}")
    return LoadPlan(targets=[target], headers={}, authorization={}, **{**least, **changed})


async def test_it_connects_waits_sends_and_reports_and_no_push_url_is_in_the_list_of_processes(
    service: FakeService,
) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with load_apart(plan(service.api_url, count=10), lambda done: None) as sender:
            shown = await trio.run_process(["ps", "-eww", "-o", "args"], capture_stdout=True)
            assert not service.requests
            found = await sender.run()
    assert (found.accepted, found.interrupted, len(service.requests)) == (10, False, 10)
    assert b"load_apart" in shown.stdout
    assert SECRET.encode() not in shown.stdout


async def test_told_to_stop_it_still_reports(service: FakeService) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            load_apart(plan(service.api_url), lambda done: sender.stop() if done > 10 else None) as sender,
        ):
            found = await sender.run()
    assert found.interrupted
    assert found.accepted > 3


async def test_what_keeps_it_from_sending_is_said_here() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Unreachable, match="connection refused"), flatten_subgroups=True):
        async with load_apart(plan("http://127.0.0.1:1"), lambda done: None):
            pass
