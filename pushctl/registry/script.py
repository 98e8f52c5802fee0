"""Lua scripts: files of their own, read once, with their keys and arguments by name.

A script begins with what it promises, as comments, and up to five directives:

    --!use base log          fragments of scripts/lib that go in front
    --!keys meta log ...     K.meta is KEYS[1], K.log KEYS[2], ...
    --!args shift_ms tag     A.shift_ms is ARGV[1], ...; what follows them is ARGV[REST], ...
    --!lane sure             its way: `sure` (a promise: replicas confirm it), `bulk` (a large answer), else quick
    --!rarely free bury      functions of fragments that are made only when one of them is called

What Redis is given is composed from that. It runs all of a script each time, so nothing is in it that costs something
and is not needed: names of keys and arguments are replaced by their places, functions that nobody calls are left out,
and what is the same in every call may be bound into the text (`bind`). A function costs 0.2 µs to make, an argument as
much to bring, and append has forty of each.

Owns: reading, composing and hashing. Must not know: how a script reaches Redis.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from pushctl.registry.connection import Argument

Lane = Literal["quick", "sure", "bulk"]

_SCRIPTS = files("pushctl.registry") / "scripts"

_DIRECTIVE = re.compile(r"^--!(use|keys|args|lane|rarely) +(.*)$", re.MULTILINE)

_WORD = re.compile(r"\w+")
_NAMED = re.compile(r"\b([KA])\.(\w+)")
_SAFE = re.compile(r"[\w:.-]*")
"""What may stand between quotes in Lua as it is."""

_HEAD = "local KEYS, ARGV, call = KEYS, ARGV, redis.call"
"""Locals are found faster."""


@dataclass(frozen=True)
class Script:
    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    source: str
    sha1: str
    lane: Lane
    body: str
    """Composed but for the names of keys and arguments."""
    bound: tuple[tuple[str, str], ...] = ()
    """Arguments that stand in the source, with their values."""

    @classmethod
    def load(cls, name: str) -> "Script":
        text = (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
        words: dict[str, tuple[str, ...]] = {"use": (), "keys": (), "args": (), "lane": (), "rarely": ()}
        for directive, names in _DIRECTIVE.findall(text):
            words[directive] += tuple(names.split())
        fragments = "\n".join(_fragment(part) for part in words["use"])
        lane: Any = words["lane"][0] if words["lane"] else "quick"
        if lane not in get_args(Lane):
            raise ValueError(f"{name}: no lane {lane!r}")
        body = _composed(fragments + "\n", _without_comments(text), words["rarely"])
        return cls(name, words["keys"], words["args"], "", "", lane, body)._placed()

    def bind(self, **values: Argument) -> "Script":
        """The same script with these arguments in its text: it takes only the others."""
        given = {name: str(value) for name, value in values.items() if name in self.args}
        for name, value in given.items():
            if not _SAFE.fullmatch(value):
                raise ValueError(f"{self.name}: {name} cannot stand in a script")
        left = tuple(name for name in self.args if name not in given)
        return replace(self, args=left, bound=(*self.bound, *given.items()))._placed()

    def arguments(self, given: Mapping[str, Argument], rest: Sequence[Argument] = ()) -> list[Argument]:
        """The values in the script's order. A missing or unknown name is a KeyError here, not a nil in Lua."""
        if given.keys() != set(self.args):
            raise KeyError(f"{self.name}: arguments {sorted(given)} where {sorted(self.args)} are taken")
        return [*(given[name] for name in self.args), *rest]

    def _placed(self) -> "Script":
        """With the places of keys and arguments in its text, and its hash."""
        places = {f"K.{key}": f"KEYS[{n}]" for n, key in enumerate(self.keys, 1)}
        places |= {f"A.{name}": f"ARGV[{n}]" for n, name in enumerate(self.args, 1)}
        places |= {f"A.{name}": f"'{value}'" for name, value in self.bound}
        # What a fragment could use and this script does not have is nil, as a field of a table would be.
        text = _NAMED.sub(lambda found: places.get(found[0], "nil"), self.body).replace("redis.call(", "call(")
        head = [_HEAD]
        if "REST" in text:
            head.append(f"local REST = {len(self.args) + 1}")
        if "K[" in text:
            head.append("local K = {" + ", ".join(f"{key} = KEYS[{n}]" for n, key in enumerate(self.keys, 1)) + "}")
        source = "\n".join([*head, text])
        return replace(self, source=source, sha1=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def _fragment(name: str) -> str:
    """Each is part of many scripts."""
    return _without_comments((_SCRIPTS / "lib" / f"{name}.lua").read_text(encoding="utf-8"))


def _without_comments(source: str) -> str:
    """Whole-line comments stay in the file: Redis need not hold them."""
    return "\n".join(line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("--"))


def _composed(fragments: str, text: str, rarely: Sequence[str]) -> str:
    """Fragments, then the script itself; without functions that nobody calls, and with those of `rarely` put off."""
    functions = dict(_functions(fragments.split("\n")))
    words = Counter(_WORD.findall(f"{fragments}\n{text}"))
    own = {name: Counter(_WORD.findall(whole)) for name, whole in functions.items()}
    left_out: list[str] = []
    while idle := [name for name in own if words[name] == own[name][name]]:
        for name in idle:
            words -= own.pop(name)
        left_out += idle
    for name in (*left_out, *rarely):
        fragments = fragments.replace(functions[name] + "\n", "", 1)
    if not rarely:
        return fragments + text
    # Those that are always there find the others by `rarely`, which makes them when it is first called.
    call = re.compile(rf"\b({'|'.join(rarely)})\(")
    fragments, text = (call.sub(r"rarely().\1(", part) for part in (fragments, text))
    made = "\n".join(functions[name] for name in rarely)
    table = ", ".join(f"{name} = {name}" for name in rarely)
    return (
        f"local rare, rarely\n{fragments}"
        f"rarely = function()\nif rare then return rare end\n{made}\nrare = {{{table}}}\nreturn rare\nend\n{text}"
    )


def _functions(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, the whole of it) of functions that begin at the left margin, and end on that line or there."""
    begin = None
    for at, line in enumerate(lines):
        if line.startswith("local function "):
            begin = at
        if begin is not None and (line == "end" or (begin == at and line.endswith(" end"))):
            whole = lines[begin : at + 1]
            yield whole[0].removeprefix("local function ").partition("(")[0], "\n".join(whole)
            begin = None
