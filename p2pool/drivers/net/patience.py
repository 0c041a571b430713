"""Waiting that a stall of this process does not use up.

A deadline passes while the loop is held up (a loaded machine, a long computation), and what it
guards is then cut off before it had a turn: a reset that was never written leaves the other side
writing to nobody, a peer whose hello lies in our own queue is hung up on. So these waits are made
of steps, and a stall, however long, uses up one.
"""

import trio

STEPS = 10


async def wait_awake(duration_ms: int) -> None:
    """Wait for `duration_ms` in STEPS steps, for each of which the loop has to come round."""
    for _ in range(STEPS):
        await trio.sleep(duration_ms / 1000 / STEPS)
