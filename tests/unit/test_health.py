"""What a process knows of its own health without asking anybody: certificates, open files."""

import subprocess
import sys
from pathlib import Path

import pytest

from pushctl.config.model import Config
from pushctl.config.schema import changed
from pushctl.health import Health
from pushctl.tls import Tls
from tests.certificates import write_certificates


@pytest.mark.parametrize(
    ("days", "own", "warned"),
    [(100, [], []), (10, [], ["certificate_ends"]), (-1, ["certificate_ended"], [])],
    ids=["good", "ends soon", "ended"],
)
def test_a_certificate_that_ended_is_a_reason_one_that_ends_soon_a_warning_and_a_new_one_mends_both(
    tmp_path: Path, days: float, own: list[str], warned: list[str]
) -> None:
    write_certificates(tmp_path, days=days)
    files = {
        f"api.tls_{name}": str(tmp_path / f"server.{ending}")
        for name, ending in (("certificate", "pem"), ("key", "key"))
    }
    config = changed(Config(), files)
    tls = Tls.configured(config, "api")
    assert tls is not None
    health = Health(config, tls)
    assert [reason.code for reason in health.own()] == own
    assert [reason.code for reason in health.warnings()] == warned
    write_certificates(tmp_path, days=100)
    tls.reload()
    assert [*health.own(), *health.warnings()] == []


FILLING = """
import os, resource
from pushctl.open_files import open_files_short
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
left = 1024 - len(os.listdir("/proc/self/fd")) + 1
opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(left - 64)]
print(len(open_files_short()))
opened += [os.open("/dev/null", os.O_RDONLY)]
(reason,) = open_files_short()
print(reason.code, reason.detail)
while True:
    try:
        opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        break
print(open_files_short()[0].code)
"""


def test_a_process_with_few_files_left_to_open_says_so_before_it_has_none() -> None:
    ran = subprocess.run([sys.executable, "-c", FILLING], capture_output=True, text=True, check=True, timeout=30)
    enough, short, none = ran.stdout.splitlines()
    assert enough == "0"
    assert short.startswith("open_files_short 961 of 1,024 files are open")
    assert none == "open_files_short"
