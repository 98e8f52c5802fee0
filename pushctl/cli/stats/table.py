"""How tables of `pushctl stats` are drawn, and what somebody may wish of them.

Owns: `Look`; which columns are flush left, and which give way. Must not know: what is in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

from rich.table import Table
from rich.text import Text

WIDE: Final = 100
"""Columns from which on tables show more."""

ROOMY: Final = 120
"""And from which on they stand further apart."""

Sort = Literal["id", "connections", "fill", "messages", "lag", "cpu", "memory", "seen"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)


_STYLES: Final = {
    **dict.fromkeys(("ready", "ok"), "green"),
    **dict.fromkeys(("draining", "not_ready", "loading"), "yellow"),
    **dict.fromkeys(("dead", "away"), "red"),
}


@dataclass(frozen=True, slots=True)
class Look:
    """How somebody wants to see it. `top`: so many servers, the first in the order of `sort`; 0: all. `plain`: without
    characters beyond ASCII."""

    section: str | None = None
    width: int = 80
    sort: Sort = "id"
    top: int = 0
    plain: bool = False

    @property
    def is_wide(self) -> bool:
        return self.width >= WIDE


_LEFT: Final = frozenset(
    ("server", "state", "url", "router", "runs", "", "role", "host", "does", "master", "hints by", "label", "zone")
)
_FOLDS: Final = frozenset(("server", "url", "router", "host", "label", "master", "zone"))
"""Columns that give way: their texts may be of any length."""


def table(title: str, columns: Sequence[str], look: Look) -> Table:
    gap = 2 if look.width >= ROOMY else 1
    drawn = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, gap, 0, 0)
    )
    for column in columns:
        drawn.add_column(
            column,
            justify="left" if column in _LEFT else "right",
            no_wrap=column not in _FOLDS,
            # So that a figure that grows by a digit does not move everything beside it while somebody watches.
            min_width=5 if column == "lag" else 4,
            overflow="fold",
            header_style="dim",
        )
    return drawn


def state(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))
