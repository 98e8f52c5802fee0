"""What `redis.wait_replicas` costs: append confirmed by a real replica, and append that the master alone answers.

How many appends share one WAIT says why: a lane sends what has gathered, one WAIT behind it, and waits for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from tests.benchmarks.rig import (
    Figures,
    Installation,
    Operation,
    Person,
    folder,
    measure,
    middle,
    people,
    print_table,
    registry_on,
    spread,
    version,
)
from tests.redises.replication import replicas

CALLERS = (1, 16, 256)


@dataclass(frozen=True, slots=True)
class Size:
    seconds: float = 1
    rounds: int = 5
    users: int = 256


QUICK = Size(seconds=0.05, rounds=1, users=16)


@dataclass(frozen=True, slots=True)
class Round:
    figures: Figures
    batches: int
    commands: int


def appends(installation: Installation, everybody: Sequence[Person]) -> Operation:
    turn = cycle(everybody)

    async def append() -> bool:
        person = next(turn)
        await installation.registry.messages.append(person.user, person.message())
        return True

    return append


async def one_round(installation: Installation, operation: Operation, callers: int, seconds: float) -> Round:
    tally = installation.registry.link.tally
    batches, commands = tally.batches, tally.commands
    figures = await measure(operation, installation, callers=callers, seconds=seconds)
    return Round(figures, tally.batches - batches, tally.commands - commands)


async def run(size: Size) -> None:
    with folder() as here, replicas(here, "appendfsync everysec") as pair:
        servers = [pair.master, pair.replica]
        async with registry_on(pair.url) as alone, registry_on(pair.url, wait_replicas=1) as confirmed:
            installations = [Installation("alone", alone, servers), Installation("confirmed", confirmed, servers)]
            everybody = await people(alone, size.users)
            rows = []
            for callers in CALLERS:
                found: dict[str, list[Round]] = {each.name: [] for each in installations}
                for turn in range(size.rounds + 1):
                    for each in installations:
                        seconds = size.seconds if turn else size.seconds / 10
                        a_round = await one_round(each, appends(each, everybody), callers, seconds)
                        found[each.name] += [a_round] if turn else []
                rows.append(_row(callers, found["alone"], found["confirmed"]))
        print_table(
            "Append with `wait_replicas` 0 and 1",
            [
                "callers",
                *("0: per second", "1: per second", "1/0", "± of rounds"),
                *("1: appends per WAIT", "0: appends per write", "client CPU, 1/0", "Redis CPU, 1/0"),
            ],
            rows,
            f"A master and its replica on one machine; Redis CPU is of both. Median of {size.rounds} rounds of "
            f"{size.seconds:g} s. {version(pair.master)}.",
        )


def _row(callers: int, alone: Sequence[Round], confirmed: Sequence[Round]) -> list[str]:
    zero, one = middle([each.figures for each in alone]), middle([each.figures for each in confirmed])
    apart = max(spread([each.figures.rate for each in rounds]) for rounds in (alone, confirmed))
    return [
        f"{callers}",
        *(f"{zero.rate:,.0f}", f"{one.rate:,.0f}", f"{one.rate / zero.rate:.2f}", f"{apart:.0%}"),
        *(f"{_per_batch(confirmed):.1f}", f"{_per_batch(alone):.1f}"),
        *(f"{one.client_us / zero.client_us:.2f}", f"{one.servers_us / zero.servers_us:.2f}"),
    ]


def _per_batch(rounds: Sequence[Round]) -> float:
    return sum(each.commands for each in rounds) / max(1, sum(each.batches for each in rounds))
