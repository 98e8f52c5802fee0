"""Why a role cannot do its work, or does it badly: a word for machines, a line for people.

Owns: the words. They are a contract with operators' alerts (docs/operations.md, "Health, metrics, logs"): a word keeps
its meaning, the line beside it may change.
Must not know: who finds them out, or how they are shown.
"""

from enum import StrEnum

from msgspec import Struct


class Code(StrEnum):
    STARTING = "starting"
    STOPPING = "stopping"
    DRAINING = "draining"
    """An operator empties this socket server; it runs on."""
    TASK_STUCK = "task_stuck"
    """A loop that the role cannot do without makes no step any more. The only one that /healthz knows."""
    LOOP_LATE = "loop_late"
    """The process has more to do than it can."""
    CHECK_SLOW = "check_slow"
    CHECK_FAILED = "check_failed"
    REDIS_AWAY = "redis_away"
    REDIS_UNUSABLE = "redis_unusable"
    """It answers, and is another installation's, a replica, or was emptied."""
    REDIS_EVICTS = "redis_evicts"
    KEYS_UNSETTLED = "keys_unsettled"
    KEYS_LACKING = "keys_lacking"
    KEYS_NONE_SEALS = "keys_none_seals"
    CERTIFICATE_ENDED = "certificate_ended"
    CERTIFICATE_ENDS = "certificate_ends"
    """A warning, two weeks before."""
    OPEN_FILES_SHORT = "open_files_short"
    CHANNEL_DEAF = "channel_deaf"
    """A socket server does not hear what routers tell it."""
    PICTURE_STALE = "picture_stale"
    """A Box Office has not seen the socket servers for too long."""
    JOBS_LATE = "jobs_late"
    """Jobs wait for a router longer than they should."""


class Reason(Struct, frozen=True):
    """`detail`: what is wrong and what to do, one line."""

    code: Code
    detail: str

    def __str__(self) -> str:
        return self.detail


STARTING = Reason(Code.STARTING, "it is starting")
