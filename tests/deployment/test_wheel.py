"""The wheel, built from a clean copy and installed where nothing of the project is: what people get who never clone it.

Its dependencies are those of the tests' environment, lent: what is proved is that the wheel itself is whole.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tests.conftest import redis_binary
from tests.processes import dying_with_us

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NOT_PACKED = shutil.ignore_patterns("__pycache__", "node_modules", ".*", "*.egg-info", "build", "dist")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("source") / "pushctl"
    shutil.copytree(ROOT, copy, ignore=NOT_PACKED)
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-C", copy, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)
    (copy / ".git/info/exclude").write_text("*\n")
    target = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-W", "ignore", "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", target, copy], check=True)
    [built] = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a new environment that has this wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def data_files() -> Iterator[str]:
    for package in ("pushctl", "roles"):
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield str(file.relative_to(ROOT))


def test_it_holds_every_file_of_the_program_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        [metadata] = [archive.read(name) for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        commit = archive.read("pushctl/commit.txt").decode().strip()
    assert names == {*data_files(), "pushctl/commit.txt"}
    assert re.fullmatch(r"[0-9a-f]{12}", commit)
    assert len(licences) == 1
    said = HeaderParser().parsestr(metadata.decode())
    assert said["License-Expression"] == "MPL-2.0"
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload() == (ROOT / "README.md").read_text()
    assert "Typing :: Typed" in said.get_all("Classifier", [])


def test_installed_it_serves_and_asks_from_any_directory(installed: Path, folder: Path) -> None:
    environment = {
        "PATH": f"{installed}:/usr/bin:/bin",
        "HOME": str(folder),
        "PUSHCTL_CLIENT_DIR": str(folder / "client"),
        "PUSHCTL_REDIS_SERVER": redis_binary(),
    }

    def pushctl(*arguments: str) -> str:
        return ran("pushctl", *arguments)

    def ran(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import pushctl, roles.api; print(pushctl.__file__, roles.api.__file__)"
    assert all(Path(file).is_relative_to(installed.parent) for file in ran("python", "-c", where).split())
    assert re.match(r"pushctl \S+ \(commit [0-9a-f]{12}\)\n", pushctl("--version"))
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(
            dying_with_us([str(installed / "pushctl"), "serve", "all", "--ports", "auto", "--data-dir", "data"]),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert service.stdout is not None
        line = service.stdout.readline()
        while not line.startswith("{"):
            assert line, (folder / "log").read_text()
            line = service.stdout.readline()
        where_it_is = json.loads(line)
        pushctl("client", "login", "alice", "--api", where_it_is["api"], "--boxoffice", where_it_is["boxoffice"])
        (folder / "push_url.txt").write_text(pushctl("client", "allow", "https://news.example"))
        pushctl("send", "@push_url.txt", "Rain at noon")
        pushctl("client", "sync")
        assert "Rain at noon" in pushctl("client", "messages")
        stats = json.loads(pushctl("stats", "--json", "--expect", "2", "--set", f"redis.url={where_it_is['redis']}"))
        assert [server["id"] for server in stats["servers"]] == ["s1", "s2"]
    finally:
        service.send_signal(signal.SIGTERM)
        code = service.wait(timeout=30)
        assert service.stdout is not None
        service.stdout.close()
    assert code == 0
