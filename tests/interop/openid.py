"""An OpenID provider that is not ours, as a process, and a person who logs in there with a browser.

Owns: panva's oidc-provider (tests/interop/oidc), its start and its end, and what a person does on its pages.
Must not know: our service.
"""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from tests.interop.npm import installed
from tests.processes import dying_with_us, free_port

FOLDER: Final = Path(__file__).parent / "oidc"
CLIENT: Final = "push-cli"
RESOURCE: Final = "https://push.example.net"
MOST_PAGES: Final = 12


class OpenIdProvider:
    """Ours until `kill`. Each start has new keys, at the same address."""

    def __init__(self, **settings: Any) -> None:
        installed(FOLDER)
        self._settings = {"port": free_port(), **settings}
        self.issuer = f"http://127.0.0.1:{self._settings['port']}"
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        node = shutil.which("node")
        assert node is not None
        command = dying_with_us([node, "provider.mjs", json.dumps(self._settings)])
        self._process = subprocess.Popen(
            command, cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline()) == {"issuer": self.issuer}

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def restart(self, **settings: Any) -> None:
        self.kill()
        self._settings |= settings
        self.start()


class _Form(HTMLParser):
    """The first form of a page: where it goes, and what is in it. Buttons are not pressed but by being submitted."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None:
            self.action = said.get("action", "")
        elif tag == "input" and "name" in said:
            self.fields[said["name"]] = said.get("value", "")


async def log_in_with_browser(url: str, person: str) -> httpx.Response:
    """Opens the page and does what it asks for, as `person`, until there is nothing more to fill in; the last page."""
    async with httpx.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(url)
        for _ in range(MOST_PAGES):
            if answer.is_redirect:
                answer = await browser.get(urljoin(str(answer.url), answer.headers["location"]))
                continue
            form = _Form(answer.text)
            if form.action is None:
                return answer
            typed = {"login": person, "password": "secret"}
            filled = form.fields | {name: value for name, value in typed.items() if name in form.fields}
            answer = await browser.post(urljoin(str(answer.url), form.action), data=filled)
    raise AssertionError(f"no end of pages; the last was {answer.status_code}: {answer.text[:200]}")
