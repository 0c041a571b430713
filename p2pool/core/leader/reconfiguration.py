"""Which committee is to follow on this one: pure, and one step at a time.

Intuition: three voters survive the loss of one. Healthy members come in as learners, one that has
caught up becomes a voter, and a voter that was silent for a minute goes when there is somebody to
take its place, or when the committee survives more without it (two dead of five are two too many to
wait for). An even number of voters is a step on the way, never a goal: with two, each is one too
many to lose, so two for whom there is no third come back to one and its learner. Where one provider
holds a quorum and another one's member could have a seat, that one is promoted first and a seat of
the provider with the most is given up after it.

Invariants: a voter is (node id, peer key, store id), so a node with another disk is not the voter
that it was; no provider holds a quorum where there is a choice; nothing is removed that would cost
the quorum. Source: docs/design/consensus.md, "The committee"; thesis, 4.
"""

from collections.abc import Mapping, Sequence

import attrs

from p2pool.model import limits
from p2pool.model.ids import Address, NodeId
from p2pool.model.log.raft import Configuration, Voter, majority


@attrs.frozen
class Candidate:
    """A healthy eligible member that could serve on the committee."""

    voter: Voter
    provider: Address


@attrs.frozen
class Seat:
    """What the leader sees of a participant. `out`: it has to go, whoever else there is."""

    silent: bool = False
    caught_up: bool = False
    out: bool = False


@attrs.frozen
class Aims:
    """What is wanted: so many voters. `leaving`: the leader itself is to go, so it needs a
    transferee.
    `lone`: two voters have waited long enough for a third."""

    size: int
    leaving: bool = False
    lone: bool = False


def next_change(
    now_is: Configuration,
    me: Voter,
    seats: Mapping[Voter, Seat],
    candidates: Sequence[Candidate],
    aims: Aims,
    providers: Mapping[NodeId, Address],
) -> Configuration | None:
    """The next configuration on the way to what is wanted, or None where this one is to stay.

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
        spare = bool(free or ready) or _better_without(voters, seats)
        if voter == me or not (seat.out or renewed or (seat.silent and spare)):
            continue
        alive = sum(not seats.get(v, Seat()).silent for v in voters if v != voter)
        if len(voters) > 1 and alive >= majority(len(voters) - 1):
            return _without(now_is, voter)
    return _sized(now_is, me, (free, ready), aims, providers)


def _better_without(voters: Sequence[Voter], seats: Mapping[Voter, Seat]) -> bool:
    """Whether silent voters only raise the quorum: with two of them, or one of an even number."""
    silent = sum(seats.get(v, Seat()).silent for v in voters)
    return silent > 1 or (silent == 1 and len(voters) % 2 == 0)


def _sized(
    now_is: Configuration,
    me: Voter,
    choice: tuple[list[Voter], list[Voter]],
    aims: Aims,
    providers: Mapping[NodeId, Address],
) -> Configuration | None:
    """The step towards the number of voters that is wanted, or towards fairer seats."""
    voters, learners = now_is.voters, now_is.learners
    (free, ready), size = choice, aims.size
    seats_of = _Seats(voters, providers)
    if len(voters) > size:
        return _without(now_is, seats_of.first_to_go(me))
    room = len(learners) < limits.LEARNERS_MAX
    if len(voters) < size:
        transferee = aims.leaving and len(voters) == 1
        if ready and (len(voters) % 2 == 0 or len(ready) > 1 or transferee):
            return _promoted(now_is, seats_of.fairest(ready))
        if free and room and len(voters) + len(learners) < size:
            return _joined(now_is, _Seats(voters + learners, providers).fairest(free))
        if aims.lone and len(voters) == 2 and not learners and not aims.leaving:
            return _without(now_is, next(v for v in voters if v != me))
        return None
    # Enough of them: another provider's member takes a seat of one that holds too many.
    better = [v for v in ready if seats_of.betters(v, me)]
    if better:
        return _promoted(now_is, seats_of.fairest(better))
    better = [v for v in free if seats_of.betters(v, me)]
    waits = any(seats_of.betters(v, me) for v in learners)
    if better and room and not waits:
        return _joined(now_is, seats_of.fairest(better))
    # One that was to be a voter of a larger committee is not wanted any more.
    surplus = next((v for v in learners if not seats_of.betters(v, me)), None)
    return _without(now_is, surplus) if surplus is not None else None


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
        if len(self.group) < 2 or most < majority(len(self.group)):
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
