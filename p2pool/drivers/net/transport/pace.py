"""How fast one connection is read: who sends more waits, and nobody else does.

Intuition: everything that a peer sends costs us, before it is a frame that could have a budget:
decrypting, the muxer's own messages, opening streams. TCP holds a sender back by itself if we do
not read, so a connection over its pace is left unread for as long as that takes to pay off. Nothing
is lost, and an honest peer whose backlog comes at once is only slower.

Invariants: a connection waits for what it sent itself; the wait is bounded by what one read can
bring.
"""

import attrs
import trio


@attrs.define
class Pace:
    """A bucket of `burst`, refilled by `per_s`, that may go below zero."""

    per_s: int
    burst: int
    left: float = attrs.field(init=False)
    at_s: float = attrs.field(init=False, factory=trio.current_time)

    def __attrs_post_init__(self) -> None:
        """Full."""
        self.left = self.burst

    def owe(self, cost: float) -> None:
        """So much was taken."""
        now_s = trio.current_time()
        self.left = min(self.burst, self.left + (now_s - self.at_s) * self.per_s) - cost
        self.at_s = now_s

    async def wait(self) -> None:
        """Until what was taken is paid off."""
        self.owe(0)
        if self.left < 0:
            await trio.sleep(-self.left / self.per_s)
