"""A real Firefox (Debian's firefox-esr), headless, with a profile of its own whose push service is ours.

Owns: its preferences, its life. Promises: it speaks to nobody but 127.0.0.1, and is gone when the test is.
Must not know: what is tested.
"""

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import which

import trio

from tests.interop.bidi import BiDi, bidi
from tests.processes import dying_with_us

START_SECONDS = 60
END_SECONDS = 30

PREFERENCES: dict[str, object] = {
    "dom.push.testing.allowInsecureServerURL": True,
    # The Remote Agent would switch it off.
    "dom.push.connection.enabled": True,
    "permissions.default.desktop-notification": 1,
    # Nobody has a notification daemon here.
    "alerts.useSystemBackend": False,
    # A push that shows nothing costs a site of its quota.
    "dom.push.maxQuotaPerSubscription": 100_000,
    "network.manage-offline-status": False,
    # Whatever it may still want of the world outside ends here; loopback is never proxied.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    # Quiet: nobody is asked for updates, captive portals, safe browsing, studies and settings.
    "app.update.disabledForTesting": True,
    "app.normandy.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.safebrowsing.provider.google4.updateURL": "",
    "browser.safebrowsing.provider.mozilla.updateURL": "",
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.page": 0,
    "browser.newtabpage.activity-stream.feeds.system.topstories": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "geo.provider.testing": True,
    "media.gmp-manager.updateEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "",
}


class Firefox:
    def __init__(self, folder: Path, push_server: str) -> None:
        """`folder`: for its profile and its log; `push_server`: the ws:// URL of a socket server."""
        self.program = which("firefox-esr")
        assert self.program, "no firefox-esr: `make interop` installs it"
        self._profile = folder / "profile"
        self._profile.mkdir()
        self._home = folder
        self._log = folder / "firefox.log"
        preferences = PREFERENCES | {"dom.push.serverURL": push_server}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
        (self._profile / "user.js").write_text("\n".join(lines) + "\n")

    @property
    def uaid(self) -> str | None:
        """What it keeps of itself; it is closed."""
        found = re.search(r'"dom\.push\.userAgentID", "([^"]*)"', (self._profile / "prefs.js").read_text())
        return found[1] if found else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[BiDi]:
        """Started, and closed as a person does it at the end of the block."""
        process = await self._start()
        try:
            with trio.fail_after(START_SECONDS):
                port = await self._port(process)
            async with bidi(port) as client:
                yield client
                await client.ask("browser.close")
            with trio.fail_after(END_SECONDS):
                await trio.to_thread.run_sync(process.wait)
        finally:
            process.kill()
            process.wait()

    async def _start(self) -> subprocess.Popen[bytes]:
        (self._profile / "WebDriverBiDiServer.json").unlink(missing_ok=True)
        command = [str(self.program), "--headless", "--no-remote", "--profile", str(self._profile)]
        environment = {name: value for name, value in os.environ.items() if "PROXY" not in name.upper()} | {
            "HOME": str(self._home),
            "MOZ_CRASHREPORTER_DISABLE": "1",
            "MOZ_DISABLE_CONTENT_SANDBOX": "1",
        }
        with self._log.open("ab") as log:
            # At once, not in a thread: tests/processes.py says why.
            return subprocess.Popen(  # noqa: ASYNC220
                dying_with_us([*command, "--remote-debugging-port", "0"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    async def _port(self, process: subprocess.Popen[bytes]) -> int:
        """Where it listens, once it does."""
        while True:
            assert process.poll() is None, f"Firefox ended at once: {self._log.read_text(errors='replace')[-2000:]}"
            try:
                port: int = json.loads((self._profile / "WebDriverBiDiServer.json").read_text())["ws_port"]
            except (FileNotFoundError, json.JSONDecodeError):
                await trio.sleep(0.1)  # it tells nobody
            else:
                return port
