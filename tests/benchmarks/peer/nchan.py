"""Nchan, a module of nginx, with Redis: a channel for each device, whose messages are kept in Redis.

nginx is one process here (`master_process off`): a kill is then one of everything, and workers need not
tell each other anything.
"""

import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from tests.benchmarks.peer import KEPT_PER_DEVICE, KEPT_SECONDS, MARK, Heard, Peer, Running, TextDialect
from tests.benchmarks.peer.parts import OverHttp, Server, ending, said
from tests.benchmarks.rig import folder, one_redis, version
from tests.processes import free_port

NGINX = "/usr/sbin/nginx"
MODULE = "/usr/lib/nginx/modules/ngx_nchan_module.so"

CONFIGURATION = """
daemon off;
master_process off;
user root;
pid {here}/nginx.pid;
error_log {here}/error.log warn;
load_module {module};
worker_rlimit_nofile 65536;
events {{ worker_connections 50000; }}
http {{
  access_log off;
  client_body_temp_path {here}/body;
  proxy_temp_path {here}/proxy;
  fastcgi_temp_path {here}/fastcgi;
  uwsgi_temp_path {here}/uwsgi;
  scgi_temp_path {here}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 600;
  nchan_shared_memory_size 512M;
  upstream storage {{ nchan_redis_server {redis}; nchan_redis_storage_mode distributed; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    nchan_message_buffer_length {kept};
    nchan_message_timeout {seconds}s;
    location ~ ^/publish/(\\w+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_redis_pass storage; }}
    location ~ ^/listen/(\\w+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_redis_pass storage;
      nchan_websocket_ping_interval 30;
    }}
  }}
}}
"""

_ID = re.compile(rb"^id: (\S+)")


class Dialect(TextDialect):
    """Its place is the id of the last message, of which each tells (subprotocol `ws+meta.nchan`)."""

    greets = False

    def __init__(self, device: int) -> None:
        self._path = f"/listen/{device}"
        self._last = ""

    def request(self) -> tuple[str, str | None]:
        return self._path + (f"?last_event_id={self._last}" if self._last else ""), "ws+meta.nchan"

    def hello(self) -> list[bytes]:
        return []

    def hears(self, payload: bytes) -> Heard:
        place = _ID.match(payload)
        if place:
            self._last = place[1].decode()
        return Heard([int(number) for number in MARK.findall(payload)])


class Nchan(OverHttp):
    def dialect(self, device: int) -> Dialect:
        return Dialect(device)


@asynccontextmanager
async def _running(devices: int) -> AsyncIterator[Running]:
    with ExitStack() as stack:
        redis = stack.enter_context(one_redis())
        here = stack.enter_context(folder())
        port = free_port()
        config = here / "nginx.conf"
        config.write_text(
            CONFIGURATION.format(
                here=here, module=MODULE, redis=redis.url, port=port, kept=KEPT_PER_DEVICE, seconds=KEPT_SECONDS
            )
        )
        server = stack.enter_context(ending(Server([NGINX, "-c", str(config)], port, here / "log")))
        await server.start()
        nginx = said(NGINX, "-v").rpartition(" ")[2]
        yield Nchan("nginx", server, redis, port=port, version=f"{nginx} with {version(redis)}")


PEER = Peer(
    "Nchan",
    {NGINX: "nginx-light", MODULE: "libnginx-mod-nchan"},
    {
        "confirmed means": "in Redis",
        "for a user who is away": "kept by time and number, both of the channel",
        "comes back": "what it missed since the id it names, if that is kept",
        "read on one device": "nobody knows",
        "who may publish": "who reaches the address, unless an application is asked each time",
        "who may listen": "who reaches the address, unless an application is asked each time",
        "a sender can ask": "how many listen",
    },
    _running,
)
