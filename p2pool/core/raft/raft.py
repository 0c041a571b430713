"""The conductor: one participant of one log, driven by inputs, answering with what to do.

The driver awaits `persist` of a step before it sends or applies anything of it. `next_wakeup_ms`
says when `tick` is wanted. Frames are given with the peer key that the connection was authenticated
as; one whose sender is not the participant that it claims to be is dropped, and so is one of
another log. Entries that this version does not know are kept and handed on like any other.
"""

from random import Random

import attrs

from p2pool.codec.entries import encode_body
from p2pool.core.raft import adopt, confchange, election, read_index, replication, transfer
from p2pool.core.raft import snapshot as snapshots
from p2pool.core.raft.state import ConfigurationHash, RaftState, Ready, SnapshotValidator
from p2pool.model import limits
from p2pool.model.errors import Malformed, NoLeader, Overloaded
from p2pool.model.ids import Digest, NodeId, PeerKey
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
    """What came back from the disk."""

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
    ) -> None:
        """Come back from the disk as one that rests; nothing is committed beyond the snapshot.
        `snapshot_validator` judges each snapshot that a leader sends."""
        s = RaftState(
            me=me,
            log_id=log_id,
            timing=timing,
            rng=rng,
            hash_of=hash_of,
            hard=restored.hard,
            snapshot_validator=snapshot_validator,
        )
        if restored.snapshot is not None:
            snapshots.load(s, restored.snapshot)
        s.log.restore(s.snapshot_index, s.snapshot_term, restored.entries)
        snapshots.weigh(s)
        s.find_configuration()
        s.role, s.led_ms = s.resting_role(), now.mono_ms
        s.restart_election_timer(now)
        self.state = s

    # --- what the driver asks -----------------------------------------------------------------

    @property
    def next_wakeup_ms(self) -> int | None:
        """When `tick` is wanted next; None where nothing would come of it."""
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
        assert s.log.last_index == 0, "an empty log is founded, no other"
        kind, body = encode_body(Configuration((s.me,)))
        s.save_hard(1, s.me.store_id)
        s.append((Entry(index=1, term=1, kind=kind, proposed_at_ms=now.wall_ms, body=body),))
        s.last_proposed_at_ms = now.wall_ms
        s.role = s.resting_role()
        return self._done()

    def tick(self, now: Now) -> Ready:
        """Do what is due: appends and the quorum check, or an election."""
        s = self.state
        if s.role is RaftRole.LEADER:
            transfer.give_up(s, now)
            replication.check_quorum(s, now)
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
        """Campaign although a leader is heard, as by its own wish: it must not lead any more, and
        does not know it. PreVote still comes first, so who cannot win disturbs nobody."""
        s = self.state
        if s.is_voter and s.role is RaftRole.FOLLOWER and election.campaign(s, True, now, True):
            self._lead(now)
        return self._done()

    def resign(self, now: Now) -> Ready:
        """Lead no more, without a transferee: the others elect one."""
        s = self.state
        if s.leads:
            s.follow(s.hard.term, None, now)
            s.leader_heard_ms = None
        return self._done()

    def receive(self, frame: Frame, sender: PeerKey, now: Now, sealed: bytes = b"") -> Ready:
        """Take a frame that came from an authenticated peer, in the envelope `sealed`."""
        s = self.state
        speaker = _speaker(frame)
        if frame.log_id == s.log_id and speaker.peer_key == sender and _heeded(s, frame, now):
            match frame:
                case VoteRequested():
                    election.requested(s, frame, now)
                case VoteAnswered():
                    if election.answered(s, frame, now, sealed):
                        self._lead(now)
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
                    self._campaign_at_once(frame, now)
        return self._done()

    def propose(
        self, kind: int, body: bytes, now: Now, *, hold: bool = False
    ) -> tuple[Ready, Entry]:
        """Append an entry as leader; the entry as it stands in the log. With `hold` it is sent
        by `flush`, so that all that is proposed in one step travels in one frame.

        Raises `NoLeader` when we do not lead, `Malformed` when the body is too long, `Overloaded`
        when too much is not committed yet.
        """
        s = self.state
        if s.role is not RaftRole.LEADER:
            raise NoLeader("This node does not lead.")
        if s.transfer is not None:
            raise Overloaded("Leadership is being handed on.", hint="Retry in a second.")
        if len(body) > limits.ENTRY_MAX_BYTES:
            raise Malformed(f"A log entry has {limits.ENTRY_MAX_BYTES} bytes at most.")
        if s.log.last_index - s.commit_index >= limits.PROPOSALS_IN_FLIGHT_MAX:
            raise Overloaded("Too many proposals are waiting for the committee.", hint="Retry.")
        # A single one always gets through, however many bytes it has.
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
        """Send what was held; tell these participants at once how far the log is committed.

        The others learn that with the next append, which costs nothing; somebody waits at these.
        """
        s = self.state
        if s.role is RaftRole.LEADER:
            replication.replicate(s)
            replication.tell_commit(s, tell)
        return self._done()

    def read(self, number: int, now: Now) -> Ready:
        """Ask for an index at which a read is consistent: `Ready.readable` or `Ready.unreadable`.

        It is answered once a majority has answered a round that was sent after it, or dropped when
        this leader steps down, which one without a majority does within two election timeouts.
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
        """Hand leadership to a voter; nothing is proposed until that is done or given up.

        Raises `NoLeader` when we do not lead, `Conflict` for one that is no other voter or while
        leadership is being handed on already.
        """
        s = self.state
        if s.role is not RaftRole.LEADER:
            raise NoLeader("This node does not lead.")
        transfer.transfer(s, to, now)
        replication.replicate(s)
        return self._done()

    def change(self, wanted: Configuration, now: Now) -> tuple[Ready, Entry]:
        """Propose another configuration: one voter more or less, or learners.

        Raises `NoLeader` when we do not lead, and `Conflict` for a change that may not be made, or
        not now (`confchange.check` says which).
        """
        s = self.state
        if not s.leads:
            raise NoLeader("This node does not lead.")
        confchange.check(s, wanted, now)
        kind, body = encode_body(wanted)
        old = s.configuration
        entry = self._append(kind, body, now)
        replication.notify_removed(s, old, now)
        replication.advance_commit(s)
        replication.broadcast(s, now)
        self._settle(now)
        return self._done(), entry

    def broadcast_commit(self, now: Now) -> Ready:
        """Tell all at once how far the log is committed, as leader; else they learn it with the
        next append."""
        if self.state.leads:
            replication.broadcast(self.state, now)
        return self._done()

    def own_vote(self, vote: VoteAnswered, sealed: bytes) -> None:
        """Our own vote, as we sealed it (`Ready.seal`)."""
        election.own_vote(self.state, vote, sealed)

    def followers(self) -> tuple[confchange.FollowerProgress, ...]:
        """All other participants as this leader sees them, voters first; empty when it is none."""
        return confchange.followers(self.state)

    def retime(self, timing: Timing) -> Ready:
        """Another timing profile is in force: a deadline that was drawn by a faster one moves."""
        s = self.state
        slower_ms = timing.election_timeout_min_ms - s.timing.election_timeout_min_ms
        s.election_deadline_ms += max(0, slower_ms)
        s.timing = timing
        return self._done()

    def compact(self, state: bytes, index: int) -> Ready:
        """Let an encoded state at an applied index stand for the log up to it."""
        snapshots.make(self.state, state, index)
        return self._done()

    def adopt(self, entries: tuple[Entry, ...]) -> Ready:
        """Take committed entries as one that is no participant (`adopt`)."""
        adopt.adopt_entries(self.state, entries)
        return self._done()

    def adopt_snapshot(self, data: bytes) -> Ready:
        """Take a committed snapshot as one that is no participant; a bad one changes nothing."""
        adopt.adopt_snapshot(self.state, data)
        return self._done()

    def recommit(self, index: int) -> Ready:
        """After a restart: what was known to be committed before it (`adopt`)."""
        adopt.recommit(self.state, index)
        return self._done()

    # --- inside -------------------------------------------------------------------------------

    def _lead(self, now: Now) -> None:
        """A new leader's first entry commits what went before it (5.4.2)."""
        s = self.state
        kind, body = encode_body(Noop(s.me.node_id))
        self._append(kind, body, now)
        replication.advance_commit(s)
        replication.broadcast(s, now)
        self._settle(now)

    def _settle(self, now: Now) -> None:
        """What follows from newly heard answers, or from an entry that is committed now."""
        s = self.state
        if read_index.confirm(s):
            replication.read_round(s)
        transfer.push(s)
        replication.step_down_if_removed(s, now)

    def _campaign_at_once(self, m: TimeoutNow, now: Now) -> None:
        """The leader of our term hands leadership to us (thesis, 3.10)."""
        s = self.state
        good = m.follower == s.me and m.term == s.hard.term and m.leader == s.leader
        if good and s.is_voter and election.campaign(s, False, now, transfer=True):
            self._lead(now)

    def _append(self, kind: int, body: bytes, now: Now) -> Entry:
        s = self.state
        # The leader's clock made monotone is the only time that replicated state knows.
        last_ms = s.log.entries[-1].proposed_at_ms if s.log.entries else 0
        s.last_proposed_at_ms = max(now.wall_ms, s.last_proposed_at_ms, last_ms)
        entry = Entry(
            index=s.log.last_index + 1,
            term=s.hard.term,
            kind=kind,
            proposed_at_ms=s.last_proposed_at_ms,
            body=body,
        )
        s.append((entry,))
        return entry

    def _done(self) -> Ready:
        out, self.state.out = self.state.out, Ready()
        return out


def _heeded(s: RaftState, frame: Frame, now: Now) -> bool:
    """Whether a speaker has a say here: a participant as far as we know, or one that we sent to.

    One that we do not know may lead a committee newer than our log, so it is believed while no
    leader is heard; any other member of the pool deposes and replaces nobody by its word.
    """
    speaker, group = _speaker(frame), s.configuration.everybody
    if speaker in group or not group:
        return True
    match frame:
        case AppendAnswered() | SnapshotAnswered():
            return s.progress_of(speaker) is not None
        case AppendRequested() | SnapshotSent() | TimeoutNow():
            heard_ms, lasts_ms = s.leader_heard_ms, s.timing.election_timeout_max_ms
            led = s.leads or (heard_ms is not None and now.mono_ms - heard_ms < lasts_ms)
            return s.leader == speaker or not led
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
