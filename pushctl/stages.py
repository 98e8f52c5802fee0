"""The life of a message, one word per fact.

The log event, the metric label and the assertion in a test are the same word. A message may skip ROUTED (nobody is
connected) but never goes back.
"""

from enum import StrEnum


class Stage(StrEnum):
    RECEIVED = "received"
    """The api parsed a third party's push."""
    STORED = "stored"
    """The registry has it: from here we owe it to the user. TTL 0 is never stored."""
    ROUTED = "routed"
    """A hint left for a socket server that holds a device of the user."""
    WRITTEN = "written"
    """A frame with it was written to a device's socket."""
    ACKNOWLEDGED = "acknowledged"
    """A device said that it is safe there."""
    READ = "read"
    """A device said that the user saw it."""
    EXPIRED = "expired"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EVICTED = "evicted"
