"""`pushctl bench FORM`: a swarm and a sender together, and one report of how the service fared.

Owns: what people type, and the defaults of each form. Promises: nothing but an api and a Box Office is needed, and
nothing stays behind; on stdout there is the banner and the report, with --json one object; a run that lost a client or
a message ends with 3.
Must not know: what a form does (pushctl/client/bench.py), how it is run and shown (run.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pushctl import cli
from pushctl.cli.client.device import DEFAULT_URLS, ApiUrl, BoxofficeUrl, said_url
from pushctl.cli.values import Sizes, duration, rate, share, sizes

if TYPE_CHECKING:
    from pushctl.client.bench_report import Form
    from pushctl.client.load import LoadPlan

app = typer.Typer(
    cls=cli.Group,
    no_args_is_help=True,
    epilog=cli.examples(
        "pushctl bench send                   # against `pushctl serve all` here",
        "pushctl bench connect --users 2000 --arrivals 200/s",
        "pushctl bench fanout --users 100 --devices 5 --max-p99 200ms",
        "pushctl bench storm --users 1000 --drop 30% --duration 2m",
        "pushctl bench idle --users 5000 --duration 10m --config conf.d",
    ),
)

Users = Annotated[int, typer.Option(metavar="N", min=1, help="So many users, new ones for this run.")]
Devices = Annotated[int, typer.Option(metavar="M", min=1, max=50, help="Devices of each user.")]
Arrivals = Annotated[
    float, typer.Option(parser=rate, metavar="RATE", help="How fast they connect.", show_default="100/s")
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        parser=rate,
        metavar="RATE",
        help="Messages due, to all users together (default: above).",
        show_default=False,
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--duration",
        parser=duration,
        metavar="T",
        help="How long, without warm-up (default: above).",
        show_default=False,
    ),
]
Warmup = Annotated[
    float, typer.Option(parser=duration, metavar="T", help="Sent first so long, and not counted.", show_default="1s")
]
Concurrency = Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="Requests under way at once, at most.")]
Octets = Annotated[
    Sizes,
    typer.Option("--size", parser=sizes, metavar="SIZE", help="Of a message: 200B, or 100B-2KiB.", show_default="200B"),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Draws who gets which message.")]
MaxP99 = Annotated[
    float | None,
    typer.Option(parser=duration, metavar="DURATION", help="Exit 3 if 99% of what it measures took longer."),
]
MaxLost = Annotated[int, typer.Option(metavar="N", min=0, help="Exit 3 if more messages were lost.")]
Json = Annotated[bool, typer.Option("--json", help="The report as one JSON object.")]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Add this run to FILE, one row.")]
Histogram = Annotated[
    Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the raw histogram of latencies (CSV).")
]

SIZES: Final = Sizes(200, 200)


@app.callback()
def bench() -> None:
    """Measure a running service: a swarm of devices and a sender, one report.

    Users are made for the run by the development identity provider, and deleted afterwards: measure an installation of
    its own, not the one that has users. All devices connect first, then everything begins at once; the sender is a
    process of its own. What is measured is in the banner, so that a run can be repeated.

    Exit codes: 0 good, 3 not: a client or a message was lost, a threshold missed; 5 no service there, 130 Ctrl-C (after
    the report).
    """


@app.command(
    epilog=cli.examples(
        "pushctl bench connect",
        "pushctl bench connect --users 5000 --arrivals 500/s --max-p99 1s",
        "pushctl bench connect --json --csv runs.csv | jq .bench.swarm.connect_ms",
    )
)
def connect(
    users: Users = 200,
    devices: Devices = 1,
    arrivals: Arrivals = 100.0,
    max_p99: MaxP99 = None,
    api: ApiUrl = None,
    boxoffice: BoxofficeUrl = None,
    json: Json = False,
    csv: Csv = None,
) -> None:
    """Connections a second, on the full road: log in, Box Office, socket server, sync.

    --max-p99 is of the time from setting out to being up to date.
    """
    _run("connect", users, devices, arrivals, api, boxoffice, max_p99=max_p99, json=json, csv=csv)


@app.command(epilog=cli.examples("pushctl bench send", "pushctl bench send --users 500 --rate 2000/s --duration 30s"))
def send(
    users: Users = 50,
    per_second: Rate = None,
    seconds: Seconds = None,
    warmup: Warmup = 1.0,
    octets: Octets = SIZES,
    concurrency: Concurrency = 32,
    seed: Seed = 1,
    max_p99: MaxP99 = None,
    api: ApiUrl = None,
    boxoffice: BoxofficeUrl = None,
    json: Json = False,
    csv: Csv = None,
    histogram: Histogram = None,
) -> None:
    """How fast messages are accepted, while nobody is connected. Default: 100/s for 5 s.

    A push URL takes 100 messages a second: for more, more --users. --max-p99 is of the time from when a message was due
    to its 201.
    """
    sending = _sending(per_second or 100.0, seconds or 5.0, warmup, octets, concurrency, seed)
    _run("send", users, 1, 100.0, api, boxoffice, sending, max_p99=max_p99, json=json, csv=csv, histogram=histogram)


@app.command(
    epilog=cli.examples(
        "pushctl bench fanout",
        "pushctl bench fanout --users 200 --devices 5 --rate 100/s --duration 1m",
    )
)
def fanout(
    users: Users = 20,
    devices: Devices = 3,
    arrivals: Arrivals = 100.0,
    per_second: Rate = None,
    seconds: Seconds = None,
    warmup: Warmup = 1.0,
    octets: Octets = SIZES,
    concurrency: Concurrency = 32,
    seed: Seed = 1,
    max_p99: MaxP99 = None,
    max_lost: MaxLost = 0,
    api: ApiUrl = None,
    boxoffice: BoxofficeUrl = None,
    json: Json = False,
    csv: Csv = None,
    histogram: Histogram = None,
) -> None:
    """Messages end to end: from when each was due to when each device has it. Default: 50/s for 5 s.

    Every message is followed to every device of its user: lost, duplicate and reordered ones are counted.
    """
    sending = _sending(per_second or 50.0, seconds or 5.0, warmup, octets, concurrency, seed)
    _run(
        "fanout", users, devices, arrivals, api, boxoffice, sending, max_p99=max_p99, max_lost=max_lost, json=json,
        csv=csv, histogram=histogram,
    )  # fmt: skip


@app.command(
    epilog=cli.examples(
        "pushctl bench storm                  # half of the clients lose theirs",
        "pushctl bench storm --users 2000 --drop 100% --duration 2m",
        "pushctl bench storm --drain s1 --over 10s --config conf.d",
    )
)
def storm(
    users: Users = 100,
    devices: Devices = 1,
    arrivals: Arrivals = 100.0,
    drop: Annotated[
        float | None,
        typer.Option(parser=share, metavar="SHARE", help="So many lose their connection at once.", show_default="50%"),
    ] = None,
    drain: Annotated[
        str | None, typer.Option(metavar="SERVER", help="Drain this socket server instead; needs its --config.")
    ] = None,
    over: Annotated[
        float, typer.Option(parser=duration, metavar="T", help="With --drain: within so long.", show_default="5s")
    ] = 5.0,
    per_second: Rate = None,
    seconds: Seconds = None,
    warmup: Warmup = 1.0,
    octets: Octets = SIZES,
    concurrency: Concurrency = 32,
    seed: Seed = 1,
    max_p99: MaxP99 = None,
    max_lost: MaxLost = 0,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    api: ApiUrl = None,
    boxoffice: BoxofficeUrl = None,
    json: Json = False,
    csv: Csv = None,
    histogram: Histogram = None,
) -> None:
    """How long until all are back, and how messages fare meanwhile. Default: 20/s for 6 s.

    The storm comes when a quarter of the time is over: with --drop clients lose their connections without a word; with
    --drain a socket server is drained, and taken back at the end. For a server that is killed, kill one meanwhile.
    """
    if drain is not None and drop is not None:
        raise typer.BadParameter("either --drop or --drain")
    sending = _sending(per_second or 20.0, seconds or 6.0, warmup, octets, concurrency, seed)
    _run(
        "storm", users, devices, arrivals, api, boxoffice, sending, max_p99=max_p99, max_lost=max_lost, json=json,
        csv=csv, histogram=histogram, config=config, sets=sets, drop=None if drain else drop or 0.5, drain=drain,
        over=over,
    )  # fmt: skip


@app.command(
    epilog=cli.examples("pushctl bench idle", "pushctl bench idle --users 10000 --duration 10m --config conf.d")
)
def idle(
    users: Users = 100,
    devices: Devices = 1,
    arrivals: Arrivals = 100.0,
    seconds: Seconds = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    api: ApiUrl = None,
    boxoffice: BoxofficeUrl = None,
    json: Json = False,
    csv: Csv = None,
) -> None:
    """Hold connections while nothing happens: who is lost. Default: 8 s.

    With --config that reaches the service's Redis, also the memory of every socket server.
    """
    _run(
        "idle", users, devices, arrivals, api, boxoffice, json=json, csv=csv, config=config, sets=sets,
        hold=seconds or 8.0,
    )  # fmt: skip


def _sending(
    per_second: float, seconds: float, warmup: float, octets: Sizes, concurrency: int, seed: int
) -> "LoadPlan":
    from pushctl.client.load import LoadPlan
    from pushctl.client.schedule import LEAST_MARKED_BYTES

    if octets.least < LEAST_MARKED_BYTES:
        raise typer.BadParameter(f"--size: at least {LEAST_MARKED_BYTES}B, so that a message can say when it was due")
    return LoadPlan(
        targets=[],
        rate=per_second,
        seconds=seconds,
        warmup_seconds=warmup,
        concurrency=concurrency,
        sizes=(octets.least, octets.most),
        seed=seed,
        headers={},
        authorization={},
    )


def _run(
    form: "Form",
    users: int,
    devices: int,
    arrivals: float,
    api: str | None,
    boxoffice: str | None,
    sending: "LoadPlan | None" = None,
    **more: Any,
) -> None:
    from pushctl.cli.bench.run import Options, run_bench
    from pushctl.client.bench import SITE
    from pushctl.client.fleet import Plan

    plan = Plan(
        api_url=said_url("api", api) or DEFAULT_URLS["api"],
        boxoffice_url=said_url("boxoffice", boxoffice) or DEFAULT_URLS["boxoffice"],
        users=users,
        devices=devices,
        seconds=more.pop("hold", 0.0),
        arrivals=arrivals,
        site=SITE if sending is not None else None,
        connects=form != "send",
    )
    run_bench(Options(form=form, swarm=plan, load=sending, **more))
