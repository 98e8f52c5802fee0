"""The main job with every role as a process of its own, on an external Redis on its own port; and on newer Redis."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import redis_binary
from tests.json_lines import command_of, valid_json_lines
from tests.processes import free_port

PUSHCTL = str(Path(sys.executable).with_name("pushctl"))
DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
CONF_D = Path(__file__).parents[2] / "conf.d"


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens. They are told to several processes, so port 0 will not do."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


@contextmanager
def process(command: list[str], environment: dict[str, str], ready: bytes, log: Path) -> Iterator[None]:
    """A process that is ready once it prints this on stdout; stopped with SIGTERM, which it must obey with 0."""
    with log.open("wb") as stderr:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, env=environment)
    assert running.stdout is not None
    try:
        line = running.stdout.readline()
        while ready not in line:
            assert line, f"{command[:3]} ended: {log.read_text()[-2000:]}"
            line = running.stdout.readline()
        yield
    finally:
        running.terminate()
        code = running.wait(timeout=20)
        running.stdout.close()
    assert code == 0, log.read_text()[-2000:]


def run_demo(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demo_passes_with_separate_processes_on_an_external_redis(tmp_path: Path) -> None:
    redis, api, boxoffice, s1, s2, *admin = free_ports(11)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PUSHCTL_")}
    subprocess.run([PUSHCTL, "keys", "new", str(tmp_path / "keys.toml")], check=True, capture_output=True)
    environment |= {
        "PUSHCTL_REDIS__URL": f"redis://127.0.0.1:{redis}/0",
        "PUSHCTL_IDENTITY__KEYS_FILE": str(tmp_path / "keys.toml"),
    }
    local = tmp_path / "local.toml"
    local.write_text(
        f"""
        [redis]
        prefix = "separate"
        [api]
        listen = "127.0.0.1:{api}"
        public_url = "http://127.0.0.1:{api}"
        admin_listen = "127.0.0.1:{admin[0]}"
        [boxoffice]
        listen = "127.0.0.1:{boxoffice}"
        public_url = "http://127.0.0.1:{boxoffice}"
        admin_listen = "127.0.0.1:{admin[1]}"
        [router]
        admin_listen = "127.0.0.1:{admin[2]}"
        [gc]
        admin_listen = "127.0.0.1:{admin[3]}"
        [identity]
        environment = "development"
        dev_idp.enabled = true
        """
    )
    config = ["--config", str(CONF_D), "--config", str(local)]
    redis_command = [redis_binary(), "--port", str(redis), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", ""]
    with ExitStack() as stack:
        stack.enter_context(process(redis_command, environment, b"eady to accept connections", tmp_path / "redis.log"))

        def serve(role: str, *sets: str) -> None:
            flags = [part for pair in sets for part in ("--set", pair)]
            command = [PUSHCTL, "serve", role, *config, *flags]
            log = tmp_path / f"{role}{len(list(tmp_path.iterdir()))}.log"
            stack.enter_context(process(command, environment, b"ready role=", log))

        serve("api")
        serve("router")
        serve("gc")
        for name, port, admin_port in (("s1", s1, admin[4]), ("s2", s2, admin[5])):
            serve(
                "socket",
                f"socket.id={name}",
                f"socket.listen=127.0.0.1:{port}",
                f"socket.public_url=ws://127.0.0.1:{port}/",
                f"socket.admin_listen=127.0.0.1:{admin_port}",
            )
        serve("boxoffice")
        addresses = {
            "api": f"http://127.0.0.1:{api}",
            "boxoffice": f"http://127.0.0.1:{boxoffice}",
            "redis": f"redis://127.0.0.1:{redis}/0",
            "prefix": "separate",
        }
        (tmp_path / "service.json").write_text(json.dumps(addresses))
        told = run_demo("--service", str(tmp_path / "service.json"))
    assert "9. gc runs" in told


@pytest.mark.long
def test_the_demo_passes_on_the_wheels_redis() -> None:
    server = Path(sys.executable).with_name("redis-server")
    assert b"v=6.2" in subprocess.run([server, "--version"], capture_output=True, check=True).stdout
    assert "9. gc runs" in run_demo(PUSHCTL_REDIS_SERVER=str(server))


@pytest.mark.long
@pytest.mark.debian
def test_the_demo_passes_on_debians_redis() -> None:
    server = shutil.which("redis-server", path="/usr/bin")
    assert server, "Debian's redis-server is not installed; `make ci` installs it"
    assert b"v=7." in subprocess.run([server, "--version"], capture_output=True, check=True).stdout
    assert "9. gc runs" in run_demo(PUSHCTL_REDIS_SERVER=server)


@pytest.mark.slow
def test_messages_survive_a_kill_of_everything(tmp_path: Path) -> None:
    """`serve all`, kill -9, and a start right after on the same directory: the new one waits for the old Redis."""
    command = [PUSHCTL, "serve", "all", "--ports", "auto", "--data-dir", str(tmp_path / "data")]
    environment = os.environ | {"PUSHCTL_CLIENT_DIR": str(tmp_path / "clients")}

    def start() -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert running.stdout is not None
        assert running.stdout.readline().startswith(b"ready role=all")
        (where,) = valid_json_lines("serve all", running.stdout.readline().decode())
        names = {"PUSHCTL_CLIENT_API": where["api"], "PUSHCTL_CLIENT_BOXOFFICE": where["boxoffice"]}
        return running, environment | names

    def client(names: dict[str, str], *arguments: str) -> list[dict[str, str]]:
        done = subprocess.run(
            [PUSHCTL, *arguments, "--json"], capture_output=True, text=True, timeout=60, check=True, env=names
        )
        return valid_json_lines(command_of(arguments), done.stdout)

    running, names = start()
    client(names, "client", "login", "alice")
    (push_url,) = client(names, "client", "allow", "news.example")
    client(names | {"PUSHCTL_PUSH_URL": push_url["url"]}, "send", "survives")
    time.sleep(1.2)  # appendfsync everysec: what Redis itself may lose is a second
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert running.stdout is not None
    running.stdout.close()
    running, names = start()
    try:
        # The device's session, the push URL and the message are all still there.
        client(names, "client", "sync")
        (message,) = client(names, "client", "messages")
        assert message["body"] == "survives"
    finally:
        running.terminate()
        assert running.wait(timeout=20) == 0
        running.stdout.close()  # type: ignore[union-attr]  # a pipe was asked for
