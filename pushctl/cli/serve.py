"""`pushctl serve`: one role as a process, or all of them in one.

Owns: the flags, which of them go together, and the check before the start.
Must not know: how one role is run (serve_one.py), or all of them (everything.py): both are imported when they are.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pushctl import cli

if TYPE_CHECKING:
    from pushctl.cli.serve_one import Start
    from pushctl.config.load import Loaded
    from pushctl.config.model import RoleName

app = typer.Typer()


@app.command(
    epilog=cli.examples(
        "pushctl serve all",
        "pushctl serve all --ports auto --data-dir /tmp/demo --sockets 3",
        "pushctl serve api --config conf.d --set api.public_url=https://push.example",
        "pushctl serve socket --config conf.d --set socket.id=s1 --check",
        "pushctl serve gc --config conf.d --once",
    )
)
def serve(
    role: Annotated[
        Literal["api", "boxoffice", "socket", "router", "gc", "all"],
        typer.Argument(metavar="ROLE", help="Which role, or all."),
    ],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the configuration: 0 good, 2 not.")] = False,
    once: Annotated[bool, typer.Option("--once", help="gc: one round, then stop; for cron.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="all: where Redis and the keys live. Default: the user's data directory."),
    ] = None,
    listen_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="all: bind public listeners here. Default: 127.0.0.1.")
    ] = None,
    ports: Annotated[
        Literal["default", "auto"] | None, typer.Option(help="all: 8080 and up, or any free ones. Default: default.")
    ] = None,
    sockets: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=64, help="all: socket servers. Default: 2.")
    ] = None,
) -> None:
    """Start one role, or all of them in one process on a Redis of their own that keeps its data.

    SIGTERM or Ctrl-C drains and ends with 0; a second one ends at once with 1. SIGHUP reads the files of TLS and the
    keys file again.
    """
    if role != "all" and any(flag is not None for flag in (data_dir, listen_host, ports, sockets)):
        raise typer.BadParameter("--data-dir, --listen-host, --ports and --sockets are for `pushctl serve all`")
    if once and role != "gc":
        raise typer.BadParameter("--once is for `pushctl serve gc`")

    from pushctl.collector import Collector

    with Collector() as collector:
        with collector.importing():
            import trio

            from pushctl import log
            from pushctl.config.load import load

            loaded = load(config, sets or [], os.environ)
            log.configure(loaded.config.log.level, loaded.config.log.format)
            if role == "all":
                start = _prepare_all(loaded, data_dir, listen_host, ports, sockets)
            else:
                start = _prepare_one(loaded, role, once=once)
        if check:
            cli.tell(f"the configuration of {role} is good")
            return
        trio.run(start, collector)


def _prepare_all(
    loaded: "Loaded", data_dir: Path | None, listen_host: str | None, ports: str | None, sockets: int | None
) -> "Start":
    from functools import partial

    from pushctl.cli import everything
    from pushctl.cli.serve_one import build, door

    options = everything.Options(
        data_dir=data_dir or everything.default_data_dir(),
        listen_host=listen_host or "127.0.0.1",
        auto_ports=ports == "auto",
        sockets=sockets or 2,
    )
    return partial(everything.serve_all, everything.make_plan(loaded, options), door, build)


def _prepare_one(loaded: "Loaded", name: "RoleName", *, once: bool) -> "Start":
    from pushctl.cli import serve_one

    return serve_one.prepare(loaded.config, name, once=once)
