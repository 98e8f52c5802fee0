"""Figures of `pushctl stats` in few characters, and lines of them over time.

Owns: spelling of rates, shares, sizes and short spans; sparklines. Promises: each fits its column, whatever the number.
Must not know: what the figures mean.
"""

from collections.abc import Sequence
from typing import Final

_STEPS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_STEPS: Final = "_.-=+*%#"


def figure(number: float | None) -> str:
    """At most five characters: `0`, `0.3`, `12`, `950`, `1.2k`, `34k`, `5.6M`."""
    if number is None:
        return "-"
    if number < 10:
        return f"{round(number, 1):g}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if round(number) >= size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{number:.0f}"


def octets(number: int | None) -> str:
    """At most four characters: `512B`, `3.4M`, `120M`, `1.0G`."""
    if number is None:
        return "-"
    for size, unit in ((2**40, "T"), (2**30, "G"), (2**20, "M"), (2**10, "K")):
        if number * 1024 >= size * 999.5:  # 1,000 of the smaller unit would take a digit more
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{number}B"


def share(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"


def lag(ms: float | None) -> str:
    """At most five characters: `0ms`, `12ms`, `1.2s`, `45s`, `3m`."""
    if ms is None:
        return "-"
    if ms < 1000:
        return f"{ms:.0f}ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f}s"
    return f"{ms / 1000:.0f}s" if ms < 100_000 else f"{ms / 60_000:.0f}m"


def bar(part: float, width: int, *, plain: bool = False) -> str:
    filled = round(max(0.0, min(1.0, part)) * width)
    return ("#" if plain else "█") * filled + ("." if plain else "·") * (width - filled)


def sparkline(numbers: Sequence[float], width: int, *, plain: bool = False) -> str:
    """The last `width` numbers, each as high as it is between 0 and the largest of them; newest on the right."""
    steps = _PLAIN_STEPS if plain else _STEPS
    shown = numbers[-width:]
    most = max(shown, default=0)
    heights = (round(number / most * (len(steps) - 1)) if most > 0 else 0 for number in shown)
    return "".join(steps[height] for height in heights).rjust(width)
