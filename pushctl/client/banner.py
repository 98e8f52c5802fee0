"""What a measurement was: every parameter, which version, on what machine. With it alone a run can be repeated.

Owns: the documented names of `run` in reports (docs/operations.md, "Load"). Promises: no push URL, nor a file's text.
Must not know: how it is shown.
"""

import os
import platform
from collections.abc import Mapping

from msgspec import Struct

from pushctl.build import build
from pushctl.clock import rfc3339, system_clock


class Banner(Struct, frozen=True):
    command: str
    at: str
    version: str
    commit: str
    """`unknown` where nobody can tell; `-dirty` behind it: files were changed."""
    python: str
    system: str
    """Kernel and architecture."""
    cpu: str
    """How many of which kind."""
    parameters: dict[str, str]
    """As one types them, defaults too, by name."""


def banner(command: str, parameters: Mapping[str, object]) -> Banner:
    """Of a run that begins now."""
    this = build()
    return Banner(
        command=command,
        at=rfc3339(system_clock()),
        version=this.version,
        commit=this.commit,
        python=this.python,
        system=this.platform,
        cpu=f"{os.cpu_count()} x {_cpu_model()}",
        parameters={name: "-" if value is None else str(value) for name, value in sorted(parameters.items())},
    )


def _cpu_model() -> str:
    """Linux says what it is; elsewhere the architecture has to do."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "CPU")
    except OSError:
        return platform.processor() or "CPU"
