"""The registry beside its model: thousands of random operations on one inbox, on a real Redis.

Every day a few hundred steps, always the same; `make test-long` runs the profile `long`, other ones each time.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from pushctl.config.model import Config
from pushctl.config.model import Limits as Configured
from pushctl.registry import Registry
from pushctl.registry import messages as messages_module
from tests.registry.conftest import Shift
from tests.registry.inbox_cases import LOSSES, try_each_question_after
from tests.registry.inbox_losses import HurtInbox
from tests.registry.inbox_machine import CalmInbox
from tests.registry.inbox_model import Limits
from tests.registry.inbox_sight import PATIENCE_SECONDS, Surroundings

ON_CLUSTER = pytest.mark.long
"""An inbox is in one slot, and its scripts are the same on one Redis: what a Cluster is like others ask every day."""

SMALL = Limits(messages=7, bytes=120, messages_per_url=3, bytes_per_url=60, push_urls=4, log_events=20, log_hours=9)
"""So that every quota is met all the time. Log events live an hour longer than the longest-lived message."""


@pytest.fixture
def config(config: Config) -> Config:
    limits = Configured(
        push_urls_per_user=SMALL.push_urls,
        unread_per_user=SMALL.messages,
        unread_per_push_url=SMALL.messages_per_url,
        unread_bytes_per_user=SMALL.bytes,
        unread_bytes_per_push_url=SMALL.bytes_per_url,
        log_events_per_user=SMALL.log_events,
    )
    lifetime = replace(config.messages, max_lifetime_seconds=(SMALL.log_hours - 1) * 3600)
    # A question has no answer only where the model says so, however busy the machine.
    patient = replace(config.redis, timeout_seconds=PATIENCE_SECONDS)
    return replace(config, limits=limits, messages=lifetime, redis=patient)


def run_settings(examples: int) -> settings:
    if settings.get_current_profile_name() == "long":
        return settings.get_profile("long")
    # Not made smaller when red: that takes minutes, and is what `make test-long` is for.
    everyday = settings(derandomize=True, database=None, phases=(Phase.generate,))
    return settings(everyday, max_examples=examples, stateful_step_count=40)


async def run(machine: Callable[[], RuleBasedStateMachine], examples: int) -> None:
    factory: Any = machine  # it says that it wants a class, and calls it
    await trio.to_thread.run_sync(lambda: run_state_machine_as_test(factory, settings=run_settings(examples)))


@pytest.fixture
def around(registry: Registry, config: Config, shift: Shift, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    monkeypatch.setattr(messages_module, "PAGE_COUNT", 3)  # so that pages are full by count, too
    return Surroundings(registry, shift, SMALL, config)


async def test_an_inbox_is_what_its_model_says(around: Surroundings) -> None:
    await run(lambda: CalmInbox(around), examples=30)


@pytest.mark.parametrize("loss", LOSSES)
async def test_every_question_after_every_loss(around: Surroundings, loss: str) -> None:
    await trio.to_thread.run_sync(try_each_question_after, loss, around)


async def test_whatever_redis_loses_no_phone_is_silently_behind(around: Surroundings) -> None:
    await run(lambda: HurtInbox(around), examples=30)
