"""One endpoint: whether to ask it now, and how often it was asked.

Invariants: nobody is asked while it wants a pause; who answers again is asked as before.
"""

from collections import Counter

import attrs
import trio
from web3 import HTTPProvider

from p2pool.drivers.redaction import shown_url
from p2pool.model import limits


@attrs.define
class Endpoint:
    """An endpoint. `deadline_s` bounds one call; `checked`: it is on our chain."""

    url: str
    provider: HTTPProvider
    limiter: trio.CapacityLimiter
    deadline_s: float
    checked: bool = False
    quiet_until_s: float = 0.0
    """Set by a call without an answer: no second opinion from this endpoint before this time."""
    unread_until_s: float = 0.0
    """Set by a second reading of contents that failed, or took too long: none before this time. It
    is still asked for the hash of a final block, which is one short call."""
    paused_until_s: float = 0.0
    """Set by an endpoint that gets too many calls: none before this time."""
    strikes: int = 0
    """So often in a row it wanted a pause and did not say how long."""
    counters: Counter[str] = attrs.field(factory=Counter)
    """Calls by method."""

    @property
    def shown(self) -> str:
        """Scheme, host and port, as they may be told."""
        return shown_url(self.url)

    def pause_left_s(self) -> float:
        """How much longer it is to be left alone."""
        return max(0.0, self.paused_until_s - trio.current_time())

    def pause(self, asked_s: float | None) -> float:
        """It wants a pause: as long as it says, else longer each time. Returns how long."""
        if asked_s is None:
            self.strikes = min(self.strikes + 1, limits.CHAIN_PAUSE_DOUBLINGS_MAX)
            asked_s = limits.CHAIN_PAUSE_MIN_MS / 1000 * 2.0 ** (self.strikes - 1)
        until_s = trio.current_time() + min(asked_s, limits.CHAIN_PAUSE_MAX_MS / 1000)
        self.paused_until_s = max(self.paused_until_s, until_s)
        return self.pause_left_s()

    def answered(self) -> None:
        """It took a call: the next pause begins short again."""
        self.strikes = 0

    def leave_unread(self) -> None:
        """It did not read the contents in time: no second reading by it for a while."""
        self.unread_until_s = trio.current_time() + limits.CHAIN_COMPARE_PAUSE_MS / 1000

    def leave_out(self) -> None:
        """It gave no answer: no second opinion from it for a while."""
        self.quiet_until_s = trio.current_time() + limits.CHAIN_COMPARE_PAUSE_MS / 1000
