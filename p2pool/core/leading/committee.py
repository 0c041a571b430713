"""The committee kept whole: learners first, one change at a time, the dead replaced.

Intuition: three voters survive the loss of one. The leader takes in healthy members as learners,
makes a voter of one that has caught up, and removes a voter that was silent for a minute when there
is somebody to take its place (or when it left the pool for good). An even number of voters is a
step on the way, never a goal: with two, each is one too many to lose. Where one provider holds a
quorum and another one's member could have a seat, that one is promoted first and a seat of the
provider with the most is given up after it.

Invariants: a voter is (node id, peer key, store id), so a node with another disk is not the voter
that it was; no provider holds a quorum where there is a choice; a leader that is out of the pool
hands leadership on. Source: design, section 7; thesis, 4.
"""

from collections.abc import Mapping, Sequence

import attrs

from p2pool.core.context import Context
from p2pool.core.effects import Level
from p2pool.model import limits
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Address, NodeId
from p2pool.model.raft import Configuration, Voter
from p2pool.model.timing import Now


@attrs.frozen
class Candidate:
    """A healthy eligible member that could serve on the committee."""

    voter: Voter
    provider: Address


@attrs.frozen
class Seat:
    """What the leader sees of a participant: silent too long, caught up, finally out."""

    silent: bool = False
    caught_up: bool = False
    out: bool = False


def next_change(
    now_is: Configuration,
    me: Voter,
    seats: Mapping[Voter, Seat],
    candidates: Sequence[Candidate],
    size: int,
    providers: Mapping[NodeId, Address],
) -> Configuration | None:
    """The next configuration on the way to `size` voters, or None where this one is to stay.

    `seats` are of all participants but the leader; `candidates` are sorted by node id.
    """
    voters, learners = now_is.voters, now_is.learners
    taken = dict.fromkeys(v.node_id for v in (*voters, *learners))
    free = [c.voter for c in candidates if c.voter.node_id not in taken]
    providers = {**{c.voter.node_id: c.provider for c in candidates}, **providers}
    ready = [v for v in learners if seats.get(v, Seat()).caught_up]
    # A node that shows another store or key is not the participant that it was: that one is gone.
    shown = {c.voter.node_id: c.voter for c in candidates}
    for learner in learners:
        seat = seats.get(learner, Seat())
        if seat.silent or seat.out or shown.get(learner.node_id, learner) != learner:
            return _without(now_is, learner)
    for voter in voters:
        seat = seats.get(voter, Seat())
        renewed = shown.get(voter.node_id, voter) != voter
        if voter == me or not (seat.out or renewed or (seat.silent and (free or ready))):
            continue
        alive = sum(not seats.get(v, Seat()).silent for v in voters if v != voter)
        if len(voters) > 1 and alive >= (len(voters) - 1) // 2 + 1:
            return _without(now_is, voter)
    seats_of = _Seats(voters, providers)
    if len(voters) > size:
        return _without(now_is, seats_of.first_to_go(me))
    room = len(learners) < limits.LEARNERS_MAX
    if len(voters) < size:
        if ready and (len(voters) % 2 == 0 or len(ready) > 1):
            return _promoted(now_is, seats_of.fairest(ready))
        if free and room and len(voters) + len(learners) < size:
            return _joined(now_is, _Seats(voters + learners, providers).fairest(free))
        return None
    # Enough of them: another provider's member takes a seat of one that holds too many.
    better = [v for v in ready if seats_of.betters(v, me)]
    if better:
        return _promoted(now_is, seats_of.fairest(better))
    better = [v for v in free if seats_of.betters(v, me)]
    waits = any(seats_of.betters(v, me) for v in learners)
    if better and room and not waits:
        return _joined(now_is, seats_of.fairest(better))
    return None


class _Seats:
    """How many seats each provider holds of a group, and what would make that fairer."""

    def __init__(self, group: Sequence[Voter], providers: Mapping[NodeId, Address]) -> None:
        self.group, self.providers = group, providers

    def held(self, group: Sequence[Voter], voter: Voter) -> int:
        """Seats of a voter's provider; of an unknown one, none."""
        provider = self.providers.get(voter.node_id)
        same = [v for v in group if self.providers.get(v.node_id) == provider]
        return len(same) if provider is not None else 0

    def fairest(self, choice: Sequence[Voter]) -> Voter:
        """Whose provider has the fewest seats; then by node id."""
        return min(choice, key=lambda v: (self.held(self.group, v), v))

    def first_to_go(self, me: Voter) -> Voter:
        """Whose provider has the most seats; then by node id, from the last; never the leader."""
        return max((v for v in self.group if v != me), key=lambda v: (self.held(self.group, v), v))

    def betters(self, new: Voter, me: Voter) -> bool:
        """Whether a provider holds a quorum now, and fewer seats with this voter in another's."""
        most = max((self.held(self.group, v) for v in self.group), default=0)
        if len(self.group) < 2 or most < len(self.group) // 2 + 1:
            return False
        after = [v for v in self.group if v != self.first_to_go(me)] + [new]
        return max(self.held(after, v) for v in after) < most


