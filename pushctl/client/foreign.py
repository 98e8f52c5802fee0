"""Text that others wrote: titles, details of errors, names of servers.

Promises: what comes out cannot control a terminal and stays on one line.
"""

import unicodedata
from typing import Final

MOST_MARKS: Final = 3
"""On one letter: no writing system needs more, but a thousand would paint over the lines around it."""


def printable(text: str) -> str:
    """Whatever could move the cursor, change colours, end the line or turn the direction of writing becomes a space.

    A message's title comes from anybody who has a push URL.
    """
    if text.isascii() and text.isprintable():
        return text
    kept, marks = [], 0
    for c in text:
        marks = marks + 1 if unicodedata.category(c) in ("Mn", "Me") else 0
        # Variation selectors change how wide a terminal draws what stands before them, each terminal in its own way.
        if marks <= MOST_MARKS and not "\ufe00" <= c <= "\ufe0f":
            kept.append(c if c.isprintable() else " ")
    return "".join(kept)
