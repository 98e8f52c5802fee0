"""One `pushctl serve all` as a process, one directory, one person: where commands are tried as people type them.

Owns: the service, its addresses in the environment, and what words of examples stand for here.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pushctl.cli.answers import Addresses
from tests.json_lines import command_of, valid_json_lines
from tests.processes import dying_with_us
from tests.unit.cli.commands import Ran, run


@dataclass
class Story:
    """One service, one directory, one person; what happened so far."""

    service: Addresses
    folder: Path
    user: str = ""
    validated: set[str] = field(default_factory=set)

    def typed(self, words: list[str]) -> list[str]:
        """What the example's words are here."""
        stands_for: dict[str, Callable[[], str]] = {
            "PUSH_URL": lambda: "@push_url.txt",
            "https://push.example/push/AbC...": lambda: Path("push_url.txt").read_text().strip(),
            "6fGZ0uMe7nqv1rkDyq0hvA": lambda: self.user,
            "6fGZ0uMe7nqv1rkDyq0hvA/17": lambda: (
                f"{self.user}/{self.field('seq', 'inspect', 'message', '@message.txt')}"
            ),
            "6fGZ0uMe7nqv1rkDyq0hvA/1hG8kkB0yXzQ": lambda: f"{self.user}/{self.field('id', 'client', 'urls')}",
            "redis.url=unix:///run/redis.sock": lambda: f"redis.url={self.service.redis}",
            "https://push.example": lambda: self.service.api,
            "https://where.push.example": lambda: self.service.boxoffice,
            "AvkzYm9vLW0": lambda: self.field("id", "client", "messages")[:8],
            "Xq3rT0aBcD4e": lambda: self.field("id", "client", "identities" if "unlink" in words else "devices"),
        }
        found = [stands_for[word]() if word in stands_for else word for word in words]
        return [word.replace("/etc/pushctl", "etc") for word in found]

    def field(self, name: str, *command: str) -> str:
        """Of the last line that a command prints."""
        return str(self.ran(*command, "--json").lines[-1][name])

    def of_user(self, name: str, *command: str) -> str:
        return f"{self.user}/{self.field(name, *command)}"

    def ran(self, *words: str, stdin: bytes = b"") -> Ran:
        done = run(*words, stdin=stdin)
        if "--json" in words and done.lines:
            self.validated.add(command_of(words))
        return done


@contextmanager
def serving(tmp_path: Path) -> Iterator[Addresses]:
    """`pushctl serve all`, a process, on free ports."""
    command = [sys.executable, "-m", "pushctl", "serve", "all", "--ports", "auto", "--data-dir", str(tmp_path / "data")]
    running = subprocess.Popen(dying_with_us(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert running.stdout is not None
    try:
        assert running.stdout.readline().startswith("ready role=all")
        (where,) = valid_json_lines("serve all", running.stdout.readline())
        yield Addresses(**where)
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(timeout=20)
        running.stdout.close()


def begin(service: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """alice has logged in and allowed a site, whose push URL is in push_url.txt here; one message was sent to it."""
    for name in [name for name in os.environ if name.startswith("PUSHCTL_") and name != "PUSHCTL_KEEP_SCREENS"]:
        monkeypatch.delenv(name)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    here = {
        "PUSHCTL_CLIENT_API": service.api,
        "PUSHCTL_CLIENT_BOXOFFICE": service.boxoffice,
        "PUSHCTL_CLIENT_DIR": str(tmp_path / "profiles"),
        "PUSHCTL_REDIS__URL": service.redis,
        "PUSHCTL_IDENTITY__KEYS_FILE": str(tmp_path / "data/keys.toml"),
        "PUSHCTL_API__PUBLIC_URL": service.api,
        "PUSHCTL_SOCKET__PUBLIC_URL": service.socket[0],
    }
    for name, value in here.items():
        monkeypatch.setenv(name, value)
    Path("icon.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    made = Story(service, folder)
    assert run("client", "login", "alice").code == 0
    Path("push_url.txt").write_text(run("client", "allow", "first.example").out)
    shutil.copy("push_url.txt", "first.txt")
    Path("message.txt").write_text(made.field("location", "send", "@push_url.txt", "first"))
    made.user = made.field("user", "inspect", "push-url", "@push_url.txt")
    return made