def _without(now_is: Configuration, gone: Voter) -> Configuration:
    return Configuration(
        tuple(v for v in now_is.voters if v != gone),
        tuple(v for v in now_is.learners if v != gone),
    )


def _promoted(now_is: Configuration, learner: Voter) -> Configuration:
    voters = tuple(sorted((*now_is.voters, learner)))
    return Configuration(voters, tuple(v for v in now_is.learners if v != learner))


def _joined(now_is: Configuration, new: Voter) -> Configuration:
    return Configuration(now_is.voters, tuple(sorted((*now_is.learners, new))))


@attrs.define
class Committee:
    """The care of one leader for the committee."""

    context: Context
    since_ms: int
    due_ms: int = 0

    def tick(self, now: Now) -> None:
        """Propose the next change, where one is due and the last one is committed."""
        ledger = self.context.ledger
        if now.mono_ms < self.due_ms or ledger.raft is None:
            return
        self.due_ms = now.mono_ms + limits.COMMITTEE_INTERVAL_MS
        if self._hand_on(now):
            return
        members = {m.node_id: m.provider for m in self.context.roster.members()}
        wanted = next_change(
            ledger.configuration, ledger.me, self._seats(now), self._candidates(now),
            self._size(), members,
        )  # fmt: skip
        if wanted is None:
            return
        try:
            ledger.change(wanted, now)
        except P2poolError:
            return  # The last change is not committed yet, or we lead no more: come to it again.
        self.context.log(
            Level.INFO, "the committee changes",
            voters=len(wanted.voters), learners=len(wanted.learners),
        )  # fmt: skip

    def _size(self) -> int:
        state = self.context.ledger.state
        named = state.settings.get("committee") if state is not None else None
        return int(named) if named is not None else self.context.config.committee_size

    def _hand_on(self, now: Now) -> bool:
        """A leader that is finally out of the pool hands leadership to a voter that is not."""
        context, raft = self.context, self.context.ledger.raft
        assert raft is not None
        if not context.roster.out_finally(context.me) or raft.state.transfer is not None:
            return False
        return self.retire(now)

    def retire(self, now: Now) -> bool:
        """Hand leadership to a voter that holds what we hold; False where there is none."""
        context, raft = self.context, self.context.ledger.raft
        assert raft is not None
        if raft.state.transfer is not None:
            return False
        seats = self._seats(now)
        for voter in context.ledger.configuration.voters:
            seat = seats.get(voter)
            if seat is not None and seat.caught_up and not seat.out:
                context.ledger.transfer(voter, now)
                return True
        return False

    def _seats(self, now: Now) -> dict[Voter, Seat]:
        raft = self.context.ledger.raft
        assert raft is not None
        s = raft.state
        out: dict[Voter, Seat] = {}
        for voter in s.others():
            progress = s.progress.get(voter.store_id)
            heard_ms = progress.heard_ms if progress is not None else None
            silent_ms = now.mono_ms - max(self.since_ms, heard_ms or 0)
            match = progress.match_index if progress is not None else 0
            behind = s.log.last_index - match
            caught_up = bool(match) and behind <= limits.LEARNER_CAUGHT_UP_ENTRIES
            silent = silent_ms >= limits.VOTER_REPLACE_AFTER_MS
            left = self.context.roster.out_finally(voter.node_id)
            out[voter] = Seat(silent, caught_up and not silent, left)
        return out

    def _candidates(self, now: Now) -> list[Candidate]:
        """Eligible members that are connected and whose fresh heartbeat names their store."""
        context, found = self.context, []
        for peer_key, node_id in context.peers.connected_members():
            beat = context.beats.newest.get(node_id)
            member = context.roster.member(node_id)
            if beat is None or member is None or not context.roster.eligible(node_id):
                continue
            voter = Voter(node_id, peer_key, beat.heartbeat.store_id)
            found.append(Candidate(voter, member.provider))
        return sorted(found, key=lambda c: c.voter)
