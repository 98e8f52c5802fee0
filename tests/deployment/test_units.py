"""The units of examples/systemd/ as Debian's systemd reads them. (They were run, too: docs/deployment.md says how.)"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployment.files import UNITS

pytestmark = pytest.mark.debian

ANALYZE = "/usr/bin/systemd-analyze"
EXPOSURE_AT_MOST = 1.5
"""Of 10; most services that Debian comes with are at 9.6."""


@pytest.fixture
def unit_path(tmp_path: Path) -> Path:
    """A copy of the units whose program is there."""
    shutil.copytree(UNITS, tmp_path / "units")
    for file in (tmp_path / "units").glob("*.service"):
        program = str(Path(sys.executable).with_name("pushctl"))
        file.write_text(file.read_text().replace("/opt/pushctl/bin/pushctl", program))
    return tmp_path / "units"


def analyze(unit_path: Path, *arguments: str) -> str:
    assert Path(ANALYZE).exists(), "systemd is not installed; `make needs` installs it"
    done = subprocess.run(
        [ANALYZE, *arguments],
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{unit_path}:", "SYSTEMD_COLORS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_has_nothing_against_the_units(unit_path: Path) -> None:
    files = [file for kind in ("service", "target", "timer") for file in sorted(unit_path.glob(f"*.{kind}"))]
    assert len(files) == 8
    said = analyze(unit_path, "verify", "--man=no", *map(str, files))
    assert "pushctl" not in said, said


def test_each_unit_may_do_little(unit_path: Path) -> None:
    files = sorted(unit_path.glob("*.service"))
    said = analyze(unit_path, "security", "--offline=true", "--no-pager", *map(str, files))
    exposures = {unit: float(level) for unit, level in re.findall(r"level for pushctl-(\S+): ([0-9.]+)", said)}
    assert len(exposures) == len(files), said
    assert max(exposures.values()) <= EXPOSURE_AT_MOST, exposures
