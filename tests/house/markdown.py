"""Reading Markdown as far as tests of the documentation need it: headings, links, tables, commands.

Owns: what counts as a heading's anchor (as GitHub makes them) and as a command line. Must not know: which documents.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+)$", re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
_INLINE = re.compile(r"`([^`\n]+)`")

STANDS_FOR = {
    "DURATION": "5s",
    "ID": "AvkzYm9vLW0",
    "KEY": "redis.url",
    "KIND": "sealing",
    "N": "2",
    "ROLE": "api",
    "SECTION": "servers",
    "SHELL": "bash",
    "SITE": "news.example",
    "URL": "https://news.example",
}
"""What words that a reader replaces are replaced with when a command is tried."""


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    path: str
    anchor: str

    @property
    def name(self) -> str:
        """What a link whose text is code says that it leads to; empty for other texts."""
        return self.text.strip("`") if self.text.startswith("`") else ""


class Document:
    def __init__(self, file: Path) -> None:
        self.file = file
        self.text = file.read_text(encoding="utf-8")
        self.prose = _FENCE.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        return [found["text"] for found in _FENCE.finditer(self.text) if found["language"] == language]

    def headings(self) -> list[str]:
        return [found["text"] for found in _HEADING.finditer(self.prose)]

    def anchors(self) -> set[str]:
        return {anchor(heading) for heading in self.headings()}

    def links(self) -> Iterator[Link]:
        """All but those to other hosts."""
        for found in _LINK.finditer(self.prose):
            if not found["target"].startswith(("http://", "https://")):
                path, _, fragment = found["target"].partition("#")
                yield Link(found["text"], path, fragment)

    def section(self, heading: str) -> str:
        """The text under a heading, up to the next one of any level."""
        _, _, rest = self.prose.partition(f"# {heading}\n")
        assert rest, f"{self.file.name} has no heading {heading!r}"
        return _HEADING.split(rest)[0]

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of all tables under a heading, without their heads."""
        lines = [line for line in self.section(heading).splitlines() if line.startswith("|")]
        table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        heads = {at - 1 for at, row in enumerate(table) if set(row[0]) == {"-"}}
        return [row for at, row in enumerate(table) if at not in heads and set(row[0]) != {"-"}]

    def commands(self, program: str) -> Iterator[list[str]]:
        """The arguments of every call of `program`, in shell blocks and in code within the text."""
        for block in self.blocks("sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if program in line:
                    yield from calls_in(line, program)
        for code in _INLINE.findall(self.prose):
            if code.startswith(f"{program} "):
                bare = re.sub(r"[\[\]…]", "", code)
                yield [STANDS_FOR.get(word, word) for word in shlex.split(bare)[1:]]


def anchor(heading: str) -> str:
    """The fragment that leads to a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def code_in(text: str) -> list[str]:
    return _INLINE.findall(text)


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _calls(words: list[str], program: str) -> Iterator[list[str]]:
    """Simple commands of a line of shell that run `program`: without redirections and variables in front."""
    call: list[str] = []
    skip = False
    for word in [*words, ";"]:
        if skip:
            skip = False
        elif set(word) <= set("<>"):
            if call and call[-1].isdigit():
                call.pop()
            skip = True
        elif set(word) <= set("();|&<>"):
            while call and (call[0] in ("{", "sudo") or re.match(r"\w+=", call[0])):
                as_user = call[:2] == ["sudo", "-u"]
                del call[: 3 if as_user else 1]
            if call and call[0].rpartition("/")[2] == program:
                yield call[1:]
            call = []
        else:
            call.append(word)


def calls_in(line: str, program: str) -> Iterator[list[str]]:
    """The arguments of every call of `program` in a line of shell; comments are none."""
    yield from _calls(_words(line), program)
