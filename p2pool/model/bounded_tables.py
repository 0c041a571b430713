"""Tables with a bound: what others may fill is never larger than it was meant to be.

Anybody may connect, so each table that grows by what others send has a most, and the oldest row
goes for the newest. And to open a frame or to pass a message on costs a check of a signature: what
is more than a sender needs is refused before anything of it is looked at.
"""

from collections import OrderedDict
from typing import TypeVar

import attrs

K = TypeVar("K")
V = TypeVar("V")

UNITS = 1000
"""What a message takes of a bucket: so a rate per second fills it by a whole number each
millisecond."""


class BoundedDict(OrderedDict[K, V]):
    """At most `most` rows: where one more is set, the oldest goes.

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
        """Set a row that is the newest, whether or not it was there."""
        self[key] = value
        self.move_to_end(key)


@attrs.define
class TokenBuckets:
    """How often each sender may speak: a bucket for each, which fills again with time.

    `per_s` messages a second of each sender, `burst` at once, of the `most` last heard."""

    per_s: int
    burst: int
    most: int
    _left: BoundedDict[bytes, tuple[int, int]] = attrs.Factory(
        lambda self: BoundedDict(self.most), takes_self=True
    )

    def admit(self, sender: bytes, now_ms: int) -> bool:
        """Whether a message of a sender is within its rate; it counts then. `now_ms`: monotonic."""
        full = UNITS * self.burst
        left, at_ms = self._left.get(sender, (full, now_ms))
        left = min(full, left + (now_ms - at_ms) * self.per_s)
        admitted = left >= UNITS
        self._left.renew(sender, (left - UNITS if admitted else left, now_ms))
        return admitted
