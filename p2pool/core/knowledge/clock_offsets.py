"""What time it is, as far as this node can tell: most voters' clocks, its own, and the chain's.

Intuition: every envelope says when it was sent. A frame arrives a little late and never early, so
the largest difference of the last seconds is nearest to the truth. A node cannot tell a right clock
from a wrong one, but it can count: when a majority of the committee's voters differs from us by
more than a message's time may, our clock is the wrong one, and we go by theirs. Where no majority
was measured (alone, cut off, one of two) our own clock counts, but not where it jumps: time goes on
as the boot clock does, and the chain's block times are the second opinion.

Invariants: only frames on connections count, because nobody can replay those; after our own loop
was late, its measurements do not count; in a committee of two neither clock is the wrong one unless
it jumped, and both say that they differ. A jump moves neither `time_ms` nor a measured offset:
offsets are kept against the boot clock. Source: docs/design/health.md, "Clocks".
"""

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import Configuration
from p2pool.model.timing import Now


@attrs.frozen
class Seen:
    """A block's number and time, and when we saw it, on the monotonic clock."""

    number: int
    time_ms: int
    seen_ms: int


@attrs.define
class ChainTime:
    """What time it is by the chain: the newest block, and an earlier one to compare it with.

    A block was made no later than now, so its time is a lower bound. While the head moves as fast
    as time does, now is also not much later than its newest block. A head that stands still, or one
    that an endpoint is still catching up with, says nothing about the latest time. One endpoint
    that lies can make log time stand still here, and never moves it forward.
    """

    newest: Seen | None = None
    before: Seen | None = None
    candidate: Seen | None = None
    first_ms: int | None = None
    """When the first block was seen, on the monotonic clock."""

    def see(self, number: int, time_ms: int, now: Now) -> None:
        """An endpoint showed a block."""
        newest = self.newest
        if newest is not None and number <= newest.number:
            return
        seen = Seen(number, time_ms, now.mono_ms)
        if self.first_ms is None:
            self.first_ms = now.mono_ms
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
        if self.stands_still(limits.CHAIN_HEAD_STILL_MS, now):
            return False
        blocks_ms, ours_ms = newest.time_ms - before.time_ms, newest.seen_ms - before.seen_ms
        return ours_ms <= 2 * blocks_ms and blocks_ms <= 2 * ours_ms

    def stands_still(self, for_ms: int, now: Now) -> bool:
        """Whether no endpoint has shown a new block for so long, or any at all."""
        return self.newest is None or now.mono_ms - self.newest.seen_ms > for_ms

    def earliest_ms(self) -> int:
        """A time that has passed; 0 if no block was seen."""
        return self.newest.time_ms if self.newest is not None else 0

    def latest_ms(self, now: Now) -> int | None:
        """A time that cannot have come yet; None while the head does not move."""
        if self.newest is None or not self.moves(now):
            return None
        return self._bound_ms(self.newest, now)

    def assumed_latest_ms(self, now: Now) -> int | None:
        """The same, as if the head moved, where that was not tried for long enough yet. Whoever has
        just begun rather lets log time stand still than goes by a clock that may be wrong."""
        first_ms, newest = self.first_ms, self.newest
        if first_ms is None or newest is None or self.before is not None:
            return None
        if now.mono_ms - first_ms > limits.CHAIN_HEAD_STILL_MS:
            return None
        return self._bound_ms(newest, now)

    @staticmethod
    def _bound_ms(newest: Seen, now: Now) -> int:
        return newest.time_ms + now.mono_ms - newest.seen_ms + limits.CHAIN_TIME_LAG_MS

    def confirms(self, wall_ms: int, now: Now) -> bool:
        """Whether a wall clock may be right."""
        latest_ms = self.latest_ms(now)
        if latest_ms is None:
            return False
        return self.earliest_ms() - limits.CLOCK_SKEW_MAX_MS <= wall_ms <= latest_ms

    def contradicts(self, wall_ms: int, now: Now) -> bool:
        """Whether a wall clock is certainly wrong, if the endpoint is right."""
        return self.differs(wall_ms, now) is not None

    def differs(self, wall_ms: int, now: Now) -> str | None:
        """In words, how far a wall clock is from what the blocks allow; None if it may be right."""
        latest_ms, earliest_ms = self.latest_ms(now), self.earliest_ms()
        if wall_ms < earliest_ms - limits.CLOCK_SKEW_MAX_MS:
            return (
                f"its clock is {(earliest_ms - wall_ms) // 1000} s behind the chain's newest block"
            )
        if latest_ms is None or wall_ms <= latest_ms:
            return None
        ahead_ms = wall_ms - latest_ms + limits.CHAIN_TIME_LAG_MS
        return f"its clock is {ahead_ms // 1000} s ahead of the chain's newest blocks"


