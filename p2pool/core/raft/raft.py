"""The conductor: one participant of one log, driven by inputs, answering with what to do.

The driver awaits `persist` of a step before it sends or applies anything of it. `next_wakeup_ms`
says when `tick` is wanted. Frames are given with the peer key that the connection was authenticated
as; one whose sender is not the participant that it claims to be is dropped, and so is one of
another log. Entries that this version does not know are kept and handed on like any other.
"""

from random import Random

import attrs

from p2pool.codec.messages import decode_body, decode_snapshot, encode_body, encode_snapshot
from p2pool.core.raft import adopt, election, reads, replication
from p2pool.core.raft.state import ConfigurationHash, Out, RaftState
from p2pool.model import limits
from p2pool.model.entries import Noop
from p2pool.model.errors import Conflict, Malformed, NoLeader, Overloaded
from p2pool.model.frames import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    SnapshotSent,
    TimeoutNow,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.ids import Digest, PeerKey
from p2pool.model.raft import Configuration, Entry, EntryKind, HardState, Snapshot, Voter
from p2pool.model.states import RaftRole
from p2pool.model.storage import CompactTo, SaveSnapshot, TruncateFrom
from p2pool.model.timing import Now, Timing

Frame = (
    VoteRequested | VoteAnswered | AppendRequested | AppendAnswered
    | SnapshotSent | SnapshotAnswered | TimeoutNow
)  # fmt: skip


@attrs.frozen
class RaftRestored:
    """What came back from the disk."""

    hard: HardState = attrs.field(factory=HardState)
    snapshot: bytes | None = None
    entries: tuple[Entry, ...] = ()


