"""Waits that a stall of this process does not use up.

A deadline can pass while the loop is stalled (a loaded machine, a long computation), and then cuts
off work that never had a turn: a reset that was never written leaves the other side writing to
nobody; a peer whose hello lies in our own queue is disconnected. So these waits consist of steps,
and a stall, however long, uses up one.
"""

import trio

STEPS = 10


async def wait_awake(duration_ms: int) -> None:
    """Wait for `duration_ms` in STEPS steps; the loop has to come round for each."""
    for _ in range(STEPS):
        await trio.sleep(duration_ms / 1000 / STEPS)
