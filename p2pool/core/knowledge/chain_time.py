"""What time it is by the chain: the second opinion of a node that no majority of clocks corrects.

Intuition: a block was made no later than now, so its time is a lower bound. While the head moves as
fast as time does, now is also not much later than its newest block. A head that stands still, or
one that an endpoint is still catching up with, says nothing about the latest time.

Invariants: only a higher block counts, so a repeated answer moves nothing; one lying endpoint can
make log time stand still where no majority of clocks is measured, and never move it forward.
Source: docs/design/health.md, "Clocks".
"""

import attrs

from p2pool.model import limits
from p2pool.model.timing import Now


@attrs.frozen
class Seen:
    """A block's number and time, and when we saw it, on the monotonic clock."""

    number: int
    time_ms: int
    seen_ms: int


@attrs.define
class ChainTime:
    """The newest block, and an earlier one to compare it with."""

    newest: Seen | None = None
    before: Seen | None = None
    candidate: Seen | None = None

    def see(self, number: int, time_ms: int, now: Now) -> None:
        """An endpoint showed a block."""
        newest = self.newest
        if newest is not None and number <= newest.number:
            return
        seen = Seen(number, time_ms, now.mono_ms)
        still = newest is None or now.mono_ms - newest.seen_ms > limits.CHAIN_HEAD_STILL_MS
        self.newest = seen
        if still:
            self.before, self.candidate = None, seen
            return
        assert self.candidate is not None
        if now.mono_ms - self.candidate.seen_ms >= limits.CHAIN_HEAD_LOOK_MS:
            self.before, self.candidate = self.candidate, seen

    def moves(self, now: Now) -> bool:
        """Whether the head goes on about as fast as time does."""
        newest, before = self.newest, self.before
        if newest is None or before is None:
            return False
        if now.mono_ms - newest.seen_ms > limits.CHAIN_HEAD_STILL_MS:
            return False
        blocks_ms, ours_ms = newest.time_ms - before.time_ms, newest.seen_ms - before.seen_ms
        return ours_ms <= 2 * blocks_ms and blocks_ms <= 2 * ours_ms

    def earliest_ms(self) -> int:
        """A time that has passed; 0 if no block was seen."""
        return self.newest.time_ms if self.newest is not None else 0

    def latest_ms(self, now: Now) -> int | None:
        """A time that cannot have come yet; None while the head does not move."""
        if self.newest is None or not self.moves(now):
            return None
        since_ms = now.mono_ms - self.newest.seen_ms
        return self.newest.time_ms + since_ms + limits.CHAIN_TIME_LAG_MS

    def confirms(self, wall_ms: int, now: Now) -> bool:
        """Whether a wall clock may be right."""
        latest_ms = self.latest_ms(now)
        if latest_ms is None:
            return False
        return self.earliest_ms() - limits.CLOCK_SKEW_MAX_MS <= wall_ms <= latest_ms

    def contradicts(self, wall_ms: int, now: Now) -> bool:
        """Whether a wall clock is certainly wrong, if the endpoint is right."""
        latest_ms = self.latest_ms(now)
        late = latest_ms is not None and wall_ms > latest_ms
        return late or wall_ms < self.earliest_ms() - limits.CLOCK_SKEW_MAX_MS
