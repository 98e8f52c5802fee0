"""The table of what the standards ask of a push service: one row for each sentence that says MUST or SHOULD.

A sentence that applies stands at the test that shows whether it holds (`met`, `not_met`); one that does not apply
stands alone. docs/webpush.md is written from the table (`python -m tests.interop.standard`), and a house test holds it
to the table.

Owns: the rows and the document. Must not know: how a row is tested.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

Verdict = Literal["met", "not met", "does not apply"]
Test = TypeVar("Test", bound=Callable[..., Any])

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "webpush.md"

TITLES: Final = {
    8030: "RFC 8030, Generic Event Delivery Using HTTP Push, sections 5 to 7",
    8292: "RFC 8292, Voluntary Application Server Identification (VAPID)",
}

_HEAD: Final = """\
# Web Push, sentence by sentence

Each sentence of the standards that says MUST or SHOULD to a push service, whether it is met here, and if not, why.
Written from the tests in `tests/interop/` by `python -m tests.interop.standard`; a test holds it to them.

How to send is in [protocol.md](protocol.md#2-third-party-api).
"""

_SECTIONS: Final[dict[Verdict, tuple[str, tuple[str, ...]]]] = {
    "met": ("Met", ("Section", "Sentence", "Here")),
    "not met": ("Not met, and why", ("Section", "Sentence", "Why")),
    "does not apply": ("Does not apply, and why", ("Section", "Sentence", "Why")),
}


@dataclass(frozen=True)
class Row:
    rfc: int
    section: str
    sentence: str
    verdict: Verdict
    words: str
    """Why, or how."""
    test: str | None
    """The name of the function that shows it."""


ROWS: Final[list[Row]] = []


def met(rfc: int, section: str, sentence: str, how: str) -> Callable[[Test], Test]:
    return _shown(rfc, section, sentence, "met", how)


def not_met(rfc: int, section: str, sentence: str, why: str) -> Callable[[Test], Test]:
    """The test shows what happens instead."""
    return _shown(rfc, section, sentence, "not met", why)


def does_not_apply(rfc: int, section: str, sentence: str, why: str) -> None:
    ROWS.append(Row(rfc, section, sentence, "does not apply", why, None))


def _shown(rfc: int, section: str, sentence: str, verdict: Verdict, words: str) -> Callable[[Test], Test]:
    def note(test: Test) -> Test:
        ROWS.append(Row(rfc, section, sentence, verdict, words, test.__name__))
        return test

    return note


def document() -> str:
    """The whole text of docs/webpush.md."""
    from tests.interop import test_rfc8030, test_rfc8292  # noqa: F401 - they write the rows

    parts = [_HEAD]
    for rfc, title in TITLES.items():
        parts.append(f"\n## {title}\n")
        for verdict, (heading, columns) in _SECTIONS.items():
            rows = [row for row in ROWS if (row.rfc, row.verdict) == (rfc, verdict)]
            parts.append(f"\n### {heading} ({len(rows)})\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
            parts += [f"| {row.section} | {_cell(row.sentence)} | {_cell(row.words)} |\n" for row in rows]
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    from tests.interop import standard  # the module whose rows the tests write, not this run of it

    DOCUMENT.write_text(standard.document())
