"""Lua scripts: files of their own, read once, with their keys and arguments by name.

A script begins with what it promises, as comments, and up to four directives:

    --!use base log          fragments of scripts/lib that go in front
    --!keys meta log ...     becomes  local K = {meta = KEYS[1], log = KEYS[2], ...}
    --!args shift_ms tag     becomes  local A = {shift_ms = ARGV[1], ...}; what follows them is ARGV[REST], ...
    --!lane sure             its way: `sure` (a promise: replicas confirm it), `bulk` (a large answer), else quick

Owns: reading, composing and hashing. Must not know: how a script reaches Redis.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from pushctl.registry.connection import Argument

Lane = Literal["quick", "sure", "bulk"]

_SCRIPTS = files("pushctl.registry") / "scripts"

_DIRECTIVE = re.compile(r"^--!(use|keys|args|lane) +(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    source: str
    sha1: str
    lane: Lane

    @classmethod
    def load(cls, name: str) -> "Script":
        text = (_SCRIPTS / f"{name}.lua").read_text(encoding="utf-8")
        words: dict[str, tuple[str, ...]] = {"use": (), "keys": (), "args": (), "lane": ()}
        for directive, names in _DIRECTIVE.findall(text):
            words[directive] += tuple(names.split())
        head = [
            "local K = {" + ", ".join(f"{key} = KEYS[{n}]" for n, key in enumerate(words["keys"], 1)) + "}",
            "local A = {" + ", ".join(f"{arg} = ARGV[{n}]" for n, arg in enumerate(words["args"], 1)) + "}",
            f"local REST = {len(words['args']) + 1}",
        ]
        source = "\n".join([*head, *map(_fragment, words["use"]), _without_comments(text)])
        digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        lane: Any = words["lane"][0] if words["lane"] else "quick"
        if lane not in get_args(Lane):
            raise ValueError(f"{name}: no lane {lane!r}")
        return cls(name, words["keys"], words["args"], source, digest, lane)

    def arguments(self, given: dict[str, Argument], rest: Sequence[Argument] = ()) -> list[Argument]:
        """The values in the script's order. A missing or unknown name is a KeyError here, not a nil in Lua."""
        if given.keys() != set(self.args):
            raise KeyError(f"{self.name}: arguments {sorted(given)} where {sorted(self.args)} are taken")
        return [*(given[name] for name in self.args), *rest]


@cache
def _fragment(name: str) -> str:
    """Each is part of many scripts."""
    return _without_comments((_SCRIPTS / "lib" / f"{name}.lua").read_text(encoding="utf-8"))


def _without_comments(source: str) -> str:
    """Whole-line comments stay in the file: Redis need not hold them."""
    return "\n".join(line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("--"))
