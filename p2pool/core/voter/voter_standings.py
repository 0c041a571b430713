"""The voters that this node reads as out of the pool, and what the other voters read of them.

Intuition: one endpoint can lie or get stuck, and then a leader would remove healthy voters, or
never notice that it is out itself. So that a voter is out is a claim, like any change that the
chain takes something by (`voter.chain_agreement` asks about it), with one difference: it stays a
claim for as long as the voter has its seat, also where this node goes by it already. What counted
before a restart, or while there was nobody to ask, takes no seat from anybody.

Invariants: a leader asks about every such voter, a follower about its leader; nobody else asks.
The committee's size bounds all claims.
Source: docs/design/consensus.md, "Removal on account of the chain".
"""

import attrs

from p2pool.core.chain_claims import Claim, Reading, claimed
from p2pool.core.context import Context
from p2pool.core.voter.claim_count import Count, count
from p2pool.model.ids import NodeId
from p2pool.model.log.raft import Voter
from p2pool.model.states import ChainStanding, RaftRole
from p2pool.model.timing import Now


@attrs.define
class VoterStandings:
    """A claim for each voter that our own endpoints read as out."""

    context: Context
    claims: dict[NodeId, Claim] = attrs.field(factory=dict)
    _judged: Reading | None = None

    def tick(self, now: Now) -> bool:
        """Open claims about voters that are newly out, or out for another reason, and close those
        about voters that are back; True if one was opened."""
        roster = self.context.roster
        voters = self.context.pool_log.configuration.electors
        out = [v.node_id for v in voters if roster.reads_out(v.node_id)]
        for node_id in tuple(self.claims):
            if node_id not in out:
                del self.claims[node_id]
        opened, changed = False, roster.reading is not self._judged
        self._judged = reading = roster.reading
        for node_id in out:
            known = self.claims.get(node_id)
            assert reading is not None
            if known is None or (changed and known.digest != reading.digest(node_id)):
                since_ms = known.since_ms if known is not None else now.mono_ms
                self.claims[node_id] = claimed(node_id, True, reading, reading.epoch, since_ms)
                opened = True
        return opened

    def asked(self) -> tuple[NodeId, ...]:
        """The voters that the others are asked about."""
        raft = self.context.pool_log.raft
        if not self.claims or raft is None:
            return ()
        if raft.state.leads:
            return tuple(self.claims)
        leader = raft.state.leader
        follows = raft.state.role is RaftRole.FOLLOWER and leader is not None
        return tuple(n for n in self.claims if follows and leader and n == leader.node_id)

    def out_since_ms(self, node_id: NodeId) -> int | None:
        """Since when we read a voter as out, on the monotonic clock."""
        claim = self.claims.get(node_id)
        return claim.since_ms if claim is not None else None

    def _count(self, node_id: NodeId, now: Now) -> Count | None:
        claim, context = self.claims.get(node_id), self.context
        if claim is None:
            return None
        committee = context.pool_log.configuration
        return count(committee, node_id, claim, context.me, now, alone=True)

    def agreeing(self, node_id: NodeId, now: Now) -> tuple[Voter, ...]:
        """The other voters that read it as out, including us; none unless we do."""
        told = self._count(node_id, now)
        if told is None:
            return ()
        return tuple(v for v in told.committee.electors if v.store_id in told.agree)

    def confirmed(self, node_id: NodeId, now: Now) -> bool:
        """Whether we and a majority of the other voters read that it is out."""
        told = self._count(node_id, now)
        return told is not None and told.confirmed

    def own_answer(self, node_id: NodeId, now: Now) -> ChainStanding | None:
        """What the voter in question read of itself; None until it answers."""
        claim = self.claims.get(node_id)
        if claim is None or node_id not in claim.words:
            return None
        word = claim.word(node_id, now)
        if word is None or word.agrees is None:
            return ChainStanding.UNKNOWN
        return ChainStanding.OUT if word.agrees else ChainStanding.IN
