"""A site that sends Web Push: a page, its service worker, and this sender. Nothing here knows which push service it is.

    .venv/bin/pushctl serve all                  # in a terminal of its own
    .venv/bin/python examples/web_push/site.py   # then open the address that it prints

README.md says how to have your own Firefox use that service. Subscriptions are kept for as long as this runs; a real
site keeps them, and its key, in its database.
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pywebpush
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

HERE = Path(__file__).parent
FILES = {"/": ("index.html", "text/html; charset=utf-8"), "/worker.js": ("worker.js", "text/javascript")}
GONE = (404, 410)
MAX_BODY_BYTES = 10_000

KEY = ec.generate_private_key(ec.SECP256R1())
"""Whoever has it is this site: a push URL made for its public half takes only messages that it signed (RFC 8292)."""

subscriptions: dict[str, dict[str, Any]] = {}
"""By push URL."""


def public_key() -> str:
    point = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).decode().rstrip("=")


def send(subscription: dict[str, Any], text: str) -> int:
    """Encrypt for this browser alone (RFC 8291), sign, and POST to its push URL. The push service's answer."""
    try:
        answer = pywebpush.webpush(
            subscription,
            data=text,
            vapid_private_key=Vapid02(KEY),
            vapid_claims={"sub": "mailto:ops@site.example"},
            ttl=3600,
            timeout=10,
        )
    except pywebpush.WebPushException as refused:
        if refused.response is None:
            raise
        answer = refused.response
    return int(answer.status_code)


def send_to_all(text: str) -> str:
    """What became of it, in words. A push URL that is gone is forgotten."""
    statuses = {url: send(subscription, text) for url, subscription in subscriptions.items()}
    for url, status in statuses.items():
        if status in GONE:
            del subscriptions[url]
    return f"sent to {len(statuses)}: {', '.join(map(str, statuses.values())) or 'nobody has allowed it'}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/key":
            self._answer(public_key(), "text/plain")
        elif self.path in FILES:
            name, kind = FILES[self.path]
            self._answer((HERE / name).read_text(encoding="utf-8"), kind)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), MAX_BODY_BYTES)))
        if self.path == "/subscriptions":
            subscriptions[body["endpoint"]] = body
            self._answer("kept", "text/plain")
        elif self.path == "/messages":
            self._answer(send_to_all(body), "text/plain")
        else:
            self.send_error(404)

    def _answer(self, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8090
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print(f"http://localhost:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
