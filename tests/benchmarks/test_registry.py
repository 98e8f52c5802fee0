"""The benchmarks of the registry still work, and what must not grow with the size of an inbox does not.

Ratios are asserted, never times: each is between two figures of the same run, taken in turns.
"""

import re
import sys
from pathlib import Path

import pytest
import trio

from tests.benchmarks import registry_scripts
from tests.benchmarks.registry_memory import STEPS
from tests.benchmarks.registry_scripts import FILTERED
from tests.benchmarks.rig import UNLIMITED, one_redis, registry_on
from tests.house.markdown import Document

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"
SIZE = registry_scripts.Size(large=3_000, rounds=7)
"""Thirty times as many: what grew with them would take thirty times as long. docs/benchmarks.md has 10,000."""
LINES_OF_OPERATIONS = ("append", "read", "sync, 10 behind", "sync, 1,000 behind", "presence: claim, release")
PARTS = ("Operations", "The link", "µs in Redis", "All read at once", "Append with `wait_replicas`", "Memory", "Looks")

pytestmark = pytest.mark.slow


@pytest.mark.alone
async def test_append_at_a_full_quota_of_three_thousand_takes_less_than_twice_what_it_takes_at_a_hundred() -> None:
    with trio.fail_after(180), one_redis() as server:
        found = await registry_scripts.full_quotas(server, SIZE)
    assert len(found) == 2
    assert [each for each in found if each.ratio >= 2] == []


@pytest.mark.alone
async def test_a_question_about_three_thousand_messages_takes_less_than_twice_what_it_takes_about_a_hundred() -> None:
    with trio.fail_after(180), one_redis() as server:
        async with registry_on(server.url, limits=UNLIMITED) as registry:
            found = await registry_scripts.inboxes(registry, server, SIZE)
    assert {"sync, 10 behind", "state of a message", "read one", FILTERED} <= {each.name for each in found}
    assert [each for each in found if each.ratio >= (16 if each.name == FILTERED else 2)] == []


@pytest.mark.long
async def test_the_benchmarks_print_all_the_tables_that_the_document_quotes() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.registry", "--quick"]
    with trio.fail_after(300):
        printed = (await trio.run_process(command, capture_stdout=True)).stdout.decode()
    headings = Document(BENCHMARKS).headings()
    for part in PARTS:
        assert any(heading.startswith(part) for heading in headings), part
        assert re.search(f"^### {re.escape(part)}", printed, re.MULTILINE), part
    for name in LINES_OF_OPERATIONS:
        for callers in (1, 16, 256):
            assert re.search(rf"^\| {re.escape(name)} +\| +{callers} \|", printed, re.MULTILINE), (name, callers)
    for name in STEPS:
        assert f"\n| {name} " in printed
    assert re.search(r"^bytes = [\d,]+ x users \+ ", printed, re.MULTILINE)
