"""The conductor: one participant of one log, driven by inputs, answering with what to do.

The driver awaits a step's `persist` before it sends or applies anything of it. `next_wakeup_ms`
says when to call `tick`. Each frame comes with its connection's authenticated peer key; a frame
whose sender is not the participant that it claims to be is dropped, and so is a frame of another
log. Entries of unknown kinds stay in the log and travel like any other.
"""

from random import Random

import attrs

from p2pool.codec.entries import encode_body, encode_configuration
from p2pool.core.raft import (
    committed_entries,
    confchange,
    election,
    read_index,
    replication,
    transfer,
)
from p2pool.core.raft import snapshot as snapshots
from p2pool.core.raft.acceptance import log_time
from p2pool.core.raft.state import (
    ConfigurationHash,
    EntryCheck,
    RaftState,
    Ready,
    SnapshotValidator,
    VoterClocks,
)
from p2pool.model import limits
from p2pool.model.errors import Malformed, NoLeader, Overloaded
from p2pool.model.ids import Digest, NodeId, PeerKey
from p2pool.model.log.configuration_steps import left
from p2pool.model.log.entries import Noop
from p2pool.model.log.raft import Configuration, Entry, HardState, Voter
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    SnapshotSent,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now, Timing
from p2pool.proofs.certificates import Opened

Frame = (
    VoteRequested
    | VoteAnswered
    | AppendRequested
    | AppendAnswered
    | SnapshotSent
    | SnapshotAnswered
    | TimeoutNow
)


@attrs.frozen
class RaftRestored:
    """What the disk held."""

    hard: HardState = attrs.field(factory=HardState)
    snapshot: bytes | None = None
    entries: tuple[Entry, ...] = ()


