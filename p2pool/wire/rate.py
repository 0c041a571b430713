"""How often each guest may speak: a bucket for each peer key, which fills again with time.

Anybody may connect, and opening a frame costs a check of a signature. A guest needs few frames to
find its way into the pool, so what is more is refused before anything of it is looked at.
"""

from collections import OrderedDict

import attrs

from p2pool.model import limits
from p2pool.model.errors import TooMany
from p2pool.model.ids import PeerKey


@attrs.define
class GuestRate:
    """Buckets of at most `limits.PEERS_TRACKED_MAX` guests, in thousandths of a frame."""

    _left: "OrderedDict[PeerKey, tuple[int, int]]" = attrs.Factory(OrderedDict)

    def accept(self, peer_key: PeerKey, now_ms: int) -> None:
        """Take a guest's frame; `TooMany` where it sends more than it may. `now_ms`: monotonic."""
        most = 1000 * limits.GUEST_FRAMES_BURST
        left, at_ms = self._left.get(peer_key, (most, now_ms))
        left = min(most, left + (now_ms - at_ms) * limits.GUEST_FRAMES_PER_S)
        good = left >= 1000
        self._left[peer_key] = (left - 1000 if good else left, now_ms)
        self._left.move_to_end(peer_key)
        while len(self._left) > limits.PEERS_TRACKED_MAX:
            self._left.popitem(last=False)
        if not good:
            raise TooMany(
                f"A guest may send {limits.GUEST_FRAMES_PER_S} frames a second.",
                hint="Join the pool, or ask less often.",
            )