@attrs.frozen
class Anchor:
    """A time that we held right, and the boot clock then. `slews`: our wall clock jumped and may be
    right, so we approach it."""

    mono_ms: int
    at_ms: int
    slews: bool = False


@attrs.define
class ClockOffsets:
    """Offsets by node: for each of the last few seconds, (second, largest offset to our boot
    clock).

    `wrong`: what is wrong with our own clock, if anything; `differing`: what nobody can decide.
    """

    me: NodeId
    seen: BoundedDict[NodeId, list[tuple[int, int]]] = attrs.field(
        factory=lambda: BoundedDict(limits.PEERS_TRACKED_MAX)
    )
    committee: Configuration = Configuration(())
    chain: ChainTime = attrs.field(factory=ChainTime)
    anchor: Anchor | None = None
    wrong: str | None = None
    differing: str | None = None

    # --- measuring --------------------------------------------------------------------------------

    def heard(self, node_id: NodeId, sent_at_ms: int, now: Now) -> None:
        """A frame came over a node's own connection."""
        offset_ms, second = sent_at_ms - now.mono_ms, now.mono_ms // limits.CLOCK_SLICE_MS
        slices = self.seen.get(node_id)
        if slices is None:
            slices = self.seen[node_id] = []
        self.seen.move_to_end(node_id)
        if slices and offset_ms < max(o for _, o in slices) - 2 * limits.CLOCK_SKEW_MAX_MS:
            # No frame is on its way for so much longer than those before: that clock went back.
            slices.clear()
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
        clock_ms = self.clock_of_ms(node_id, now)
        return clock_ms - now.wall_ms if clock_ms is not None else None

    def clock_of_ms(self, node_id: NodeId, now: Now) -> int | None:
        """What a node's clock shows, if lately measured."""
        first = (now.mono_ms - limits.CLOCK_WINDOW_MS) // limits.CLOCK_SLICE_MS
        lately = [o for second, o in self.seen.get(node_id, ()) if second >= first]
        return max(lately) + now.mono_ms if lately else None

    def differs(self, node_id: NodeId, now: Now) -> str | None:
        """In words, how far a node's clock differs from ours, if the last time that it was measured
        says so; None if ours is the wrong one."""
        slices = self.seen.get(node_id)
        if not slices or self.wrong is not None:
            return None
        second, offset_ms = slices[-1]
        ahead_ms = offset_ms + now.mono_ms - now.wall_ms
        lately = now.mono_ms - second * limits.CLOCK_SLICE_MS < limits.CLOCK_DIFFERED_KEPT_MS
        if not lately or _near(ahead_ms, 0):
            return None
        side = "ahead of" if ahead_ms > 0 else "behind"
        return f"its clock is {abs(ahead_ms) // 1000} s {side} ours"

    # --- what time it is --------------------------------------------------------------------------

    def time_ms(self, now: Now) -> int:
        """The time, as far as this node can tell."""
        most_ms = self.most_ms(now)
        if most_ms is None:
            at_ms, latest_ms = self._alone_ms(now), self.chain.assumed_latest_ms(now)
            return at_ms if latest_ms is None else min(at_ms, latest_ms)
        return now.wall_ms if _near(most_ms, now.wall_ms) else most_ms

    def latest_ms(self, now: Now) -> int:
        """The latest date that an entry may have: no clock that may be right shows more."""
        most_ms = self.most_ms(now)
        other_ms = self.chain.earliest_ms() if most_ms is None else most_ms
        return max(self.time_ms(now), other_ms) + limits.CLOCK_SKEW_MAX_MS

    def most_ms(self, now: Now) -> int | None:
        """What most voters' clocks show, if a majority was measured and agrees; ours is one of them
        and never the only one."""
        clocks = {v: self.clock_of_ms(v.node_id, now) for v in self.committee.electors}
        known = [(ms, v) for v, ms in clocks.items() if ms is not None and v.node_id != self.me]
        if not known:
            return None
        known += [(now.wall_ms, v) for v in self.committee.electors if v.node_id == self.me]
        middle_ms = sorted(ms for ms, _ in known)[(len(known) - 1) // 2]
        agreeing = [v.store_id for ms, v in known if _near(ms, middle_ms)]
        return middle_ms if self.committee.has_quorum(agreeing) else None

    def _alone_ms(self, now: Now) -> int:
        """The time by our own clock and the chain's."""
        expected_ms = self._expected_ms(now)
        at_ms = now.wall_ms if _near(now.wall_ms, expected_ms) else expected_ms
        latest_ms = self.chain.latest_ms(now)
        return at_ms if latest_ms is None else min(at_ms, latest_ms)

    def _expected_ms(self, now: Now) -> int:
        """The time by the boot clock, since the last moment at which we held our clock right."""
        anchor = self.anchor
        if anchor is None:
            return now.wall_ms
        passed_ms = now.mono_ms - anchor.mono_ms
        expected_ms = anchor.at_ms + passed_ms
        if not anchor.slews:
            return expected_ms
        gap_ms = passed_ms // limits.CLOCK_SLEW_PARTS
        return expected_ms + max(-gap_ms, min(gap_ms, now.wall_ms - expected_ms))

    # --- judging our own clock --------------------------------------------------------------------

    def tick(self, committee: Configuration, chain: ChainRoster | None, now: Now) -> None:
        """Compare our clock with those of the committee's voters, the boot clock and the chain."""
        self.committee = committee
        if chain is not None:
            self.chain.see(chain.block_number, chain.block_time_ms, now)
        jumped = self._anchor(now)
        voters = committee.electors
        clocks = {v: self.offset_ms(v.node_id, now) for v in voters if v.node_id != self.me}
        off = {v: o for v, o in clocks.items() if o is not None and not _near(o, 0)}
        self.wrong, self.differing = self._by_the_chain(now) or jumped, None
        if not off:
            return
        middle_ms = sorted(off.values())[len(off) // 2]
        side = "behind" if middle_ms > 0 else "ahead of"
        if committee.has_quorum([v.store_id for v in off]):
            self.wrong = f"its clock is {abs(middle_ms) // 1000} s {side} most voters' clocks"
        elif len(voters) == 2 and jumped is None:
            self.differing = f"The clocks of the two voters differ by {abs(middle_ms) // 1000} s."

    def _by_the_chain(self, now: Now) -> str | None:
        """What the chain says of the clock of a node that has no other voter to ask: it may have
        begun with a wrong one, from which it never jumped."""
        others = any(v.node_id != self.me for v in self.committee.electors)
        return None if others else self.chain.differs(now.wall_ms, now)

    def _anchor(self, now: Now) -> str | None:
        """Hold the time of this moment right; what is wrong if our wall clock jumped away from it
        and nobody says that it is right."""
        if self.most_ms(now) is not None:
            self.anchor = Anchor(now.mono_ms, self.time_ms(now))
            return None
        expected_ms = self._expected_ms(now)
        if _near(now.wall_ms, expected_ms):
            self.anchor = Anchor(now.mono_ms, self._alone_ms(now))
            return None
        assert self.anchor is not None
        confirmed = self.chain.confirms(now.wall_ms, now)
        if confirmed and self.chain.contradicts(expected_ms, now):
            # What we held right was wrong, or the boot clock stood still: a clock that was mended.
            self.anchor = Anchor(now.mono_ms, now.wall_ms)
            return None
        # The only voter has nobody to hand on to: it approaches what its clock shows.
        alone = len(self.committee.electors) <= 1 and not self.chain.contradicts(now.wall_ms, now)
        slews = alone or confirmed
        if slews != self.anchor.slews:
            self.anchor = Anchor(now.mono_ms, expected_ms, slews)
        if slews:
            return None
        ahead_ms = now.wall_ms - expected_ms
        where = "ahead" if ahead_ms > 0 else "back"
        return f"its clock jumped {abs(ahead_ms) // 1000} s {where}"


def _near(one_ms: int, other_ms: int) -> bool:
    """Whether two clocks differ by no more than a message's time may."""
    return abs(one_ms - other_ms) <= limits.CLOCK_SKEW_MAX_MS
