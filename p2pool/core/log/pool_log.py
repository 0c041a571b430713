"""The pool's log as this node holds it, and the state that it gives.

Intuition: every node holds the same log by the same code. A participant (voter or learner) gets its
entries from the leader by Raft; any other fetches committed ones from its peers. Either way what is
committed is applied here, in order, once, and nowhere else.

Invariants: there is no log without a root record of finalized blocks; only a higher epoch replaces
it, or a later record of the same one; exactly the identity that the record names founds it, and
only when it begins it. The log of an earlier record is `previous_epoch` until the first of the new
one is here: it takes part in nothing, is shown as what was known last, and stays on the disk, so
that a record that nobody can found loses nothing. How far the log was known to be committed is
written along with whatever else is written, so that a restart does not begin with an old state.
Source: docs/design/consensus.md, "Epochs".
"""

from random import Random

import attrs

from p2pool.codec.cbor.structs import decode_struct, encode_struct
from p2pool.codec.digests import configuration_hash, log_id
from p2pool.codec.entries import decode_snapshot
from p2pool.core.fsm.apply import apply, apply_entry
from p2pool.core.fsm.committee_chain import open_link
from p2pool.core.fsm.state import NO_HISTORY, PoolState, from_bytes
from p2pool.core.log import epoch_recovery
from p2pool.core.log.certification_point import CertificationPoint, point_of
from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.core.log.snapshot_check import readable, state_in
from p2pool.core.raft.raft import Frame, Raft, RaftRestored
from p2pool.core.raft.state import RaftState, Ready
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, Malformed
from p2pool.model.ids import Digest, NodeId, PeerKey, PoolRef
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.raft import Configuration, Entry, EntryKind, HardState, Snapshot, Voter
from p2pool.model.messages.queries import SnapshotRequested, StateAnswered, StateRequested
from p2pool.model.messages.raft import AppendRequested, SnapshotSent
from p2pool.model.messages.registry import Message
from p2pool.model.ports.store import (
    AppendEntries,
    PersistOp,
    Put,
    RenewStore,
    ResetLog,
    Restored,
    SaveHardState,
    SaveSnapshot,
)
from p2pool.model.ports.view import Event
from p2pool.model.states import RaftRole
from p2pool.model.timing import TIMINGS, Now, Profile

META_TABLE = "meta"
ROOT_KEY = b"log.root"
COMMIT_KEY = b"log.commit"


