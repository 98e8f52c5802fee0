"""From what was measured of routing to figures, one table, and where one strategy gets cheaper than another.

Owns: what counts as the cost of a delivery: CPU of router, socket servers and Redis, without what they take when
nothing is sent and without what Redis takes for the append, which no strategy changes.
Must not know: how it was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from statistics import median

from tests.benchmarks.rig import spread, us
from tests.benchmarks.routing_site import Cpu

STRATEGIES = ("rpc", "channel", "broadcast")
REFERENCE = "channel"
DENSITIES = ("sparse", "dense")

SAME = 0.1
"""Costs that differ by less than this part are called the same: rounds of one run may be so far apart."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What happened for a while. `until_last`: seconds to the last arrival; `latencies`: seconds from publishing to
    arrival, one for each delivery."""

    seconds: float
    cpu: Cpu
    messages: int
    until_last: float
    latencies: Sequence[float]

    @property
    def deliveries(self) -> int:
        return len(self.latencies)


@dataclass(frozen=True, slots=True)
class Life:
    """Of one router: all that was measured while it ran. `appends`: messages to users who are connected nowhere;
    `paced` and `backlog`: by density."""

    servers: int
    strategy: str
    idle: Stretch
    appends: Stretch
    paced: Mapping[str, Stretch]
    backlog: Mapping[str, Sequence[Stretch]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU for each delivery; of the router, of all socket servers, of Redis."""

    router: float
    sockets: float
    redis: float

    @property
    def total(self) -> float:
        return self.router + self.sockets + self.redis


@dataclass(frozen=True, slots=True)
class Point:
    """One strategy with so many servers. `apart`: of the rounds' total costs, as a part of them. `load_us`: CPU of
    sender and devices for each delivery, which is no part of the cost."""

    density: str
    servers: int
    strategy: str
    cost: Cost
    apart: float
    per_message: float
    median_ms: float
    p99_ms: float
    backlog_cost: Cost
    backlog_per_second: float
    load_us: float


def append_us(lives: Sequence[Life]) -> float:
    """What Redis takes for a message before anything is routed: microseconds."""
    return median(
        (life.appends.cpu.redis - life.idle.cpu.redis / life.idle.seconds * life.appends.seconds)
        * 1e6
        / life.appends.messages
        for life in lives
    )


def points(lives: Sequence[Life]) -> list[Point]:
    """All of them: by density, then servers, then strategy."""
    found = []
    for density in DENSITIES:
        for servers in sorted({life.servers for life in lives}):
            here = [life for life in lives if life.servers == servers]
            for strategy in STRATEGIES:
                rounds = [life for life in here if life.strategy == strategy]
                found.append(_point(density, rounds, append_us(here)))
    return found


def _point(density: str, rounds: Sequence[Life], append: float) -> Point:
    first = rounds[0]
    idle = Cpu(*(median(life.idle.cpu[n] / life.idle.seconds for life in rounds) for n in range(len(first.idle.cpu))))
    paced = [life.paced[density] for life in rounds]
    backlog = [stretch for life in rounds for stretch in life.backlog[density]]
    costs = [_cost(stretch, idle, append) for stretch in paced]
    cost = _middle(costs)
    latencies = sorted(seconds * 1000 for stretch in paced for seconds in stretch.latencies)
    return Point(
        density,
        first.servers,
        first.strategy,
        cost,
        spread([each.total for each in costs]),
        cost.total * paced[0].deliveries / paced[0].messages,
        median(latencies),
        latencies[int(len(latencies) * 0.99)],
        _middle([_cost(stretch, idle, 0) for stretch in backlog]),
        median(stretch.deliveries / stretch.until_last for stretch in backlog),
        median((stretch.cpu.load - idle.load * stretch.seconds) * 1e6 / stretch.deliveries for stretch in paced),
    )


def _cost(stretch: Stretch, idle: Cpu, append: float) -> Cost:
    router, sockets, redis, _ = (
        (spent - rate * stretch.seconds) * 1e6 / stretch.deliveries
        for spent, rate in zip(stretch.cpu, idle, strict=True)
    )
    return Cost(router, sockets, redis - append * stretch.messages / stretch.deliveries)


