"""What a load counts while it runs, the report made of it, and what makes a result that is not good.

Owns: the documented names of `pushctl send --targets ... --json` (docs/operations.md, "Load").
Must not know: where the numbers come from, how they are shown.
"""

from typing import Literal

from msgspec import Struct, field

from pushctl.client.distribution import Distribution, Latencies

Failure = Literal["not_connected", "broke", "timed_out"]
"""`broke`: the connection ended instead of an answer, or the answer was none; it may have been stored all the same."""


class Counts(Struct, kw_only=True):
    """Messages after the warm-up."""

    sent: int = 0
    """Requests that were begun."""
    accepted: int = 0
    """2xx."""
    accepted_bytes: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Any other answer, by status."""
    failed: dict[str, int] = field(default_factory=dict)
    """No answer: `not_connected`, `broke`, `timed_out`."""
    not_sent: int = 0
    """Due, and given up before their turn came: the backlog was full, or their time was over."""
    under_way: int = 0
    """Without an answer when the run was interrupted."""
    gone: int = 0
    """Targets whose user revoked them (410): they got nothing more."""


class Tally(Counts, kw_only=True):
    """Of a load that is running."""

    latency: Distribution = field(default_factory=Distribution)
    lateness: Distribution = field(default_factory=Distribution)
    warm: int = 0
    """Answers of the warm-up, `warm_accepted` those that were 2xx."""
    warm_accepted: int = 0

    def refuse(self, status: int) -> None:
        self.refused[str(status)] = self.refused.get(str(status), 0) + 1

    def fail(self, how: Failure) -> None:
        self.failed[how] = self.failed.get(how, 0) + 1


class LoadReport(Counts, kw_only=True):
    """What came of it."""

    loop: Literal["open", "closed"]
    """open: messages were due at a rate, whatever became of those before; closed: each waited for an answer."""
    targets: int
    seconds: float
    """From the first message that counts to the last answer."""
    wanted_rate: float | None
    """Messages a second that were due; null in a closed loop."""
    accepted_rate: float
    """Messages a second that were accepted."""
    warmup: int
    """Answers before that, which count nowhere here, and `warmup_accepted` those that were 2xx."""
    warmup_accepted: int
    latency_us: Latencies
    """Of accepted messages: from when they were due (in a closed loop: sent) to the whole answer."""
    late_us: Latencies
    """From when a message was due to when its request began: waiting for one of the `concurrency` places, or for us."""
    cpu_share: float
    """Of one core, that the sending process used."""
    histogram: list[tuple[int, int]]
    """Of `latency_us`: (microseconds at most, messages), those with any."""
    interrupted: bool

    @property
    def due(self) -> int:
        return self.sent + self.not_sent

    @property
    def errors(self) -> int:
        """What should have been accepted and was not. A target that is gone is nobody's error."""
        refused = sum(self.refused.values()) - self.refused.get("410", 0)
        return refused + sum(self.failed.values()) + self.not_sent

    @property
    def reached_nobody(self) -> bool:
        """Not one answer, nor a connection that broke before one."""
        return not (self.warmup or self.accepted or self.refused) and set(self.failed) <= {"not_connected"}


def load_report(
    tally: Tally, *, wanted_rate: float | None, targets: int, seconds: float, cpu_share: float, interrupted: bool
) -> LoadReport:
    """As it is now: what is counted later changes nothing in it."""
    counted = {name: getattr(tally, name) for name in Counts.__struct_fields__}
    counted |= {name: dict(sorted(counted[name].items())) for name in ("refused", "failed")}
    return LoadReport(
        **counted,
        loop="closed" if wanted_rate is None else "open",
        targets=targets,
        seconds=round(seconds, 3),
        wanted_rate=wanted_rate,
        accepted_rate=round(tally.accepted / seconds, 1) if seconds > 0 else 0.0,
        warmup=tally.warm,
        warmup_accepted=tally.warm_accepted,
        latency_us=tally.latency.latencies(),
        late_us=tally.lateness.latencies(),
        cpu_share=round(cpu_share, 3),
        histogram=tally.latency.buckets(),
        interrupted=interrupted,
    )


def what_is_wrong(found: LoadReport, *, max_errors: float, max_p99_ms: float | None) -> list[str]:
    """In words; nothing if it is good. `max_errors`: this share of what was due may not be accepted."""
    said: list[str] = []
    if found.errors > max_errors * found.due:
        counts = {f"refused with {status}": count for status, count in found.refused.items() if status != "410"}
        counts |= {how.replace("_", " "): count for how, count in found.failed.items()}
        counts["not sent"] = found.not_sent
        said += [f"{count:,} {what}" for what, count in counts.items() if count]
    if found.gone == found.targets:
        said.append("every push URL is gone (410)")
    if not found.accepted and not found.errors and found.gone < found.targets and not found.interrupted:
        said.append("nothing was sent")
    p99 = found.latency_us.p99
    if max_p99_ms is not None and p99 is not None and p99 > max_p99_ms * 1000:
        said.append(f"p99 {p99 / 1000:,.1f} ms, at most {max_p99_ms:g} ms was wanted")
    return said
