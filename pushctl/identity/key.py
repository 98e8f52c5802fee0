"""One named secret of the keys file.

Owns: its shape, and how a new one is made. Promises: the secret is in no repr. Must not know: files, what it is for.
"""

import secrets
from dataclasses import dataclass, field
from typing import Literal

from pushctl.ids import new_id

KEY_ID_BYTES = 3
SECRET_BYTES = 32

State = Literal["seals", "opens"]


@dataclass(frozen=True, slots=True)
class Key:
    """`id`: 4 base64url characters (3 bytes); `secret`: 32 bytes. `state`, of sealing keys: whether what is new may be
    sealed with it, or it only opens; None: the file does not say."""

    id: str
    secret: bytes = field(repr=False)
    state: State | None = None

    @classmethod
    def generate(cls, state: State | None = None) -> "Key":
        return cls(new_id(KEY_ID_BYTES), secrets.token_bytes(SECRET_BYTES), state)
