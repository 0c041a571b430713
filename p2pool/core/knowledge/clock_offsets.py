"""How far the voters' clocks are from ours: a node that differs from most of them is the wrong one.

Intuition: every envelope says when it was sent. A frame arrives a little late and never early, so
the largest difference of the last seconds is nearest to the truth. A node cannot tell a right clock
from a wrong one, but it can count: when a majority of the committee's voters differs from us by
more than a message's time may, our clock is the wrong one.

Invariants: only frames on connections count, because nobody can replay those; after our own loop
was late, its measurements do not count; in a committee of two neither clock is the wrong one, and
both say so. Source: docs/design/health.md, "Clocks".
"""

import attrs

from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import Configuration, majority
from p2pool.model.timing import Now


@attrs.define
class ClockOffsets:
    """Offsets by voter: for each of the last few seconds, (second, largest offset).

    `wrong`: what is wrong with our own clock, if anything; `differing`: what nobody can decide.
    """

    me: NodeId
    seen: dict[NodeId, list[tuple[int, int]]] = attrs.field(factory=dict)
    wrong: str | None = None
    differing: str | None = None

    def heard(self, node_id: NodeId, sent_at_ms: int, now: Now) -> None:
        """A frame came over a node's own connection."""
        offset_ms, second = sent_at_ms - now.wall_ms, now.mono_ms // limits.CLOCK_SLICE_MS
        slices = self.seen.setdefault(node_id, [])
        if slices and slices[-1][0] == second:
            slices[-1] = (second, max(slices[-1][1], offset_ms))
            return
        slices.append((second, offset_ms))
        del slices[: -limits.CLOCK_WINDOW_MS // limits.CLOCK_SLICE_MS]

    def lagged(self) -> None:
        """Our loop was late, so the offsets measure our own delay: drop them."""
        self.seen.clear()

    def offset_ms(self, node_id: NodeId, now: Now) -> int | None:
        """How far a node's clock is ahead of ours, if lately measured."""
        first = (now.mono_ms - limits.CLOCK_WINDOW_MS) // limits.CLOCK_SLICE_MS
        return max((o for second, o in self.seen.get(node_id, ()) if second >= first), default=None)

    def tick(self, committee: Configuration, now: Now) -> None:
        """Compare our clock with those of the committee's voters."""
        voters = [v.node_id for v in committee.electors]
        for node_id in tuple(self.seen):
            if node_id not in voters:
                del self.seen[node_id]
        offsets = [self.offset_ms(v, now) for v in voters if v != self.me]
        off = sorted(o for o in offsets if o is not None and abs(o) > limits.CLOCK_SKEW_MAX_MS)
        self.wrong = self.differing = None
        if not off:
            return
        middle_ms = off[len(off) // 2]
        side = "behind" if middle_ms > 0 else "ahead of"
        if len(off) >= majority(len(voters)):
            self.wrong = f"its clock is {abs(middle_ms) // 1000} s {side} most voters' clocks"
        elif len(voters) == 2:
            self.differing = f"The clocks of the two voters differ by {abs(middle_ms) // 1000} s."
