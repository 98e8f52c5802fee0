"""Which command prints what with --json: the types of its lines.

Owns: this list, from which docs/schemas/ is made. A command that has --json and is not here fails a test; to add one,
name the Struct that it encodes, or several if its lines are not all alike.
Must not know: how anything is printed. (Nothing that runs a command imports this module: it imports every shape.)
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pushctl.checkup import Finding
from pushctl.cli import answers
from pushctl.cli.bench.run import BenchResult
from pushctl.cli.send.load import LoadResult
from pushctl.client.api import DeviceRow, IdentityRow
from pushctl.client.events import Event, StoredEvent
from pushctl.client.report import Report
from pushctl.client.sender import Sent
from pushctl.config.about import KeyDoc
from pushctl.emptying import Progress
from pushctl.inspection import MessageReport, PushUrlReport, ServerReport, UserReport
from pushctl.overview import OF_EVERY_SECTION, SECTIONS, Overview
from pushctl.protocol.frames import PushUrl
from pushctl.rotation import KeyStatus
from pushctl.webpush.encryption import Subscription


def _sections(whole: type[msgspec.Struct], parts: Mapping[str, tuple[str, ...]]) -> tuple[type[msgspec.Struct], ...]:
    """One shape for each section that may be asked for alone: what is in it, and what concerns it."""
    kinds = {field.name: field.type for field in msgspec.structs.fields(whole)}
    return tuple(
        msgspec.defstruct(
            f"{whole.__name__}{section.title()}",
            [(name, kinds[name]) for name in ("at", *names, *OF_EVERY_SECTION)],
            namespace={"__doc__": f"Of {whole.__name__}, what `{section}` shows."},
        )
        for section, names in parts.items()
    )


LINES: Final[dict[str, tuple[Any, ...]]] = {
    **dict.fromkeys(("bench connect", "bench send", "bench fanout", "bench storm", "bench idle"), (BenchResult,)),
    "broadcast": (answers.BroadcastVersion,),
    "client allow": (answers.Allowed, Subscription),
    "client devices": (DeviceRow,),
    "client identities": (IdentityRow,),
    "client link": (IdentityRow,),
    "client listen": (Event,),
    "client login": (answers.LoggedIn,),
    "client messages": (StoredEvent,),
    "client read": (answers.MarkedRead,),
    "client revoke": (answers.Revoked,),
    "client swarm": (Report,),
    "client sync": (Event,),
    "client urls": (PushUrl,),
    "config doc": (KeyDoc,),
    "config show": (answers.ConfigValue,),
    "doctor": (Finding,),
    "drain": (Progress,),
    "inspect message": (MessageReport,),
    "inspect push-url": (PushUrlReport,),
    "inspect server": (ServerReport,),
    "inspect user": (UserReport,),
    "keys status": (KeyStatus,),
    "send": (Sent, LoadResult),
    "serve all": (answers.Addresses,),
    "stats": (Overview, *_sections(Overview, SECTIONS)),
}
"""By the command's words. `serve all` needs no --json: its second line always is JSON."""

_CLIENT: Final = (0, 1, 2, 5)
_REGISTRY: Final = (0, 1, 2, 5)

EXITS: Final[dict[str, tuple[int, ...]]] = {
    "serve": (0, 1, 2, 3, 5),
    "client login": (0, 1, 2, 4, 5),
    "client logout": _CLIENT,
    "client allow": _CLIENT,
    "client revoke": _CLIENT,
    "client urls": _CLIENT,
    "client sync": _CLIENT,
    "client messages": _CLIENT,
    "client read": _CLIENT,
    "client listen": (0, 1, 2, 3, 4, 5, 130),
    "client run": (0, 1, 2, 130),
    "client identities": _CLIENT,
    "client link": _CLIENT,
    "client unlink": _CLIENT,
    "client devices": _CLIENT,
    "client remove": _CLIENT,
    "client swarm": (0, 1, 2, 3, 5, 130),
    "send": (0, 1, 2, 3, 4, 5, 130),
    **dict.fromkeys(("bench connect", "bench send", "bench fanout", "bench storm", "bench idle"), (0, 1, 2, 3, 5, 130)),
    "stats": (0, 2, 3, 5, 130),
    "inspect user": _REGISTRY,
    "inspect push-url": _REGISTRY,
    "inspect message": _REGISTRY,
    "inspect server": _REGISTRY,
    "drain": (0, 1, 2, 4, 5, 130),
    "undrain": (0, 1, 2, 4, 5),
    "broadcast": _REGISTRY,
    "doctor": (0, 2, 3, 5),
    "config show": (0, 2),
    "config check": (0, 2),
    "config doc": (0, 2),
    "config init": (0, 1, 2),
    "keys new": (0, 1, 2),
    "keys status": (0, 2, 5),
    "keys rotate": (0, 2, 3, 5),
    "keys retire": (0, 2, 3, 5),
    "keys vapid": (0, 1, 2),
    "completion": (0, 2),
}
"""How each command may end, beyond a Ctrl-C (130, where it is said: after a report, or with something left going) and
a Redis that fails while it is asked (1)."""

EXIT_CODES: Final[dict[int, str]] = {
    0: "done",
    1: "failed",
    2: "wrong usage or bad configuration",
    3: "finished, but the result is not good",
    4: "timed out",
    5: "cannot connect, or refused",
    130: "interrupted",
}