class Raft:
    """One participant of the log. Every method is one step and returns its `Out`."""

    def __init__(
        self,
        me: Voter,
        log_id: Digest,
        timing: Timing,
        restored: RaftRestored,
        rng: Random,
        hash_of: ConfigurationHash,
        now: Now,
    ) -> None:
        """Come back from the disk as one that rests; nothing is committed beyond the snapshot."""
        s = RaftState(me, log_id, timing, rng, hash_of, hard=restored.hard)
        if restored.snapshot is not None:
            _load(s, restored.snapshot)
        s.log.append(restored.entries)
        s.find_configuration()
        s.role = s.resting_role()
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
        return s.election_deadline_ms if s.is_voter else None

    def found(self, now: Now) -> Out:
        """Write the first configuration: we are the only voter (the root record names us)."""
        s = self.state
        assert s.log.last_index == 0, "an empty log is founded, no other"
        kind, body = encode_body(Configuration((s.me,)))
        s.save_hard(1, s.me.store_id)
        s.append((Entry(1, 1, kind, now.wall_ms, body),))
        s.last_proposed_at_ms = now.wall_ms
        s.role = s.resting_role()
        return self._done()

    def tick(self, now: Now) -> Out:
        """Do what is due: appends and the quorum check, or an election."""
        s = self.state
        if s.role is RaftRole.LEADER:
            reads.give_up(s, now)
            replication.check_quorum(s, now)
            if s.role is RaftRole.LEADER and now.mono_ms >= s.append_due_ms:
                replication.broadcast(s, now)
        elif (
            s.is_voter and now.mono_ms >= s.election_deadline_ms and election.campaign(s, True, now)
        ):
            self._lead(now)
        return self._done()

    def receive(self, frame: Frame, sender: PeerKey, now: Now) -> Out:
        """Take a frame that came from an authenticated peer."""
        s = self.state
        if frame.log_id == s.log_id and _speaker(frame).peer_key == sender:
            match frame:
                case VoteRequested():
                    election.requested(s, frame, now)
                case VoteAnswered():
                    if election.answered(s, frame, now):
                        self._lead(now)
                case AppendRequested():
                    replication.requested(s, frame, now)
                case AppendAnswered():
                    replication.answered(s, frame, now)
                    reads.confirm(s)
                    reads.push(s)
                case SnapshotSent():
                    self._take_snapshot(frame, now)
                case SnapshotAnswered():
                    replication.snapshot_answered(s, frame, now)
                case TimeoutNow():
                    self._campaign_at_once(frame, now)
        return self._done()

    def propose(self, kind: int, body: bytes, now: Now) -> tuple[Out, Entry]:
        """Append an entry as leader; the entry as it stands in the log.

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
        entry = self._append(kind, body, now)
        replication.advance_commit(s)
        replication.replicate(s, now)
        reads.confirm(s)
        return self._done(), entry

    def read(self, number: int, now: Now) -> Out:
        """Ask for an index at which a read is consistent: `Out.readable`, or `Out.unreadable`."""
        s = self.state
        if s.role is not RaftRole.LEADER or len(s.reads) >= limits.READS_PENDING_MAX:
            s.out.unreadable.append(number)
            return self._done()
        reads.begin(s, number)
        reads.confirm(s)
        if s.reads:
            replication.broadcast(s, now)
        return self._done()

    def transfer(self, to: Voter, now: Now) -> Out:
        """Hand leadership to a voter. Raises `NoLeader`, or `Conflict` for one that is none."""
        s = self.state
        if s.role is not RaftRole.LEADER:
            raise NoLeader("This node does not lead.")
        reads.transfer(s, to, now)
        replication.replicate(s, now)
        return self._done()

    def change(self, wanted: Configuration, now: Now) -> tuple[Out, Entry]:
        """Propose another configuration: one voter more or less, or learners.

        Raises `Conflict` while the last change, or an entry of our own term, is not committed
        (thesis, 4.1 and the correction of 2015), or when more than one voter would change.
        """
        s = self.state
        if s.role is not RaftRole.LEADER:
            raise NoLeader("This node does not lead.")
        if s.configuration_index > s.commit_index:
            raise Conflict("The last change of the committee is not committed yet.")
        if s.log.term_at(s.commit_index) != s.hard.term:
            raise Conflict("No entry of this term is committed yet.")
        old = s.configuration.voters
        moved = [v for v in old if v not in wanted.voters]
        moved += [v for v in wanted.voters if v not in old]
        if len(moved) > 1 or not wanted.voters:
            raise Conflict("The committee changes by one voter at a time.")
        kind, body = encode_body(wanted)
        entry = self._append(kind, body, now)
        known = {v.store_id for v in s.others()}
        s.progress = {k: p for k, p in s.progress.items() if k in known}
        replication.advance_commit(s)
        replication.broadcast(s, now)
        return self._done(), entry

    def compact(self, state: bytes, index: int) -> Out:
        """Let an encoded state at an applied index stand for the log up to it."""
        s = self.state
        term = s.log.term_at(index)
        assert term is not None, "only what is held and applied is compacted"
        assert index <= s.commit_index
        configuration = s.base_configuration
        for entry in s.log.between(s.log.base_index + 1, index):
            if entry.kind == EntryKind.CONFIGURATION:
                configuration = _configuration_of(entry)
        at_ms = s.log.at(index).proposed_at_ms if index > s.log.base_index else 0
        made = Snapshot(s.log_id, index, term, at_ms, configuration, state)
        s.snapshot, s.base_configuration = encode_snapshot(made), configuration
        s.log.compact(index, term)
        s.out.persist += [SaveSnapshot(s.snapshot), CompactTo(index)]
        for progress in s.progress.values():
            progress.snapshot_offset = None
        return self._done()

    def adopt(self, entries: tuple[Entry, ...]) -> Out:
        """Take committed entries as one that is no participant (`adopt`)."""
        adopt.adopt_entries(self.state, entries)
        return self._done()

    def adopt_snapshot(self, data: bytes) -> Out:
        """Take a committed snapshot as one that is no participant; a bad one changes nothing."""
        s = self.state
        snapshot = adopt.adopt_snapshot(s, data)
        if snapshot is not None:
            _load(s, data)
            s.find_configuration()
            s.role = s.resting_role()
            s.out.installed = snapshot.state
        return self._done()

    def recommit(self, index: int) -> Out:
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
        entry = Entry(s.log.last_index + 1, s.hard.term, kind, s.last_proposed_at_ms, body)
        s.append((entry,))
        return entry

    def _take_snapshot(self, m: SnapshotSent, now: Now) -> None:
        """A part of a snapshot; installed once it is whole (figure 13)."""
        s = self.state
        if m.follower != s.me or m.term < s.hard.term or m.total_bytes > limits.SNAPSHOT_MAX_BYTES:
            return
        s.follow(m.term, m.leader, now)
        received = m.total_bytes
        if m.last_index > s.commit_index:
            if m.offset == 0:
                s.receiving = bytearray()
            if m.offset == len(s.receiving):
                s.receiving += m.data
            received = len(s.receiving)
            if received >= m.total_bytes:
                self._install(bytes(s.receiving), m)
                s.receiving = bytearray()
        s.tell(
            m.leader,
            SnapshotAnswered(s.log_id, s.hard.term, m.leader, s.me, m.last_index, received),
        )

    def _install(self, data: bytes, m: SnapshotSent) -> None:
        s = self.state
        try:
            snapshot = decode_snapshot(data)
        except Malformed:
            return
        if (snapshot.log_id, snapshot.index, snapshot.term) != (
            s.log_id, m.last_index, m.last_term,
        ):  # fmt: skip
            return
        keeps = s.log.term_at(snapshot.index) == snapshot.term
        s.out.persist += [] if keeps else [TruncateFrom(s.log.base_index + 1)]
        s.out.persist += [SaveSnapshot(data), CompactTo(snapshot.index)]
        _load(s, data)
        s.find_configuration()
        s.role = s.resting_role()
        s.out.installed = snapshot.state

    def _done(self) -> Out:
        out, self.state.out = self.state.out, Out()
        return out


def _load(s: RaftState, data: bytes) -> None:
    snapshot = decode_snapshot(data)
    s.snapshot, s.base_configuration = data, snapshot.configuration
    s.last_proposed_at_ms = max(s.last_proposed_at_ms, snapshot.last_proposed_at_ms)
    s.log.compact(snapshot.index, snapshot.term)
    s.commit_index = max(s.commit_index, snapshot.index)


def _configuration_of(entry: Entry) -> Configuration:
    record = decode_body(entry.kind, entry.body)
    assert isinstance(record, Configuration)
    return record


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
