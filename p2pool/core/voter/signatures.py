"""A voter's signatures: over who leads, and over changes of the committee.

Intuition: nobody asks a voter to sign bytes. It signs what its own log says when it applies an
entry: at a leader's question (`Certify`), that this leader leads and what the state is there; at a
change of the voters, as a voter from before, who the next ones are. The message goes to the leader
like any other; a leader seals its own and gets it back (`Seal`).

Invariants: in one log and term a voter confirms only one leader, and writes that to disk before it
sends anything: a false leader cannot make an honest voter look like a liar. So is the commit index,
before a leader is confirmed or a change is signed: what it signed is never replaced here, restart
or not. It signs no time that its own clock disagrees with. If its state differs from the leader's,
its signature shows that, and the leader reports it; and every node compares its own digest at that
index with the certified one.
Source: docs/design/certificates.md, "Leader certificates".
"""

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.digests import committee_hash
from p2pool.codec.rows import put_record
from p2pool.core.context import Context
from p2pool.core.effects import Level, Persist, Seal
from p2pool.core.fsm.committee_chain import incomplete, open_link
from p2pool.core.log.certification_point import CertificationPoint
from p2pool.core.log.histories import Diverged
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Malformed
from p2pool.model.ids import Digest, NodeId, StateDigest
from p2pool.model.log.certificates import Link
from p2pool.model.log.raft import Voter
from p2pool.model.messages.certificates import CertificateSigned, ConfigurationSigned
from p2pool.model.timing import Now

META_TABLE = "meta"
CONFIRMED_KEY = b"certificate.confirmed"


@attrs.frozen
class Confirmed:
    """The leader that this voter confirmed last."""

    log_id: Digest
    term: int
    leader: Voter


class VoterSignatures:
    """One node's signatures as a voter."""

    def __init__(self, context: Context, kept: bytes | None) -> None:
        """`kept`: what the disk remembers under `CONFIRMED_KEY`."""
        self.context = context
        self.confirmed: Confirmed | None = None
        self.signed: tuple[int, int, NodeId | None] = (0, 0, None)
        self.warned: tuple[Voter, int] | None = None
        self.digests: BoundedDict[int, StateDigest] = BoundedDict(
            limits.CERTIFICATION_POINTS_KEPT_MAX
        )
        if kept is not None:
            try:
                self.confirmed = decode_struct(Confirmed, kept)
            except Malformed:
                self.confirmed = None

    # --- what the log says ------------------------------------------------------------------------

    def on_point(self, point: CertificationPoint, now: Now) -> None:
        """A leader's question was applied: sign it if we are to, and remember the state's digest
        there."""
        pool_log, me = self.context.pool_log, self.context.config.me
        current = point.term == pool_log.term and pool_log.raft is not None
        if current and me in point.voters and self._agrees(point, now):
            assert pool_log.log_id is not None
            word = CertificateSigned(
                log_id=pool_log.log_id,
                term=point.term,
                leader=point.asked.leader,
                voter=me,
                committee_hash=committee_hash(point.voters),
                commit_index=point.index,
                state_digest=point.state_digest,
                time_ms=point.asked.at_ms,
                history=point.history,
            )
            pool_log.keep_commit()
            self._say(point.asked.leader, word)
        self.digests[point.index] = point.state_digest

    def compare(self, now: Now) -> Diverged | None:
        """Compare the certified state with this node's own at that index, voter or not."""
        context, known = self.context, self.context.leader_certificates.known
        if known is None or known.log_id != context.pool_log.log_id:
            return None
        ours = self.digests.pop(known.commit_index, None)
        if ours is None:
            return None
        if ours == known.state_digest:
            context.leader_certificates.diverged = None
            return None
        context.log(
            Level.ERROR,
            "this node's state is not what the committee certifies",
            index=known.commit_index,
        )
        return Diverged(known.commit_index)

    def sign_changes(self, now: Now, *, asked: bool) -> None:
        """Sign the open change of the voters, once for each leader; if a leader just `asked`, all
        incomplete ones."""
        pool_log = self.context.pool_log
        for again in incomplete(pool_log.chain) if asked else ():
            self._sign_link(again, now)
        link = open_link(pool_log.chain)
        if link is not None:
            # Send it to each leader once here, and again whenever a leader asks.
            to = (link.index, pool_log.term, self._leader(now))
            if to != self.signed:
                self.signed = to
                if pool_log.leads:
                    pool_log.broadcast_commit(now)
                self._sign_link(link, now)
        self.context.leader_certificates.again(pool_log.chain, pool_log.log_id, now)

    def _agrees(self, point: CertificationPoint, now: Now) -> bool:
        """Whether this voter may confirm the leader of its own term."""
        raft, asked = self.context.pool_log.raft, point.asked
        assert raft is not None
        # Only a voter of the committee that we certify may lead it.
        if raft.state.leader != asked.leader or asked.leader not in point.voters:
            return False
        offset_ms = asked.at_ms - self.context.clocks.time_ms(now)
        if abs(offset_ms) > limits.CLOCK_SKEW_MAX_MS:
            self._say_differs(asked.leader, point.term, offset_ms, now)
            return False
        new = Confirmed(raft.state.log_id, point.term, asked.leader)
        old = self.confirmed
        if old is not None and (old.log_id, old.term) == (new.log_id, new.term) and old != new:
            self.context.log(
                Level.WARNING,
                "two members claim to lead in one term: refusing the second",
                first=old.leader.node_id.hex(),
                second=new.leader.node_id.hex(),
            )
            return False
        if old != new:
            self.confirmed = new
            kept = put_record(META_TABLE, CONFIRMED_KEY, new)
            self.context.effects.append(Persist((kept,)))
        return True

    def _say_differs(self, leader: Voter, term: int, offset_ms: int, now: Now) -> None:
        """Say once for each leader that we do not confirm it; an old question, which we apply only
        now, says nothing about its clock."""
        clocks = self.context.clocks
        measured_ms = clocks.offset_ms(leader.node_id, now)
        agrees = measured_ms is not None and abs(measured_ms) <= limits.CLOCK_SKEW_MAX_MS
        if agrees or self.warned == (leader, term):
            return
        self.warned = (leader, term)
        self.context.log(
            Level.WARNING,
            "the leader's clock differs from ours: not confirming it",
            leader=leader.node_id.hex(),
            offset_ms=offset_ms,
        )

    def _sign_link(self, link: Link, now: Now) -> None:
        """Sign a change of the voters, if we were a voter before it."""
        pool_log, me = self.context.pool_log, self.context.config.me
        chain = pool_log.chain
        before = chain.before(link)
        if me not in before or pool_log.log_id is None:
            return
        word = ConfigurationSigned(
            log_id=pool_log.log_id,
            index=link.index,
            term=link.term,
            previous_hash=committee_hash(before),
            new_hash=committee_hash(link.voters),
            voter=me,
        )
        pool_log.keep_commit()
        leader = self._leader(now)
        if leader == self.context.me:
            self.context.effects.append(Seal(word))
        elif leader is not None:
            self.context.send(leader, word)

    def _leader(self, now: Now) -> NodeId | None:
        """Where to send; a just removed voter still knows the leader from Raft."""
        return self.context.leader(now) or self.context.pool_log.leader

    def _say(self, leader: Voter, word: CertificateSigned) -> None:
        if leader == self.context.config.me:
            self.context.effects.append(Seal(word))
        else:
            self.context.tell(leader.peer_key, word)
