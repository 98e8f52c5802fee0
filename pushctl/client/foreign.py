"""Text that others wrote: titles, details of errors, names of servers.

Promises: what comes out cannot control a terminal and stays on one line.
"""


def printable(text: str) -> str:
    """Whatever could move the cursor, change colours, end the line or turn the direction of writing becomes a space.

    A message's title comes from anybody who has a push URL.
    """
    return "".join(c if c.isprintable() else " " for c in text)