@attrs.define
class PoolLog:
    """Log and state of one node. What steps want done is collected until it is taken.

    `beginnings`: how often it was begun, so that who follows it sees that it is another one.
    """

    me: Voter
    pool: PoolRef
    rng: Random
    profile: Profile = Profile.DEFAULT
    root: RootRecord | None = None
    root_block: int = 0
    raft: Raft | None = None
    previous_epoch: StoredLog | None = None
    doubted: bool = False
    refusal: str = ""
    state: PoolState | None = None
    beginnings: int = 0
    persist: list[PersistOp] = attrs.field(factory=list)
    deferred: list[PersistOp] = attrs.field(factory=list)
    send: list[tuple[PeerKey, Message]] = attrs.field(factory=list)
    seal: list[Message] = attrs.field(factory=list)
    applied: list[Entry] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    readable: list[tuple[int, int]] = attrs.field(factory=list)
    unreadable: list[int] = attrs.field(factory=list)
    points: list[CertificationPoint] = attrs.field(factory=list)
    refused: list[PeerKey] = attrs.field(factory=list)
    held: bool = False
    to_tell: dict[NodeId, None] = attrs.field(factory=dict)

    # --- what it says of itself -------------------------------------------------------------------

    @property
    def held_log(self) -> StoredLog | None:
        """The log that the disk holds: the previous one until the new one has begun."""
        if self.previous_epoch is not None:
            return self.previous_epoch
        if self.raft is None or self.root is None or self.raft.state.log.last_index == 0:
            return None
        assert self.state is not None
        return StoredLog(self.root, self.raft, self.state)

    @property
    def commit_index(self) -> int:
        """How far the log is known to be committed."""
        return self.raft.state.commit_index if self.raft is not None else 0

    @property
    def last_index(self) -> int:
        """Index of the last entry held, committed or not."""
        return self.raft.state.log.last_index if self.raft is not None else 0

    @property
    def applied_index(self) -> int:
        """How far it is applied."""
        return self.state.applied_index if self.state is not None else 0

    @property
    def term(self) -> int:
        """The term that this node is in."""
        # Of a log that has not begun here no term is kept, so none is told.
        begun = self.raft is not None and self.previous_epoch is None
        return self.raft.state.hard.term if self.raft is not None and begun else 0

    @property
    def epoch(self) -> int:
        """The epoch of the log, 0 without one."""
        return self.root.epoch if self.root is not None else 0

    @property
    def role(self) -> RaftRole:
        """Role in the log."""
        return self.raft.state.role if self.raft is not None else RaftRole.IDLE

    @property
    def leads(self) -> bool:
        """Whether this node leads and has applied an entry of its own term."""
        raft = self.raft
        if raft is None or raft.state.role is not RaftRole.LEADER or self.state is None:
            return False
        return self.state.applied_term == raft.state.hard.term

    @property
    def leader(self) -> NodeId | None:
        """The leader as Raft knows it; None for one that is no participant."""
        if self.raft is None or self.raft.state.leader is None:
            return None
        return self.raft.state.leader.node_id

    @property
    def chain(self) -> CommitteeChain:
        """The voters and their certificates as applied; before anything came, the founder."""
        state = self.state if self.previous_epoch is None else None
        if state is not None and state.chain.epoch == self.epoch != 0:
            return state.chain
        root = self.root
        if root is None:
            return CommitteeChain()
        return CommitteeChain(root.epoch, (Voter(root.founder, root.peer_key, root.store_id),))

    @property
    def log_id(self) -> Digest | None:
        """The log's name, None without one."""
        return self.raft.state.log_id if self.raft is not None else None

    @property
    def configuration(self) -> Configuration:
        """The committee in force."""
        return self.raft.state.configuration if self.raft is not None else Configuration(())

    # --- life of a log ----------------------------------------------------------------------------

    def restore(self, restored: Restored, now: Now) -> None:
        """Take up the log that the disk holds, up to where it was known to be committed."""
        meta = restored.tables[META_TABLE]
        if restored.log_id is None or ROOT_KEY not in meta:
            return
        self.root = decode_struct(RootRecord, meta[ROOT_KEY])
        kept = RaftRestored(restored.hard_state, restored.snapshot, restored.entries)
        self.begin(kept, now)
        assert self.raft is not None
        if self.raft.state.log_id != restored.log_id:
            raise AssertionError("the store holds a log of another root record")
        self.state = PoolState(self.pool, self.root.epoch)
        snapshot = self.raft.state.snapshot
        if snapshot is not None:
            self.state = from_bytes(decode_snapshot(snapshot).state)
            self._keep_time()
        self.absorb(self.raft.recommit(int.from_bytes(meta.get(COMMIT_KEY, b""), "big")))
        self.points.clear()  # What was asked before the restart was answered, or is asked anew.

    def follow_root(self, root: RootRecord | None, now: Now, block: int = 0) -> bool:
        """Follow a root record of a final block, of a higher epoch than ours or a later one of the
        same; True when it is another than before. Where it names us we found its log, or say in
        `refusal` why not."""
        if root is None or not self._replaces(root, block):
            return False
        self.previous_epoch = self.held_log
        self.root, self.root_block, self.refusal, self.deferred = root, block, "", []
        self.profile = Profile.DEFAULT
        if root.founder == self.me.node_id:
            self.refusal = epoch_recovery.refusal(self.me, root, self.previous_epoch)
        name = log_id(self.pool, root)
        if root.founder == self.me.node_id and not self.refusal and self.previous_epoch is not None:
            self._refound(root, name, self.previous_epoch, now)
            return True
        if self.previous_epoch is None:
            self.persist += self.opening(root, name)
            self.state = PoolState(self.pool, root.epoch)
        self.begin(RaftRestored(), now)
        assert self.raft is not None
        if root.founder == self.me.node_id and not self.refusal:
            self.absorb(self.raft.found(now))
        return True

    def _replaces(self, root: RootRecord, block: int) -> bool:
        """The chain orders the records: a later one of one epoch stands in the place of the first.
        Endpoints may be behind each other, so an earlier block does not bring the first back."""
        ours = self.root
        if ours is None or root.epoch > ours.epoch:
            return True
        return root.epoch == ours.epoch and root != ours and block > self.root_block

    def opening(self, root: RootRecord, name: Digest) -> list[PersistOp]:
        """What begins a log on the disk; whatever log was there is gone."""
        kept = Put(META_TABLE, ROOT_KEY, encode_struct(root))
        return [ResetLog(name), kept, Put(META_TABLE, COMMIT_KEY, b"")]

    def _refound(self, root: RootRecord, name: Digest, held: StoredLog, now: Now) -> None:
        """Found the log of a recovery: its base is the state of the log that we hold."""
        kept = epoch_recovery.base(self.me, root, name, held, now)
        assert kept.snapshot is not None
        self.persist += self.opening(root, name)
        self.persist += [SaveHardState(name, kept.hard), SaveSnapshot(kept.snapshot)]
        self.previous_epoch = None
        self.state = from_bytes(decode_snapshot(kept.snapshot).state)
        self.begin(kept, now)
        self._keep_time()

    def begin(self, kept: RaftRestored, now: Now) -> None:
        """Take part in the log of the root record with what is kept of it."""
        assert self.root is not None
        name = log_id(self.pool, self.root)
        rng = Random(self.rng.randrange(2**32))
        timing = TIMINGS[self.profile]
        self.raft = Raft(self.me, name, timing, kept, rng, configuration_hash, now, self._is_valid)
        self.beginnings += 1

    # --- steps ------------------------------------------------------------------------------------

    def receive(self, frame: Frame, sender: PeerKey, now: Now, sealed: bytes = b"") -> None:
        """A frame of Raft's, in the envelope that it came in (votes are kept in theirs)."""
        begins = isinstance(frame, (AppendRequested, SnapshotSent))
        if self.previous_epoch is not None and not begins:
            return  # Nothing of the new log is here: there is nothing to vote on, or to lead.
        if self.raft is not None and not self.doubted:
            self.absorb(self.raft.receive(frame, sender, now, sealed))

    def wakeup_ms(self) -> int | None:
        """When `tick` is wanted next; nothing is due of a log whose disk is in doubt."""
        return self.raft.next_wakeup_ms if self.raft is not None and not self.doubted else None

    def tick(self, now: Now) -> None:
        """Elections and appends that are due."""
        due_ms = self.wakeup_ms()
        if self.raft is not None and due_ms is not None and now.mono_ms >= due_ms:
            self.absorb(self.raft.tick(now))

    def take_part(self, now: Now) -> None:
        """The disk is found to be what it was (`voter.store_check`): vote and acknowledge by it."""
        self.doubted = False
        if self.raft is not None:
            self.raft.state.restart_election_timer(now)

    def renew(self, me: Voter, now: Now) -> None:
        """Be another participant, which never promised anything and holds the same entries."""
        assert self.raft is not None
        s = self.raft.state
        self.me = me
        self.persist += [RenewStore(me.store_id)]
        if self.previous_epoch is None:
            self.persist.append(SaveHardState(s.log_id, HardState()))
        kept = RaftRestored(HardState(), s.snapshot, tuple(s.log.entries))
        committed = s.commit_index
        self.send, self.seal = [], []
        self.begin(kept, now)
        self.absorb(self.raft.recommit(committed))

    def rest(self) -> None:
        """Lead and campaign no more, and say nothing of what was under way."""
        self.persist, self.send, self.seal, self.doubted = [], [], [], True
        if self.raft is not None:
            s = self.raft.state
            s.role, s.leader = s.resting_role(), None

    def propose(self, kind: int, body: bytes, now: Now) -> Entry:
        """Propose an entry as leader, sent by `flush`; raises what `Raft.propose` raises."""
        assert self.raft is not None
        out, entry = self.raft.propose(kind, body, now, hold=True)
        self.held = True
        self.absorb(out)
        return entry

    def tell(self, node_id: NodeId) -> None:
        """Somebody waits at a node for what is committed now: `flush` lets it know."""
        self.to_tell[node_id] = None

    def flush(self) -> None:
        """At the end of a step: send what was proposed in it, in as few frames as can be."""
        if self.raft is not None and (self.held or self.to_tell):
            self.absorb(self.raft.flush(tuple(self.to_tell)))
        self.held, self.to_tell = False, {}

    def change(self, wanted: Configuration, now: Now) -> Entry:
        """Propose a configuration as leader; raises what `Raft.change` raises, and `Conflict` for
        other voters while the last change of them is not certified."""
        assert self.raft is not None
        waits = open_link(self.chain)
        if waits is not None and wanted.voters != self.configuration.voters:
            raise Conflict(
                f"The committee's change at {waits.index} is not certified yet.", hint="Retry."
            )
        out, entry = self.raft.change(wanted, now)
        self.absorb(out)
        return entry

    def transfer(self, to: Voter, now: Now) -> None:
        """Hand leadership to a voter; raises what `Raft.transfer` raises."""
        assert self.raft is not None
        self.absorb(self.raft.transfer(to, now))

    def force_campaign(self, now: Now) -> None:
        """Campaign although a leader is heard (`Raft.force_campaign`)."""
        assert self.raft is not None
        self.absorb(self.raft.force_campaign(now))

    def resign(self, now: Now) -> None:
        """Lead no more, without a transferee."""
        assert self.raft is not None
        self.absorb(self.raft.resign(now))

    def broadcast_commit(self, now: Now) -> None:
        """As leader, have all apply at once what is committed."""
        if self.raft is not None:
            self.absorb(self.raft.broadcast_commit(now))

    def read(self, request: int, now: Now) -> None:
        """Ask for an index at which a read is consistent; told in `readable` or `unreadable`."""
        assert self.raft is not None
        self.absorb(self.raft.read(request, now))

    # --- for a node that is no participant --------------------------------------------------------

    @property
    def fetches(self) -> bool:
        """Whether this node takes committed entries from its peers, being no participant."""
        return self.raft is not None and self.raft.state.role is RaftRole.IDLE

    @property
    def history(self) -> Digest:
        """The hash over all entries that are applied here; nothing is of a log not begun."""
        begun = self.state if self.previous_epoch is None else None
        return begun.history if begun is not None else NO_HISTORY

    def adopt(self, entries: tuple[Entry, ...]) -> None:
        """Take committed entries that somebody vouches for."""
        assert self.raft is not None
        self.absorb(self.raft.adopt(entries))

    def adopt_snapshot(self, data: bytes, giver: PeerKey) -> bool:
        """Take a committed snapshot; False where there is no state in it: a mistake or a lie, which
        on the disk would end this agent at each start."""
        assert self.raft is not None
        if not readable(data, self.pool, self.epoch):
            self.refused.append(giver)
            return False
        self.absorb(self.raft.adopt_snapshot(data))
        return True

    def discard(self, now: Now) -> bool:
        """Begin the same log anew with nothing in it; False for a participant, and for one that
        holds nothing of it yet."""
        raft, root = self.raft, self.root
        if not self.fetches or raft is None or root is None or self.previous_epoch is not None:
            return False
        name, hard = raft.state.log_id, raft.state.hard
        self.persist += [*self.opening(root, name), SaveHardState(name, hard)]
        self.state = PoolState(self.pool, root.epoch)
        self.begin(RaftRestored(hard), now)
        return True

    def answer(self, asked: StateRequested | SnapshotRequested) -> StateAnswered | None:
        """What we hold of the log that a peer asks for; None when it is not ours."""
        return answer_of(self.raft.state, asked) if self.raft is not None else None

    # --- inside -----------------------------------------------------------------------------------

    def _is_valid(self, snapshot: Snapshot) -> bool:
        return state_in(snapshot, self.pool, self.epoch) is not None

    def absorb(self, out: Ready) -> None:
        """Keep what a step wants done, and apply what it committed."""
        if self.previous_epoch is None:
            self.persist += out.persist
        else:
            self._leave_previous_epoch(out)
        self.send += out.send
        self.seal += out.seal
        self.readable += out.readable
        self.unreadable += out.unreadable
        self.refused += [voter.peer_key for voter in out.refused]
        if out.installed is not None:
            self.state = from_bytes(out.installed)
            self._keep_time()
        for entry in out.committed:
            self._apply(entry)
        self._compact()

    def _leave_previous_epoch(self, out: Ready) -> None:
        """Give the previous log up for the first of the new one; a term alone is no reason to."""
        self.deferred += out.persist
        begun = any(isinstance(o, AppendEntries) for o in out.persist)
        if not begun and out.installed is None:
            return
        assert self.root is not None
        assert self.raft is not None
        self.persist += [*self.opening(self.root, self.raft.state.log_id), *self.deferred]
        self.previous_epoch, self.deferred = None, []
        self.state = PoolState(self.pool, self.root.epoch)

    def _apply(self, entry: Entry) -> None:
        assert self.state is not None
        if entry.index <= self.state.applied_index:
            return
        try:
            events = apply_entry(self.state, entry)
        except Malformed:
            # Committed in a form that this version cannot read: nothing, on every replica alike.
            events = apply(self.state, entry, None)
        if entry.kind == EntryKind.CERTIFY:
            self.points += point_of(entry, self.state, self.chain)
        self.applied.append(entry)
        self.events += events
        self._keep_time()

    def _keep_time(self) -> None:
        """The committee's timing is a setting of the log."""
        assert self.state is not None
        name = self.state.settings.get("timing", "").upper()
        if name in Profile.__members__ and self.profile is not Profile[name]:
            self.profile = Profile[name]
            if self.raft is not None:
                self.raft.retime(TIMINGS[self.profile])

    def _compact(self) -> None:
        raft, state = self.raft, self.state
        if raft is None or state is None:
            return
        s = raft.state
        held = state.applied_index - s.snapshot_index
        heavy = s.grown_bytes - s.uncommitted_bytes >= limits.SNAPSHOT_AFTER_BYTES
        if held >= limits.SNAPSHOT_AFTER_ENTRIES or (held and heavy):
            out = raft.compact(state.to_bytes(), state.applied_index)
            self.persist += out.persist

    def take_persist(self) -> list[PersistOp]:
        """What is to be made durable; how far the log is committed goes along."""
        taken, self.persist = self.persist, []
        if taken and self.raft is not None:
            raft = self.previous_epoch.raft if self.previous_epoch is not None else self.raft
            index = raft.state.commit_index
            taken.append(Put(META_TABLE, COMMIT_KEY, index.to_bytes(8, "big")))
        return taken


def answer_of(s: RaftState, asked: StateRequested | SnapshotRequested) -> StateAnswered | None:
    """What is held of the log that a peer asks for; None when it is another."""
    if asked.log_id != s.log_id:
        return None
    if isinstance(asked, StateRequested) and asked.from_index >= s.log.base_index:
        entries: tuple[Entry, ...] = ()
        if asked.from_index < s.commit_index:
            held = s.log.after(asked.from_index)
            entries = tuple(e for e in held if e.index <= s.commit_index)
        return StateAnswered(
            request=asked.request,
            log_id=s.log_id,
            commit_index=s.commit_index,
            entries=entries,
            snapshot_total_bytes=0,
            snapshot_offset=0,
            snapshot=b"",
        )
    offset = 0 if isinstance(asked, StateRequested) else asked.offset
    whole = s.snapshot or b""
    part = whole[offset : offset + limits.SNAPSHOT_CHUNK_BYTES]
    return StateAnswered(
        request=asked.request,
        log_id=s.log_id,
        commit_index=s.commit_index,
        entries=(),
        snapshot_total_bytes=len(whole),
        snapshot_offset=offset,
        snapshot=part,
    )
