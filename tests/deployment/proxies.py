"""nginx and HAProxy of Debian, run with the files of examples/ in front of a service of a test.

Owns: what of those files is a place and has to be another here: ports, certificates, logs. Everything else runs as it
stands. Must not know: what is asked through them.
"""

import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trio

from pushctl.testing.service import Running
from tests.certificates import write_certificates
from tests.processes import dying_with_us, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
START_SECONDS = 10

_NGINX = """
daemon off;
error_log stderr warn;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
{content}
}}
"""
"""What Debian's nginx.conf is around the files of conf.d."""


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs. Ports are of 127.0.0.1."""

    https: int
    wss: int
    trust: ssl.SSLContext
    log: Path
    process: "subprocess.Popen[bytes]"
    folder: Path
    reload: Callable[["Proxy"], None]

    def workers(self) -> set[str]:
        """Who serves at the moment: another set after a reload."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return set(children.read_text().split())


def nginx_text(service: Running, folder: Path, https: int, wss: int) -> str:
    """examples/nginx/ for this service."""
    pem = folder / "server.pem"
    content = _replaced(
        (EXAMPLES / "nginx/pushctl.conf").read_text(),
        {
            "listen 443 ssl http2;": f"listen 127.0.0.1:{https} ssl http2;",
            "/etc/nginx/tls/push.example.pem": str(pem),
            "/etc/nginx/tls/push.example.key": str(pem.with_suffix(".key")),
            "/var/log/nginx/": f"{folder}/",
            "127.0.0.1:8080": urlsplit(service.api).netloc,
            "127.0.0.1:8081": urlsplit(service.boxoffice).netloc,
        },
    ) + _replaced(
        (EXAMPLES / "nginx/sockets.conf").read_text(),
        {
            "listen 443 ssl;": f"listen 127.0.0.1:{wss} ssl;",
            "/etc/nginx/tls/wildcard.push.example.pem": str(pem),
            "/etc/nginx/tls/wildcard.push.example.key": str(pem.with_suffix(".key")),
            "/var/log/nginx/": f"{folder}/",
            "127.0.0.1:8082": urlsplit(service.sockets["s1"]).netloc,
            "127.0.0.1:8083": urlsplit(service.sockets["s2"]).netloc,
        },
    )
    return _NGINX.format(folder=folder, content=content)


def haproxy_text(service: Running, folder: Path, https: int, wss: int) -> str:
    """examples/haproxy/ for this service."""
    both = folder / "both.pem"
    both.write_text((folder / "server.pem").read_text() + (folder / "server.key").read_text())
    return _replaced(
        (EXAMPLES / "haproxy/haproxy.cfg").read_text(),
        {
            "maxconn 50000": "maxconn 500",
            "bind :443 ": f"bind 127.0.0.1:{https} ",
            "bind :8443 ": f"bind 127.0.0.1:{wss} ",
            "/etc/haproxy/tls/push.example.pem": str(both),
            "/etc/haproxy/tls/wildcard.push.example.pem": str(both),
            "log /dev/log local0": "log stdout format raw local0",
            "port 9080": f"port {urlsplit(service.admin['api']).port}",
            "port 9081": f"port {urlsplit(service.admin['boxoffice']).port}",
            "127.0.0.1:8080": urlsplit(service.api).netloc,
            "127.0.0.1:8081": urlsplit(service.boxoffice).netloc,
            "127.0.0.1:8082": urlsplit(service.sockets["s1"]).netloc,
            "127.0.0.1:8083": urlsplit(service.sockets["s2"]).netloc,
        },
    )


@contextmanager
def nginx(service: Running, folder: Path) -> Iterator[Proxy]:
    with _running(
        nginx_text, ["/usr/sbin/nginx", "-e", "stderr", "-c"], signal.SIGHUP, service, folder, "pushctl.log"
    ) as proxy:
        yield proxy


@contextmanager
def haproxy(service: Running, folder: Path) -> Iterator[Proxy]:
    with _running(
        haproxy_text, ["/usr/sbin/haproxy", "-W", "-db", "-f"], signal.SIGUSR2, service, folder, "said"
    ) as proxy:
        yield proxy


@contextmanager
def _running(
    text: Callable[[Running, Path, int, int], str],
    command: list[str],
    reload: signal.Signals,
    service: Running,
    folder: Path,
    log: str,
) -> Iterator[Proxy]:
    assert Path(command[0]).exists(), f"{command[0]} is not installed; `make needs` installs it"
    authority = write_certificates(folder, host="push.example")
    https, wss = free_port(), free_port()
    file = folder / "proxy.conf"
    file.write_text(text(service, folder, https, wss))
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(dying_with_us([*command, str(file)]), stdout=said, stderr=said)
    trust = ssl.create_default_context(cafile=str(authority))
    try:
        yield Proxy(https, wss, trust, folder / log, process, folder, lambda proxy: proxy.process.send_signal(reload))
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)
    assert process.returncode in (0, 143), (folder / "said").read_text()


async def listening(proxy: Proxy) -> None:
    """Wait until it takes connections. Nobody else could tell us."""
    with trio.fail_after(START_SECONDS):
        for port in (proxy.https, proxy.wss):
            while True:
                assert proxy.process.poll() is None, (proxy.folder / "said").read_text()
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                except OSError:
                    await trio.sleep(0.02)
                else:
                    await trio.aclose_forcefully(stream)
                    break


def _replaced(text: str, places: dict[str, str]) -> str:
    for place, here in places.items():
        assert place in text, f"the example no longer has {place!r}"
        text = text.replace(place, here)
    return text
