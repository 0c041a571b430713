"""Which committee should follow this one: pure, and one step at a time.

Intuition: three voters survive the loss of one. Healthy members come in as learners, a caught-up
learner becomes a voter, and a voter that was silent for a minute goes once somebody can take its
place, or if the committee survives more without it (with two dead of five, waiting is too risky).
An even number of voters is a step on the way, never a goal: a pair survives no loss, so two voters
without a third go back to one and its learner. Where the pool's level has joint configurations, the
step is left out: one voter becomes three at once, and a voter that has to go stays until a learner
can take its seat, unless nobody is there to take it. If one provider holds a quorum and another's
member could have a seat, that member is promoted first, then the provider with the most seats loses
one.

Invariants: a voter is (node id, peer key, store id), so a node with another disk is another voter;
no provider holds a quorum if there is a choice; no removal costs the quorum; a joint change keeps a
majority of the voters; the choice among equals is drawn by lots that no member can foresee.
Source: docs/design/consensus.md, "The committee"; Raft, section 6; thesis, 4.
"""

from collections.abc import Mapping, Sequence

import attrs

from p2pool.codec.digests import digest
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
    """What the leader sees of a participant. `silent`: also a learner that takes too long to catch
    up. `out`: it has to go, replacement or not."""

    silent: bool = False
    caught_up: bool = False
    out: bool = False


@attrs.frozen
class Aims:
    """The goal: `size` voters. `leaving`: the leader itself should go, so it needs a transferee.
    `lone`: two voters have waited long enough for a third, or one of them is out. `joint`: the
    pool's level has joint configurations. `impatient`: a voter that is out has waited long enough
    for a replacement. `seed`: what the order of choice among equals is drawn from; by node id
    without one."""

    size: int
    leaving: bool = False
    lone: bool = False
    joint: bool = False
    impatient: bool = False
    seed: bytes | None = None


def next_change(
    now_is: Configuration,
    me: Voter,
    seats: Mapping[Voter, Seat],
    candidates: Sequence[Candidate],
    aims: Aims,
    providers: Mapping[NodeId, Address],
) -> Configuration | None:
    """The next configuration on the way to the goal, or None if this one should stay.

    `seats` covers all participants but the leader; `candidates` are sorted by node id.
    """
    voters, learners = now_is.voters, now_is.learners
    if now_is.is_joint:
        return None  # Raft leaves it by itself.
    taken = dict.fromkeys(v.node_id for v in (*voters, *learners))
    free = [c.voter for c in candidates if c.voter.node_id not in taken]
    providers = {**{c.voter.node_id: c.provider for c in candidates}, **providers}
    ready = [v for v in learners if seats.get(v, Seat()).caught_up]
    # A node that shows another store or key is another participant: the old one is gone.
    shown = {c.voter.node_id: c.voter for c in candidates}
    for learner in learners:
        seat = seats.get(learner, Seat())
        if seat.silent or seat.out or shown.get(learner.node_id, learner) != learner:
            return _without(now_is, learner)
    if aims.joint:
        # Of those that go, who does not answer goes first: the others still make a quorum.
        must = [v for v in voters if _must_go(v, me, seats, shown)]
        must.sort(key=lambda v: not seats.get(v, Seat()).silent)
        silent = [v for v in voters if seats.get(v, Seat()).silent and v != me and v not in must]
        if must or silent:
            return _relieved(now_is, (must, silent), seats, (free, ready), aims, providers)
        return _sized(now_is, me, (free, ready), aims, providers)
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


def _must_go(
    voter: Voter, me: Voter, seats: Mapping[Voter, Seat], shown: Mapping[NodeId, Voter]
) -> bool:
    """Whether a voter is out, or another by now, whoever is there to take its seat."""
    renewed = shown.get(voter.node_id, voter) != voter
    return voter != me and (seats.get(voter, Seat()).out or renewed)


