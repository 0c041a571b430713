"""Tables with a bound: others may fill them, but only up to their limit.

Anybody may connect, so each table that grows with input from others has a maximum, and the newest
row displaces the oldest. Opening a frame or passing a message on costs a signature check, so
messages over a sender's rate are refused before any of that work.
"""

from collections import OrderedDict
from typing import TypeVar

import attrs

K = TypeVar("K")
V = TypeVar("V")

UNITS = 1000
"""A message's cost in a bucket: then a rate per second refills a whole number each
millisecond."""


class BoundedDict(OrderedDict[K, V]):
    """At most `most` rows: one more displaces the oldest.

    A row that is set again keeps its age, as in any dict; `renew` makes it the newest.
    """

    def __init__(self, most: int) -> None:
        """An empty table."""
        assert most > 0
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        """Set a row."""
        super().__setitem__(key, value)
        while len(self) > self.most:
            self.popitem(last=False)

    def renew(self, key: K, value: V) -> None:
        """Set a row and make it the newest, whether or not it existed."""
        self[key] = value
        self.move_to_end(key)


@attrs.define
class TokenBuckets:
    """Limits how often each sender may send: one bucket per sender, refilled over time.

    `per_s` messages a second per sender, `burst` at once, for the `most` latest senders."""

    per_s: int
    burst: int
    most: int
    _left: BoundedDict[bytes, tuple[int, int]] = attrs.Factory(
        lambda self: BoundedDict(self.most), takes_self=True
    )

    def admit(self, sender: bytes, now_ms: int, cost: int = 1) -> bool:
        """Whether a sender's message is within its rate; if so, it counts, as so many. `now_ms`:
        monotonic."""
        left = self._refilled(sender, now_ms)
        admitted = left >= UNITS * cost
        self._left.renew(sender, (left - UNITS * cost if admitted else left, now_ms))
        return admitted

    def affords(self, sender: bytes, now_ms: int, cost: int = 1) -> bool:
        """Whether a sender's message would be within its rate; nothing is counted."""
        return self._refilled(sender, now_ms) >= UNITS * cost

    def indebted(self, sender: bytes, now_ms: int) -> bool:
        """Whether a sender has used up what it was charged for."""
        return self._refilled(sender, now_ms) <= 0

    def charge(self, sender: bytes, now_ms: int, cost: int) -> None:
        """Count what turned out to cost so much, however little is left."""
        self._left.renew(sender, (self._refilled(sender, now_ms) - UNITS * cost, now_ms))

    def _refilled(self, sender: bytes, now_ms: int) -> int:
        full = UNITS * self.burst
        left, at_ms = self._left.get(sender, (full, now_ms))
        return min(full, left + (now_ms - at_ms) * self.per_s)
