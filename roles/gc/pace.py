"""How fast gc works: at most half of the time, whatever there is to do.

gc must catch up after an outage without being one. Two bounds do it. In size: every script it runs is short (at most
SWEEP_MESSAGES messages of one user, one user's counts, one step of a scan), and each of its loops has few questions
under way at a time, so that whoever else asks Redis waits for a few short scripts at most. In time: every step is
followed by a pause as long as the step took. When Redis is slow the steps are long, so the pauses are, too: gc slows
down with whatever it would disturb, without a setting. What a round leaves over makes the next one come at once,
under the same two bounds.

Owns: that pause. Must not know: what a step is.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def sharing() -> AsyncIterator[None]:
    """A step of work, and then a pause as long as it took."""
    started = trio.current_time()
    yield
    await trio.sleep(trio.current_time() - started)
