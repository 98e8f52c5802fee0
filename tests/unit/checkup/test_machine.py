"""Limits of the machine, as a process under them sees them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pushctl.checkup import Here
from pushctl.checkup.machine import check_listen_queue
from pushctl.config.load import load

LIMITED = """
import resource, sys, trio, msgspec
from pushctl.checkup import Here, examine_machine
from pushctl.config.model import Config
resource.setrlimit(resource.RLIMIT_NOFILE, (256, int(sys.argv[1])))
for finding in trio.run(examine_machine, Here(Config())):
    print(msgspec.json.encode(finding).decode())
"""


def here(*sets: str) -> Here:
    return Here(load(None, sets, {}, default_directory=Path("/nonexistent")).config)


@pytest.mark.parametrize(("hard", "verdict"), [(10_255, "bad"), (10_256, "ok")])
def test_the_hard_limit_of_open_files_must_be_enough_for_all_connections(hard: int, verdict: str) -> None:
    """By default 10,000 connections, and 256 files beside them; the soft limit does not matter, roles raise it."""
    ran = subprocess.run([sys.executable, "-c", LIMITED, str(hard)], capture_output=True, check=True, timeout=30)
    finding = json.loads(ran.stdout.splitlines()[0])
    assert (finding["check"], finding["verdict"]) == ("open_files", verdict)
    assert f"{hard:,} may be opened" in finding["found"]
    assert bool(finding["do"]) == (verdict == "bad")
    if verdict == "bad":
        assert finding["do"][0].startswith("LimitNOFILE=10256")


@pytest.mark.parametrize(("length", "verdict"), [("128\n", "warn"), ("1023\n", "warn"), ("4096\n", "ok")])
async def test_a_short_queue_of_connections_is_worth_a_word(tmp_path: Path, length: str, verdict: str) -> None:
    file = tmp_path / "somaxconn"
    file.write_text(length)
    (finding,) = await check_listen_queue(here(), file)
    assert finding.verdict == verdict


async def test_what_a_system_does_not_tell_is_unknown_and_says_where_to_look(tmp_path: Path) -> None:
    (finding,) = await check_listen_queue(here(), tmp_path / "somaxconn")
    assert finding.verdict == "unknown"
    assert finding.do