def _middle(costs: Sequence[Cost]) -> Cost:
    """The round in the middle, whole, so that its parts still add up."""
    return sorted(costs, key=lambda cost: cost.total)[(len(costs) - 1) // 2]


# --- the table -------------------------------------------------------------------------------------------------------

HEAD = (
    *("users are", "servers", "strategy", "µs per delivery", f"vs {REFERENCE}", "router", "sockets", "Redis"),
    *("µs per message", "median ms", "p99 ms"),
    *("backlog: deliveries/s", "µs per delivery", f"vs {REFERENCE}"),
)


def rows(found: Sequence[Point]) -> list[list[str]]:
    reference = {(each.density, each.servers): each for each in found if each.strategy == REFERENCE}
    return [
        [
            point.density,
            str(point.servers),
            point.strategy,
            us(point.cost.total),
            f"{point.cost.total / reference[point.density, point.servers].cost.total:.2f}",
            *map(us, (point.cost.router, point.cost.sockets, point.cost.redis, point.per_message)),
            f"{point.median_ms:.1f}",
            f"{point.p99_ms:.1f}",
            f"{point.backlog_per_second:,.0f}",
            us(point.backlog_cost.total),
            f"{point.backlog_cost.total / reference[point.density, point.servers].backlog_cost.total:.2f}",
        ]
        for point in found
    ]


# --- curves and where they cross -------------------------------------------------------------------------------------

Curve = Sequence[tuple[int, float]]
"""(servers, microseconds for each delivery), by rising number of servers."""


def curves(found: Sequence[Point], density: str, *, backlog: bool = False) -> dict[str, Curve]:
    """By strategy."""
    return {
        strategy: [
            (point.servers, (point.backlog_cost if backlog else point.cost).total)
            for point in found
            if (point.density, point.strategy) == (density, strategy)
        ]
        for strategy in STRATEGIES
    }


def crossings(one: Curve, other: Curve) -> list[float]:
    """Numbers of servers at which one curve goes from below the other to above it, or back: between measured points
    along straight lines. Where they are the same within SAME nobody is below."""
    found = []
    last = 0
    for at, ((_, mine), (_, theirs)) in enumerate(zip(one, other, strict=True)):
        if abs(mine - theirs) < SAME * min(mine, theirs):
            continue
        if at and (one[last][1] < other[last][1]) != (mine < theirs):
            found.append(_meeting(one[last : at + 1], other[last : at + 1]))
        last = at
    return found


def _meeting(one: Curve, other: Curve) -> float:
    """Where the lines meet, of curves that change places between their first and their last point."""
    for ((left, a), (right, b)), ((_, c), (_, d)) in zip(pairwise(one), pairwise(other), strict=True):
        if (a < c) != (b < d):
            return left + (right - left) * (a - c) / ((a - c) - (b - d))
    raise AssertionError("they do not change places")


def sentences(title: str, by_strategy: Mapping[str, Curve]) -> list[str]:
    """For each two strategies: which is cheaper, and up to where."""
    return [
        f"{title}: {_compared(one, by_strategy[one], other, by_strategy[other])}"
        for one, other in combinations(by_strategy, 2)
    ]


def _compared(one: str, mine: Curve, other: str, theirs: Curve) -> str:
    up_to = mine[-1][0]
    ratios = [b / a for (_, a), (_, b) in zip(mine, theirs, strict=True)]
    clear = [ratio for ratio in ratios if max(ratio, 1 / ratio) >= 1 + SAME]
    if not clear:
        return f"{one} and {other} cost the same within {SAME:.0%} up to {up_to} servers."
    cheap, dear = (one, other) if clear[0] > 1 else (other, one)
    places = crossings(mine, theirs)
    if places:
        turns = ", ".join(f"{place:.1f}" for place in places)
        return f"{cheap} is cheaper than {dear} with few servers; they cross at {turns} servers."
    factors = sorted(max(ratio, 1 / ratio) for ratio in clear)
    by = " to ".join(dict.fromkeys(f"{factor:.2f}" for factor in (factors[0], factors[-1])))
    where = f"up to {up_to} servers" if len(clear) == len(ratios) else f"where they differ, up to {up_to} servers"
    return f"{cheap} is cheaper than {dear} by a factor of {by}, {where}; they do not cross."
