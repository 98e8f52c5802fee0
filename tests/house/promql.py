"""Reading PromQL as far as tests of rules and dashboards need it: which metrics, with which labels.

Owns: what counts as a metric's name. Whether an expression is PromQL at all, promtool says. Must not know: which
metrics there are.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'")
_RANGE = re.compile(r"\[[^\]]*\]")
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_SELECTOR = re.compile(r"(?<![\w:$.])(?P<name>[A-Za-z_:][\w:]*)\s*(?P<matchers>\{[^}]*\})?(?!\s*\()(?![\w:])")
_MATCHER = re.compile(r"""(?P<label>\w+)\s*(?P<how>=~|!~|!=|=)\s*(?P<value>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_OF_HISTOGRAM = re.compile(r"_(?:bucket|count|sum)$")


@dataclass(frozen=True, slots=True)
class Selector:
    """`matchers`: the values of each label that is asked for by name, alternatives of a pattern apart."""

    name: str
    matchers: dict[str, list[str]]

    def families(self) -> set[str]:
        """What the metric may be called that has this series."""
        return {self.name, _OF_HISTOGRAM.sub("", self.name)}


def selectors(expression: str) -> Iterator[Selector]:
    """Every series that an expression asks for."""
    texts: list[str] = []

    def keep(found: re.Match[str]) -> str:
        texts.append(found[0])
        return f'"{len(texts) - 1}"'

    # Quoted texts may hold braces and brackets: they are put aside, and back into the matchers.
    bare = _LABELS.sub(" ", _RANGE.sub(" ", _TEXT.sub(keep, expression)))
    for found in _SELECTOR.finditer(bare):
        if found["name"].lower() in _WORDS or re.fullmatch(r"\d.*", found["name"]):
            continue
        matchers = re.sub(r'"(\d+)"', lambda at: texts[int(at[1])], found["matchers"] or "")
        yield Selector(found["name"], {each["label"]: _values(each) for each in _MATCHER.finditer(matchers)})


def _values(matcher: re.Match[str]) -> list[str]:
    text = matcher["value"][1:-1]
    return text.split("|") if "~" in matcher["how"] else [text]