def _relieved(
    now_is: Configuration,
    going: tuple[list[Voter], list[Voter]],
    seats: Mapping[Voter, Seat],
    choice: tuple[list[Voter], list[Voter]],
    aims: Aims,
    providers: Mapping[NodeId, Address],
) -> Configuration | None:
    """The step that relieves voters that have to go (one at a time) and silent ones (all)."""
    (must, silent), (free, ready) = going, choice
    voters, learners = now_is.voters, now_is.learners
    gone = [*must[:1], *silent][: (len(voters) - 1) // 2]
    if len(voters) % 2 == 0 or not gone:
        steps = (_alive(_without(now_is, v), seats) for v in (*must, *silent))
        return next((step for step in steps if step is not None), None)
    if len(voters) > aims.size:
        return _alive(_exchanged(now_is, gone[: len(voters) - aims.size], []), seats)
    if ready:
        order = _Seats([v for v in voters if v not in gone], providers, aims.seed)
        come = order.fairest_of(ready, len(gone))
        return _alive(_exchanged(now_is, gone[: len(come)], come), seats)
    if (learners or free) and not (must and aims.impatient):
        room = len(learners) < min(len(gone), limits.LEARNERS_MAX)
        seats_of = _Seats(voters + learners, providers, aims.seed)
        return _joined(now_is, seats_of.fairest(free)) if free and room else None
    if len(gone) > 1:
        return _alive(_exchanged(now_is, gone[: len(gone) // 2 * 2], []), seats)
    return _alive(_without(now_is, must[0]), seats) if must else None


def _alive(wanted: Configuration, seats: Mapping[Voter, Seat]) -> Configuration | None:
    """The same, if enough of its voters answer."""
    alive = [v.store_id for v in wanted.electors if not seats.get(v, Seat()).silent]
    return wanted if wanted.has_quorum(alive) else None


def _better_without(voters: Sequence[Voter], seats: Mapping[Voter, Seat]) -> bool:
    """Whether silent voters only raise the quorum: two of them, or one of an even number."""
    silent = sum(seats.get(v, Seat()).silent for v in voters)
    return silent > 1 or (silent == 1 and len(voters) % 2 == 0)


def _sized(
    now_is: Configuration,
    me: Voter,
    choice: tuple[list[Voter], list[Voter]],
    aims: Aims,
    providers: Mapping[NodeId, Address],
) -> Configuration | None:
    """The step towards the wanted number of voters, or towards fairer seats."""
    voters, learners = now_is.voters, now_is.learners
    (free, ready), size = choice, aims.size
    seats_of = _Seats(voters, providers, aims.seed)
    if len(voters) > size:
        if aims.joint and len(voters) > size + 1:
            return _exchanged(now_is, seats_of.two_to_go(me), [])
        return _without(now_is, seats_of.first_to_go(me))
    room = len(learners) < limits.LEARNERS_MAX
    if len(voters) < size:
        transferee = aims.leaving and len(voters) == 1
        if aims.joint and len(ready) > 1 and len(voters) % 2 and len(voters) + 2 <= size:
            return _exchanged(now_is, [], seats_of.fairest_of(ready, 2))
        if ready and (len(voters) % 2 == 0 or len(ready) > 1 or transferee):
            return _promoted(now_is, seats_of.fairest(ready))
        if free and room and len(voters) + len(learners) < size:
            return _joined(now_is, _Seats(voters + learners, providers, aims.seed).fairest(free))
        if aims.lone and len(voters) == 2 and not learners and not aims.leaving:
            return _without(now_is, next(v for v in voters if v != me))
        return None
    # Enough voters: another provider's member takes a seat from one that holds too many.
    better = [v for v in ready if seats_of.betters(v, me)]
    if better:
        if aims.joint and len(voters) > 2:
            return _exchanged(now_is, [seats_of.first_to_go(me)], [seats_of.fairest(better)])
        return _promoted(now_is, seats_of.fairest(better))
    better = [v for v in free if seats_of.betters(v, me)]
    waits = any(seats_of.betters(v, me) for v in learners)
    if better and room and not waits:
        return _joined(now_is, seats_of.fairest(better))
    # A learner meant for a larger committee is no longer needed.
    surplus = next((v for v in learners if not seats_of.betters(v, me)), None)
    return _without(now_is, surplus) if surplus is not None else None


class _Seats:
    """The seats of each provider in a group, and what would make them fairer."""

    def __init__(
        self,
        group: Sequence[Voter],
        providers: Mapping[NodeId, Address],
        seed: bytes | None,
    ) -> None:
        self.group, self.providers, self.seed = group, providers, seed

    def _lot(self, voter: Voter) -> tuple[bytes, Voter]:
        return digest(self.seed + voter.node_id) if self.seed is not None else b"", voter

    def held(self, group: Sequence[Voter], voter: Voter) -> int:
        """Seats of a voter's provider; of an unknown one, none."""
        provider = self.providers.get(voter.node_id)
        same = [v for v in group if self.providers.get(v.node_id) == provider]
        return len(same) if provider is not None else 0

    def fairest(self, choice: Sequence[Voter]) -> Voter:
        """The voter whose provider has the fewest seats; then by lot."""
        return min(choice, key=lambda v: (self.held(self.group, v), self._lot(v)))

    def fairest_of(self, choice: Sequence[Voter], most: int) -> list[Voter]:
        """So many of them, each the fairest with those before it."""
        found: list[Voter] = []
        while len(found) < min(most, len(choice)):
            seats = _Seats((*self.group, *found), self.providers, self.seed)
            found.append(seats.fairest([v for v in choice if v not in found]))
        return found

    def first_to_go(self, me: Voter) -> Voter:
        """The voter whose provider has the most seats; then by lot; never the leader."""
        others = (v for v in self.group if v != me)
        return max(others, key=lambda v: (self.held(self.group, v), self._lot(v)))

    def two_to_go(self, me: Voter) -> list[Voter]:
        """The first to go, and the next one."""
        first = self.first_to_go(me)
        rest = _Seats([v for v in self.group if v != first], self.providers, self.seed)
        return [first, rest.first_to_go(me)]

    def betters(self, new: Voter, me: Voter) -> bool:
        """Whether a provider holds a quorum now, and the most seats shrink with this voter in."""
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


def _exchanged(
    now_is: Configuration, gone: Sequence[Voter], come: Sequence[Voter]
) -> Configuration:
    """A joint configuration on the way to these voters; one step where one is enough."""
    voters = tuple(sorted((*(v for v in now_is.voters if v not in gone), *come)))
    learners = tuple(v for v in now_is.learners if v not in come)
    single = len(gone) + len(come) == 1
    return Configuration(voters, learners, () if single else now_is.voters)


def _promoted(now_is: Configuration, learner: Voter) -> Configuration:
    voters = tuple(sorted((*now_is.voters, learner)))
    return Configuration(voters, tuple(v for v in now_is.learners if v != learner))


def _joined(now_is: Configuration, new: Voter) -> Configuration:
    return Configuration(now_is.voters, tuple(sorted((*now_is.learners, new))))