class Raft:
    """One participant of the log. Every method is one step and returns its `Ready`."""

    def __init__(
        self,
        me: Voter,
        log_id: Digest,
        timing: Timing,
        restored: RaftRestored,
        rng: Random,
        hash_of: ConfigurationHash,
        now: Now,
        snapshot_validator: SnapshotValidator = lambda snapshot: True,
        leads_to: SnapshotValidator = lambda snapshot: True,
        entry_check: EntryCheck = lambda entry, offer: None,
    ) -> None:
        """Restore a participant, at rest; nothing is committed beyond the snapshot yet.
        `snapshot_validator` judges each snapshot that a leader sends, `entry_check` each entry;
        `leads_to` says whether the entries held here lead to a snapshot."""
        s = RaftState(
            me=me,
            log_id=log_id,
            timing=timing,
            rng=rng,
            hash_of=hash_of,
            hard=restored.hard,
            snapshot_validator=snapshot_validator,
            leads_to=leads_to,
            entry_check=entry_check,
        )
        if restored.snapshot is not None:
            snapshots.load(s, restored.snapshot)
        s.log.restore(s.snapshot_index, s.snapshot_term, restored.entries)
        if s.log.last_term > s.hard.term:
            # Another store's promises, or an earlier version's: the log is all that we know.
            s.save_hard(s.log.last_term, None)
        snapshots.weigh(s)
        s.find_configuration()
        s.role, s.led_ms = s.resting_role(), now.mono_ms
        s.restart_election_timer(now)
        self.state = s

    def judge_dates_by(self, clocks: VoterClocks) -> None:
        """Date entries, and judge the dates of others', by these clocks."""
        self.state.clocks = clocks

    # --- what the driver asks -----------------------------------------------------------------

    @property
    def next_wakeup_ms(self) -> int | None:
        """When to call `tick` next; None if it would do nothing."""
        s = self.state
        if s.role is RaftRole.LEADER:
            given_up_ms = s.transfer.deadline_ms if s.transfer else s.append_due_ms
            return min(s.append_due_ms, s.quorum_check_ms, given_up_ms)
        if s.role is RaftRole.LEARNER:
            return s.leaderless_ms
        return s.election_deadline_ms if s.campaigns else None

    def found(self, now: Now) -> Ready:
        """Write the first configuration: we are the only voter (the root record names us)."""
        s = self.state
        assert s.log.last_index == 0, "only an empty log can be founded"
        kind, body = encode_configuration(Configuration((s.me,)))
        s.save_hard(1, s.me.store_id)
        at_ms = log_time.date_ms(s, now)
        s.append((Entry(index=1, term=1, kind=kind, proposed_at_ms=at_ms, body=body),))
        s.role = s.resting_role()
        return self._done()

    def tick(self, now: Now) -> Ready:
        """Do what is due: appends and the quorum check, or an election."""
        s = self.state
        if s.role is RaftRole.LEADER:
            transfer.give_up(s, now)
            self._leave_joint(now)
            replication.check_quorum(s, now)
        if s.role is RaftRole.LEADER:
            log_time.hand_on(s, now)
            if s.role is RaftRole.LEADER and now.mono_ms >= s.append_due_ms:
                replication.broadcast(s, now)
                transfer.push(s, again=True)
        election.leaderless_timeout(s, now)
        if s.campaigns and not s.leads and now.mono_ms >= s.election_deadline_ms:
            if election.defers_campaign(s, now):
                s.restart_election_timer(now)
            elif election.campaign(s, True, now):
                self._lead(now)
        return self._done()

    def force_campaign(self, now: Now) -> Ready:
        """Campaign although we hear a leader, as if it had asked: it must no longer lead, and does
        not know it. PreVote still comes first, so a campaign that cannot win disturbs nobody. Its
        appends do not end the campaign (`election.overrules`)."""
        s = self.state
        if s.may_campaign and s.role is RaftRole.FOLLOWER and election.campaign(s, True, now, True):
            self._lead(now)
        return self._done()

    def resign(self, now: Now) -> Ready:
        """Step down without a transferee: the others elect a leader."""
        s = self.state
        if s.leads:
            s.follow(s.hard.term, None, now)
            s.leader_heard_ms = None
        return self._done()

    def receive(
        self,
        frame: Frame,
        sender: PeerKey,
        now: Now,
        sealed: bytes = b"",
        *,
        shown: Opened = (),
        proven: bool = False,
    ) -> Ready:
        """Handle a frame from an authenticated peer, in the envelope `sealed`. `shown`: what a
        candidate shows, opened. `proven`: a majority is known to have made it the leader."""
        s = self.state
        known = frame.log_id == s.log_id and _speaker(frame).peer_key == sender
        if known and frame.term <= limits.LOG_NUMBER_MAX and (proven or _is_heeded(s, frame, now)):
            match frame:
                case VoteRequested():
                    election.requested(s, frame, now, shown)
                case VoteAnswered():
                    if election.answered(s, frame, now, sealed):
                        self._lead(now)
                case AppendRequested() | SnapshotSent() if election.overrules(s, frame.term, now):
                    pass  # It is sent again.
                case AppendRequested():
                    replication.requested(s, frame, now)
                case AppendAnswered():
                    replication.answered(s, frame, now)
                    self._settle(now)
                case SnapshotSent():
                    snapshots.requested(s, frame, now)
                case SnapshotAnswered():
                    replication.snapshot_answered(s, frame, now)
                    self._settle(now)
                case TimeoutNow():
                    self._campaign_at_once(frame, now, sealed)
        return self._done()

    def needs_proof(self, frame: AppendRequested | SnapshotSent | VoteRequested, now: Now) -> bool:
        """Whether a frame's speaker leads, or could, and we do not know it, or not in that term."""
        s = self.state
        if frame.log_id != s.log_id or frame.term < s.hard.term:
            return False
        if isinstance(frame, VoteRequested):
            return not election.knows(s, frame.candidate)
        known = election.follows(s, frame.leader, frame.term, now)
        return not known or election.is_far(s, frame.term)

    def proves(self, term: int, leader: Voter, votes: Opened) -> bool:
        """Whether sealed votes show that a majority elected a leader in a term."""
        return election.proves(self.state, self.state.log_id, term, leader, votes)

    def propose(
        self, kind: int, body: bytes, now: Now, *, hold: bool = False
    ) -> tuple[Ready, Entry]:
        """Append an entry as leader and return it. With `hold`, `flush` sends it, so that all
        proposals of one step travel in one frame.

        Raises `NoLeader` if we do not lead, `Malformed` if the body is too long, `Overloaded` if
        too much is uncommitted.
        """
        s = self.state
        if s.role is not RaftRole.LEADER:
            raise NoLeader("This node does not lead.")
        if s.transfer is not None:
            raise Overloaded("A leadership transfer is under way.", hint="Retry in a second.")
        if len(body) > limits.ENTRY_MAX_BYTES:
            raise Malformed(f"A log entry has at most {limits.ENTRY_MAX_BYTES} bytes.")
        if s.log.last_index - s.commit_index >= limits.PROPOSALS_IN_FLIGHT_MAX:
            raise Overloaded("Too many proposals are waiting for the committee.", hint="Retry.")
        # A single one always gets through, whatever its size.
        waiting = s.uncommitted_bytes
        if waiting and waiting + len(body) > limits.PROPOSALS_IN_FLIGHT_MAX_BYTES:
            raise Overloaded("Too many bytes are waiting for the committee.", hint="Retry.")
        entry = self._append(kind, body, now)
        replication.advance_commit(s)
        if not hold:
            replication.replicate(s)
        self._settle(now)
        return self._done(), entry

    def flush(self, tell: tuple[NodeId, ...]) -> Ready:
        """Send held entries; tell these participants the commit index at once.

        A reader waits at each of these; the others learn it with the next append, at no cost.
        """
        s = self.state
        if s.role is RaftRole.LEADER:
            replication.replicate(s)
            replication.tell_commit(s, tell)
        return self._done()

    def read(self, number: int, now: Now) -> Ready:
        """Ask for an index at which a read is consistent: `Ready.readable` or `Ready.unreadable`.

        It is readable once a majority has answered a round sent after it, unreadable once this
        leader steps down; without a majority it does so within two election timeouts.
        """
        s = self.state
        if s.role is not RaftRole.LEADER or len(s.reads) >= limits.READS_PENDING_MAX:
            s.out.unreadable.append(number)
            return self._done()
        if read_index.begin(s, number):
            replication.read_round(s)
        self._settle(now)
        return self._done()

    def transfer(self, to: Voter, now: Now) -> Ready:
        """Hand leadership to a voter; propose nothing until that succeeds or times out.

        Raises `NoLeader` if we do not lead, `Conflict` if `to` is no other voter or a transfer is
        under way.
        """
        s = self.state
        if s.role is not RaftRole.LEADER:
            raise NoLeader("This node does not lead.")
        transfer.transfer(s, to, now)
        replication.replicate(s)
        return self._done()

    def change(self, wanted: Configuration, now: Now) -> tuple[Ready, Entry]:
        """Propose another configuration: one voter more or less, learners, or a joint one, which
        the leader leaves by itself once it is committed.

        Raises `NoLeader` if we do not lead, and `Conflict` for a change that is not allowed, or not
        now (`confchange.check`).
        """
        s = self.state
        if not s.leads:
            raise NoLeader("This node does not lead.")
        confchange.check(s, wanted, now)
        entry = self._reconfigure(wanted, now)
        self._settle(now)
        return self._done(), entry

    def broadcast_commit(self, now: Now) -> Ready:
        """As leader, tell all participants the commit index at once, not with the next append."""
        if self.state.leads:
            replication.broadcast(self.state, now)
        return self._done()

    def own_vote(self, vote: VoteAnswered, sealed: bytes) -> None:
        """Our own vote, as we sealed it (`Ready.seal`)."""
        election.own_vote(self.state, vote, sealed)

    def followers(self) -> tuple[confchange.FollowerProgress, ...]:
        """All other participants as this leader sees them, voters first; empty if it is none."""
        return confchange.followers(self.state)

    def retime(self, timing: Timing) -> Ready:
        """Switch the timing profile; a deadline drawn under a faster one moves."""
        s = self.state
        slower_ms = timing.election_timeout_min_ms - s.timing.election_timeout_min_ms
        s.election_deadline_ms += max(0, slower_ms)
        s.timing = timing
        return self._done()

    def compact(self, state: bytes, index: int, certificate: tuple[bytes, ...] = ()) -> Ready:
        """Compact the log up to an applied index into the encoded state there; `certificate`: a
        quorum's signatures over it."""
        snapshots.make(self.state, state, index, certificate)
        return self._done()

    def adopt(self, entries: tuple[Entry, ...]) -> Ready:
        """Adopt committed entries, as a follower replica (`adopt`)."""
        committed_entries.adopt_entries(self.state, entries)
        return self._done()

    def adopt_snapshot(self, data: bytes) -> Ready:
        """Adopt a committed snapshot, as a follower replica; a bad one changes nothing."""
        committed_entries.adopt_snapshot(self.state, data)
        return self._done()

    def recommit(self, index: int) -> Ready:
        """After a restart: commit what was committed before it (`adopt`)."""
        committed_entries.recommit(self.state, index)
        return self._done()

    # --- inside -------------------------------------------------------------------------------

    def _lead(self, now: Now) -> None:
        """Lead: the first entry commits those before it (5.4.2)."""
        s = self.state
        kind, body = encode_body(Noop(s.me.node_id))
        self._append(kind, body, now)
        replication.advance_commit(s)
        replication.broadcast(s, now)
        self._settle(now)

    def _settle(self, now: Now) -> None:
        """Do what new answers, or a newly committed entry, make possible."""
        s = self.state
        if read_index.confirm(s):
            replication.read_round(s)
        transfer.push(s)
        self._leave_joint(now)
        replication.step_down_if_removed(s, now)

    def _leave_joint(self, now: Now) -> None:
        """Whoever leads ends a joint configuration: it is nobody's to keep."""
        if confchange.may_leave(self.state):
            self._reconfigure(left(self.state.configuration), now)

    def _reconfigure(self, wanted: Configuration, now: Now) -> Entry:
        s = self.state
        kind, body = encode_configuration(wanted)
        old = s.configuration
        entry = self._append(kind, body, now)
        replication.notify_removed(s, old, now)
        replication.advance_commit(s)
        replication.broadcast(s, now)
        return entry

    def _campaign_at_once(self, m: TimeoutNow, now: Now, sealed: bytes) -> None:
        """The leader of our term hands leadership to us (thesis, 3.10)."""
        s = self.state
        good = m.follower == s.me and m.term == s.hard.term and m.leader == s.leader
        if good and s.may_campaign and election.campaign(s, False, now, True, handover=sealed):
            self._lead(now)

    def _append(self, kind: int, body: bytes, now: Now) -> Entry:
        s = self.state
        entry = Entry(
            index=s.log.last_index + 1,
            term=s.hard.term,
            kind=kind,
            proposed_at_ms=log_time.date_ms(s, now),
            body=body,
        )
        s.append((entry,))
        return entry

    def _done(self) -> Ready:
        out, self.state.out = self.state.out, Ready()
        return out


def _is_heeded(s: RaftState, frame: Frame, now: Now) -> bool:
    """Whether a frame's sender may lead us, or tell us of a later term, without proof."""
    match frame:
        case AppendRequested() | SnapshotSent() if frame.term < s.hard.term:
            # A deposed leader that is not followed still hears so, and of our term.
            return not s.configuration.everybody or election.knows(s, frame.leader)
        case AppendRequested() | SnapshotSent():
            known = election.follows(s, frame.leader, frame.term, now)
            return known and election.reach(s, frame.term, now)
        case AppendAnswered() | SnapshotAnswered() if frame.term > s.hard.term:
            asked = frame.leader == s.me and election.knows(s, frame.follower)
            return asked and election.reach(s, frame.term, now)
        case _:
            return True  # Votes have rules of their own (`raft.election`).


def _speaker(frame: Frame) -> Voter:
    """The participant that a frame claims to be from."""
    match frame:
        case VoteRequested():
            return frame.candidate
        case VoteAnswered():
            return frame.voter
        case AppendRequested() | SnapshotSent() | TimeoutNow():
            return frame.leader
        case AppendAnswered() | SnapshotAnswered():
            return frame.follower
