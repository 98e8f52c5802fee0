"""A question to Redis, before it is known which of the masters it is for.

Owns: which of a command's arguments is the key. Must not know: lanes, masters' addresses, replies.
"""

from collections.abc import Sequence

import msgspec

from pushctl.registry.connection import Argument
from pushctl.registry.node import Node
from pushctl.registry.script import Lane as LaneName
from pushctl.registry.script import Script

_KEY_IS_AT = {b"EVAL": 3, b"EVALSHA": 3, b"XINFO": 2, b"XGROUP": 2, b"OBJECT": 2, b"MEMORY": 2}


def key_of(command: Sequence[Argument]) -> str | bytes | None:
    """The key that decides which master a command is for; None: any."""
    name = command[0].encode() if isinstance(command[0], str) else command[0]
    assert isinstance(name, bytes)
    at = _KEY_IS_AT.get(name.upper(), 1)
    key = command[at] if len(command) > at else None
    return key if isinstance(key, str | bytes) else None


class Question(msgspec.Struct):
    """One command, and where it is to go."""

    command: Sequence[Argument]
    key: str | bytes | None
    lane: LaneName = "quick"
    script: Script | None = None
    node: Node | None = None
    """Where it goes, if not where the map says."""
    asking: bool = False
    """The node takes it only behind ASKING: the slot is on its way there."""
