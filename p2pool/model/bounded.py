"""How often each sender may speak: a bucket for each of them, which fills again with time.

Anybody may connect, and to open a frame or to pass a message on costs a check of a signature. So
what is more than a sender needs is refused before anything of it is looked at.
"""

from collections import OrderedDict

import attrs

UNITS = 1000
"""What a message takes of a bucket: so a rate per second fills it by a whole number each
millisecond."""


@attrs.define
class TokenBuckets:
    """`per_s` messages a second of each sender, `burst` at once, of the `most` last heard."""

    per_s: int
    burst: int
    most: int
    _left: "OrderedDict[bytes, tuple[int, int]]" = attrs.Factory(OrderedDict)

    def admit(self, sender: bytes, now_ms: int) -> bool:
        """Whether a message of a sender is within its rate; it counts then. `now_ms`: monotonic."""
        full = UNITS * self.burst
        left, at_ms = self._left.get(sender, (full, now_ms))
        left = min(full, left + (now_ms - at_ms) * self.per_s)
        admitted = left >= UNITS
        self._left[sender] = (left - UNITS if admitted else left, now_ms)
        self._left.move_to_end(sender)
        while len(self._left) > self.most:
            self._left.popitem(last=False)
        return admitted
