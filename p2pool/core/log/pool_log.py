"""The pool's log as this node holds it, and the state that results.

Intuition: every node holds the same log by the same code. A participant (voter or learner) gets its
entries from the leader by Raft; any other node fetches committed ones from its peers. Either way
committed entries are applied here, in order, once, and nowhere else.

Invariants: no log without a root record in finalized blocks; only a higher epoch, or a later record
of the same one, replaces it; exactly the identity that the record names founds it, and only while
it is empty. The log of an earlier record is `previous_epoch` until the first entries of the new one
are here: it is inert, shows the last known state, and stays on the disk, so a record that nobody
can found loses nothing. Every write includes the commit index, so a restart does not begin with an
old state.
Source: docs/design/consensus.md, "Epochs".
"""

from random import Random

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.digests import configuration_hash, log_id
from p2pool.codec.entries import decode_snapshot
from p2pool.codec.rows import put_record
from p2pool.core.fsm import entry_check
from p2pool.core.fsm.apply import apply, apply_entry
from p2pool.core.fsm.committee_chain import gives_up_early, open_link, unsigned
from p2pool.core.fsm.state import NO_HISTORY, PoolState, history_after
from p2pool.core.fsm.storage.rows import (
    decode_state,
    digest_in,
    digest_of,
    encode_state,
    history_in,
)
from p2pool.core.log import epoch_recovery
from p2pool.core.log.certification_point import CertificationPoint, point_of
from p2pool.core.log.epoch_recovery import StoredLog
from p2pool.core.log.event_window import SPAN_KEY, EventWindow
from p2pool.core.log.histories import Histories
from p2pool.core.log.kept_certificate import (
    CertifiedState,
    certificate_row,
    give_certificate,
    restore_certificate,
)
from p2pool.core.log.level_check import level_beyond, readable_state
from p2pool.core.log.request_check import NoRoster, NoVerdicts, RequestCheck, Rights, Verdicts
from p2pool.core.log.snapshot_check import readable, state_in, without_seat
from p2pool.core.raft.acceptance.append_check import (
    awaits_word,
    configuration_before,
    waits_for_histories,
)
from p2pool.core.raft.raft import Frame, Raft, RaftRestored
from p2pool.core.raft.state import (
    EntryRefusal,
    Offer,
    OwnClock,
    RaftState,
    Ready,
    VoterClocks,
)
from p2pool.model import features, limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Conflict, Malformed, TooOld
from p2pool.model.features import DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import Digest, NodeId, PeerKey, PoolRef, StateDigest
from p2pool.model.log.certificates import CommitteeChain
from p2pool.model.log.entries import Adopted, ChangeCertified, LevelRaised, RequestApplied
from p2pool.model.log.raft import Configuration, Entry, EntryKind, HardState, Snapshot, Voter
from p2pool.model.messages.queries import SnapshotRequested, StateAnswered, StateRequested
from p2pool.model.messages.raft import AppendRequested, SnapshotSent
from p2pool.model.messages.registry import Message
from p2pool.model.ports.store import (
    EVENTS_TABLE,
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
from p2pool.proofs.append_proof import Recover
from p2pool.proofs.certificates import Opened, Opener

META_TABLE = "meta"
ROOT_KEY = b"log.root"
COMMIT_KEY = b"log.commit"


@attrs.define
class PoolLog:
    """Log and state of one node. Steps collect here what they want done until somebody takes it.

    `beginnings`: how often it was begun, so that its followers notice a new one.
    `resumed`: it is one that this node had left for a record that was never there.
    `newest_level`: the highest feature level that this program knows; `too_old`: why it cannot go
    on with this log; `newer_snapshot`: why it cannot read a peer's snapshot. `opens`: opens the
    sealed messages in entries, if given; `recovers`: who signed the requests in them, if given;
    `rights`: who may; `verdicts`: what the chain says of contract accounts. `raised_index`: from
    there on entries are of a level whose followers ask for all that, though the level may not be
    applied here yet. `certified`: what a quorum certified of states, by index; `histories`: ours,
    and those that a quorum signed; `candidate`: our state at the last question, for a snapshot;
    `unkept`: why no snapshot can be made.
    `keeps_commit`: the commit index goes to the disk with this step, whatever else does.
    `certificate_kept`: what is on the disk of the snapshot's certificate. `window`: the latest
    events; `events` has those of this step.
    """

    me: Voter
    pool: PoolRef
    rng: Random
    newest_level: FeatureLevel = attrs.field(factory=features.newest)
    opens: Opener | None = None
    recovers: Recover | None = None
    rights: Rights = attrs.field(factory=NoRoster)
    clocks: VoterClocks = attrs.field(factory=OwnClock)
    verdicts: Verdicts = attrs.field(factory=NoVerdicts)
    profile: Profile = Profile.DEFAULT
    root: RootRecord | None = None
    root_block: int = 0
    raft: Raft | None = None
    previous_epoch: StoredLog | None = None
    resumed: bool = False
    doubted: bool = False
    refusal: str = ""
    too_old: TooOld | None = None
    newer_snapshot: str | None = None
    state: PoolState | None = None
    beginnings: int = 0
    persist: list[PersistOp] = attrs.field(factory=list)
    deferred: list[PersistOp] = attrs.field(factory=list)
    send: list[tuple[PeerKey, Message]] = attrs.field(factory=list)
    seal: list[Message] = attrs.field(factory=list)
    applied: list[Entry] = attrs.field(factory=list)
    events: list[Event] = attrs.field(factory=list)
    window: EventWindow = attrs.field(factory=EventWindow)
    request_check: RequestCheck = attrs.field(
        default=attrs.Factory(
            lambda self: RequestCheck(
                pool=self.pool,
                recovers=self.recovers,
                rights=self.rights,
                clocks=self.clocks,
                verdicts=self.verdicts,
            ),
            takes_self=True,
        )
    )
    raised_index: int | None = None
    readable: list[tuple[int, int]] = attrs.field(factory=list)
    unreadable: list[int] = attrs.field(factory=list)
    points: list[CertificationPoint] = attrs.field(factory=list)
    refused: list[PeerKey] = attrs.field(factory=list)
    entries_refused: list[tuple[PeerKey, str]] = attrs.field(factory=list)
    certified: BoundedDict[int, CertifiedState] = attrs.field(
        factory=lambda: BoundedDict(limits.CERTIFICATION_POINTS_KEPT_MAX)
    )
    histories: Histories = attrs.field(factory=Histories)
    keeps_commit: bool = False
    certificate_kept: tuple[bytes, ...] = ()
    candidate: tuple[int, bytes] | None = attrs.field(default=None, repr=False)
    unkept: str | None = None
    unkept_index: int = 0
    held: bool = False
    to_tell: dict[NodeId, None] = attrs.field(factory=dict)

    # --- reading ----------------------------------------------------------------------------------

    @property
    def held_log(self) -> StoredLog | None:
        """The log on the disk: the previous one until the new one has begun."""
        if self.previous_epoch is not None:
            return self.previous_epoch
        if self.raft is None or self.root is None or self.raft.state.log.last_index == 0:
            return None
        assert self.state is not None
        return StoredLog(self.root, self.raft, self.state, self.newest_level)

    @property
    def commit_index(self) -> int:
        """The index up to which this node knows the log to be committed."""
        return self.raft.state.commit_index if self.raft is not None else 0

    @property
    def last_index(self) -> int:
        """Index of the last entry, committed or not."""
        return self.raft.state.log.last_index if self.raft is not None else 0

    @property
    def applied_index(self) -> int:
        """Index of the last applied entry."""
        return self.state.applied_index if self.state is not None else 0

    @property
    def applied_place(self) -> tuple[int, int]:
        """Epoch and index of the last applied entry, of whichever log that is."""
        state = self.state
        return (state.epoch, state.applied_index) if state is not None else (0, 0)

    @property
    def term(self) -> int:
        """The term that this node is in."""
        # A log that has not begun here has no stored term, so report none.
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
        """The leader as Raft knows it; None without a seat."""
        if self.raft is None or self.raft.state.leader is None:
            return None
        return self.raft.state.leader.node_id

    @property
    def chain(self) -> CommitteeChain:
        """The voters and their certificates as applied; before any entry, the founder."""
        state = self.state if self.previous_epoch is None else None
        if state is not None and state.chain.epoch == self.epoch != 0:
            return state.chain
        root = self.root
        if root is None:
            return CommitteeChain()
        return CommitteeChain(root.epoch, (Voter(root.founder, root.peer_key, root.store_id),))

    def digest(self) -> StateDigest | None:
        """The digest of the state as applied; None without one, and for a state that is too large:
        people are told."""
        if self.state is None or self.previous_epoch is not None:
            return None
        try:
            return digest_of(self.state)
        except Malformed as error:
            self.unkept, self.unkept_index = str(error), self.state.applied_index
            return None

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
        """Restore the log from disk and apply it up to its stored commit index. `TooOld` if a newer
        program wrote it: all or nothing."""
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
        self.window.restore(restored.tables[EVENTS_TABLE], meta.get(SPAN_KEY))
        if SPAN_KEY not in meta:
            self.window.begin(self.root.epoch)
        snapshot = self.raft.state.snapshot
        if snapshot is not None:
            self.state = readable_state(decode_snapshot(snapshot).state, self.newest_level)
            self._keep_time()
        # An earlier version, which keeps no events, may have gone on with this log meanwhile.
        self._skip_to(self.state)
        restore_certificate(self.raft.state, meta)
        self.certificate_kept = self.raft.state.snapshot_certificate
        self.absorb(self.raft.recommit(int.from_bytes(meta.get(COMMIT_KEY, b""), "big")))
        if self.too_old is not None:
            raise self.too_old
        self.points.clear()  # Questions from before the restart are answered, or come again.

    def follow_root(
        self,
        root: RootRecord | None,
        now: Now,
        block: int = 0,
        withdrawn: RootRecord | None = None,
    ) -> bool:
        """Follow a root record in a final block, of a higher epoch than ours or a later one of the
        same; True if it replaces ours. If it names us, found its log, or say in `refusal` why not.
        `withdrawn`: a record that was never there; if it is ours, an earlier epoch replaces it."""
        if root is None or not self._replaces(root, block, withdrawn):
            return False
        held = self.previous_epoch
        self.resumed = held is not None and held.root == root
        if held is not None and self.resumed:
            self._resume(held, block, now)
            return True
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
            self.window.begin(root.epoch)
        self.begin(RaftRestored(), now)
        assert self.raft is not None
        if root.founder == self.me.node_id and not self.refusal:
            self.absorb(self.raft.found(now))
        return True

    def _replaces(self, root: RootRecord, block: int, withdrawn: RootRecord | None) -> bool:
        """Whether a record replaces ours. The chain orders them: a later record of one epoch
        replaces an earlier one. An endpoint that lags must not bring the earlier one back, and
        whoever has begun a log does not leave it for an earlier epoch."""
        ours = self.root
        if ours is None or root.epoch > ours.epoch:
            return True
        if root == ours or block <= self.root_block:
            return False
        begun = self.previous_epoch is None and self.last_index > 0
        empty = self.held_log is None
        return root.epoch == ours.epoch or (not begun and (empty or ours == withdrawn))

    def _resume(self, held: StoredLog, block: int, now: Now) -> None:
        """Go back to the log that we hold: nothing was reset on the disk for the other record."""
        self.root, self.root_block, self.refusal, self.deferred = held.root, block, "", []
        self.previous_epoch, self.state = None, held.state
        s = held.raft.state
        hard = s.hard if s.me == self.me else HardState()
        self.begin(RaftRestored(hard, s.snapshot, tuple(s.log.entries)), now)
        self._keep_time()
        assert self.raft is not None
        self.absorb(self.raft.recommit(s.commit_index))

    def opening(self, root: RootRecord, name: Digest) -> list[PersistOp]:
        """The writes that begin a log on the disk and drop the one that was there."""
        kept = put_record(META_TABLE, ROOT_KEY, root)
        return [ResetLog(name), kept, Put(META_TABLE, COMMIT_KEY, b"")]

    def _refound(self, root: RootRecord, name: Digest, held: StoredLog, now: Now) -> None:
        """Found a recovery's log: its base is the state of the log that we hold."""
        kept = epoch_recovery.base(self.me, root, name, held, self.clocks.time_ms(now))
        assert kept.snapshot is not None
        self.persist += self.opening(root, name)
        self.persist += [SaveHardState(name, kept.hard), SaveSnapshot(kept.snapshot)]
        self.previous_epoch = None
        self.state = decode_state(decode_snapshot(kept.snapshot).state)
        self.window.begin(root.epoch, epoch_recovery.bridged(root, held))
        self._skip_to(self.state)
        self.begin(kept, now)
        self._keep_time()

    def begin(self, kept: RaftRestored, now: Now) -> None:
        """Start Raft on the root record's log, from what we keep of it."""
        assert self.root is not None
        name = log_id(self.pool, self.root)
        rng = Random(self.rng.randrange(2**32))
        timing = TIMINGS[self.profile]
        self.certified.clear()
        self.histories.begin(name)
        self.candidate = self.unkept = self.raised_index = self.request_check.held = None
        self.raft = Raft(
            self.me,
            name,
            timing,
            kept,
            rng,
            configuration_hash,
            now,
            snapshot_validator=self._is_valid,
            leads_to=self._leads_to,
            entry_check=self._refusal,
        )
        self.raft.state.shows = self._shows
        self.raft.judge_dates_by(self.clocks)
        self.beginnings += 1

    # --- steps ------------------------------------------------------------------------------------

    def receive(
        self,
        frame: Frame,
        sender: PeerKey,
        now: Now,
        sealed: bytes = b"",
        *,
        shown: Opened = (),
        proven: bool = False,
    ) -> None:
        """Handle a Raft frame; `sealed` is its envelope (Raft keeps votes in theirs). For `shown`
        and `proven` see `Raft.receive`."""
        begins = isinstance(frame, (AppendRequested, SnapshotSent))
        if self.previous_epoch is not None and not begins:
            return  # We hold nothing of the new log: there is nothing to vote on, or to lead.
        if self.raft is not None and not self.doubted and self.too_old is None:
            out = self.raft.receive(frame, sender, now, sealed, shown=shown, proven=proven)
            self.absorb(out)
            if begins:
                self.commit_signed()

    def wakeup_ms(self) -> int | None:
        """When to call `tick` next; a log whose disk is in doubt has nothing due."""
        return self.raft.next_wakeup_ms if self.raft is not None and not self.doubted else None

    def tick(self, now: Now) -> None:
        """Do what Raft has due."""
        due_ms = self.wakeup_ms()
        if self.raft is not None and due_ms is not None and now.mono_ms >= due_ms:
            self.absorb(self.raft.tick(now))

    def take_part(self, now: Now) -> None:
        """The disk passed its check (`voter.store_check`): vote and acknowledge from now on."""
        self.doubted = False
        if self.raft is not None:
            self.raft.state.restart_election_timer(now)

    def renew(self, me: Voter, now: Now) -> None:
        """Become another participant, with the same entries and no promises."""
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
        """Stop leading and campaigning, and drop all output in flight."""
        self.persist, self.send, self.seal, self.doubted = [], [], [], True
        if self.raft is not None:
            s = self.raft.state
            s.role, s.leader = s.resting_role(), None

    def propose(self, kind: int, body: bytes, now: Now) -> Entry:
        """Propose an entry as leader; `flush` sends it. Raises what `Raft.propose` raises."""
        assert self.raft is not None
        out, entry = self.raft.propose(kind, body, now, hold=True)
        self.held = True
        self.absorb(out)
        return entry

    def tell(self, node_id: NodeId) -> None:
        """A reader at a node waits for what is committed now: `flush` tells the node."""
        self.to_tell[node_id] = None

    def flush(self) -> None:
        """At the end of a step: send its proposals, in as few frames as possible."""
        if self.raft is not None and (self.held or self.to_tell):
            self.absorb(self.raft.flush(tuple(self.to_tell)))
        self.held, self.to_tell = False, {}

    def change(self, wanted: Configuration, now: Now) -> Entry:
        """Propose a configuration as leader; raises what `Raft.change` raises, and `Conflict` for a
        change of voters while the last one is not certified."""
        assert self.raft is not None
        waits = open_link(self.chain)
        if waits is not None and wanted.halves != self.configuration.halves:
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
        """Campaign although we hear a leader (`Raft.force_campaign`)."""
        assert self.raft is not None
        self.absorb(self.raft.force_campaign(now))

    def resign(self, now: Now) -> None:
        """Step down without a transferee."""
        assert self.raft is not None
        self.absorb(self.raft.resign(now))

    def broadcast_commit(self, now: Now) -> None:
        """As leader, tell all participants at once what is committed."""
        if self.raft is not None:
            self.absorb(self.raft.broadcast_commit(now))

    def read(self, request: int, now: Now) -> None:
        """Ask for an index at which a read is consistent; see `readable` and `unreadable`."""
        assert self.raft is not None
        self.absorb(self.raft.read(request, now))

    # --- for a node without a seat ----------------------------------------------------------------

    @property
    def fetches(self) -> bool:
        """Whether this node has no seat and fetches committed entries from its peers."""
        return self.raft is not None and self.raft.state.role is RaftRole.IDLE

    @property
    def waits_for_others(self) -> bool:
        """Whether this node takes what a quorum signed for committed, and nothing else: a voter too
        that has refused what its leader wrote."""
        if self.raft is None:
            return False
        s = self.raft.state
        return self.fetches or waits_for_histories(s) or awaits_word(s)

    @property
    def history(self) -> Digest:
        """The hash over all entries applied here; that of no entries if the log has not begun."""
        begun = self.state if self.previous_epoch is None else None
        return begun.history if begun is not None else NO_HISTORY

    @property
    def distrusts(self) -> bool:
        """Whether this node takes no leader's word for what is committed: the voters sign it."""
        held = self.state if self.previous_epoch is None else None
        return bool(self.histories.signed) or (held is not None and held.level >= DISTRUST_LEVEL)

    def commit_signed(self) -> None:
        """Commit what a learner holds and a quorum signed; note where it signed something else."""
        raft = self.raft
        if raft is None or self.fetches or not waits_for_histories(raft.state):
            return
        s = raft.state
        last = max((i for i in self.histories.signed if i <= s.log.last_index), default=0)
        if last <= s.commit_index or self.state is None or self.previous_epoch is not None:
            return
        history, good = self.state.history, 0
        for entry in s.log.between(s.commit_index + 1, last):
            history = history_after(history, entry)
            said = self.histories.signed.get(entry.index)
            if said is not None and said != history:
                self.histories.contradicted_index = entry.index
                break
            good = entry.index if said is not None else good
        if good:
            self.absorb(raft.recommit(good))

    @property
    def must_fetch(self) -> bool:
        """Whether this node takes no leader's frames: it has no seat that a quorum vouched for."""
        return self.fetches and self.distrusts and not self.seated

    @property
    def seated(self) -> bool:
        """Whether this node takes part, or the log that it holds has a seat for it."""
        return not self.fetches or self.me in self.configuration.everybody

    def adopt(self, entries: tuple[Entry, ...]) -> None:
        """Adopt committed entries that somebody vouches for."""
        assert self.raft is not None
        self.absorb(self.raft.adopt(entries))

    def adopt_snapshot(self, data: bytes, giver: PeerKey) -> bool:
        """Adopt a committed snapshot; False if it holds no usable state: a mistake or a lie, which
        on the disk would crash this agent at each start; or if nobody vouches for it."""
        assert self.raft is not None
        if self.distrusts and not self._holds_certified(data):
            return False
        try:
            found = readable(data, self.pool, self.epoch, self.newest_level)
        except TooOld as error:
            # One peer's word, which may be a lie: ask others, and tell people.
            self.newer_snapshot, found = str(error), None
        if found is None:
            self.refused.append(giver)
            return False
        # Who has a seat by an entry keeps it; another would get one by its giver's word.
        if found.level >= DISTRUST_LEVEL and self.me not in self.configuration.learners:
            data = without_seat(data, self.me)
        self.newer_snapshot = None
        self.absorb(self.raft.adopt_snapshot(data))
        return True

    def _holds_certified(self, data: bytes) -> bool:
        """Whether a quorum certified the state in a snapshot's bytes."""
        try:
            return self._is_certified(decode_snapshot(data))
        except Malformed:
            return False

    def _is_certified(self, snapshot: Snapshot) -> bool:
        """Whether a quorum certified its state. The digest covers the voters, and no log is
        certified between two committees: the second would be one giver's word."""
        found = self.certified.get(snapshot.index)
        fits = found is not None and found.digest == digest_in(snapshot.state)
        return fits and not snapshot.configuration.is_joint

    def discard(self, now: Now) -> bool:
        """Begin the same log anew, empty; False for a voter, and if this node holds nothing of it
        yet."""
        raft, root = self.raft, self.root
        if raft is None or root is None or self.previous_epoch is not None:
            return False
        if not self.fetches and raft.state.role is not RaftRole.LEARNER:
            return False
        name, hard = raft.state.log_id, raft.state.hard
        self.persist += [*self.opening(root, name), SaveHardState(name, hard)]
        self.state = PoolState(self.pool, root.epoch)
        self.events.append(self.window.lose("this agent's log was not what the voters signed"))
        self.histories.forget()
        self.begin(RaftRestored(hard), now)
        return True

    def answer(self, asked: StateRequested | SnapshotRequested) -> StateAnswered | None:
        """Our part of the log that a peer asks for; None if it is another log."""
        return answer_of(self.raft.state, asked) if self.raft is not None else None

    # --- inside -----------------------------------------------------------------------------------

    def _refusal(self, entry: Entry, offer: Offer) -> EntryRefusal | None:
        """Why an entry has no place in the log, whatever the state is; or not yet."""
        why, record = entry_check.read(self.pool, self.newest_level, entry)
        if why is not None:
            return EntryRefusal(why)
        if isinstance(record, LevelRaised) and record.level >= DISTRUST_LEVEL:
            self.raised_index = min(entry.index, self.raised_index or entry.index)
        if isinstance(record, ChangeCertified) and self.opens is not None:
            assert self.raft is not None
            why = unsigned(record, self.raft.state.log_id, self.opens)
            why = why or self._given_up_early(record, entry)
        if not self._judges_requests(entry):
            return EntryRefusal(why) if why is not None else None
        if entry_check.takes_request(record):
            why = "no leader writes it without a signed request"
        if isinstance(record, RequestApplied | Adopted):
            return self.request_check.refusal(entry, record, offer)
        return EntryRefusal(why) if why is not None else None

    def _judges_requests(self, entry: Entry) -> bool:
        """Whether the log has reached the level at which a follower asks who signed a request."""
        state = self.state if self.previous_epoch is None else None
        if state is None:
            return False
        raised = self.raised_index is not None and entry.index > self.raised_index
        return raised or state.level >= DISTRUST_LEVEL

    def _given_up_early(self, record: ChangeCertified, entry: Entry) -> str | None:
        """Why a change may not be given up yet. Only a change that is applied here is judged: what
        the log holds beyond may give way to what comes with this entry."""
        state = self.state if self.previous_epoch is None else None
        if state is None or state.level < DISTRUST_LEVEL:
            return None
        if not gives_up_early(self.chain, record, entry.proposed_at_ms):
            return None
        return f"it gives up the committee's change at {record.index} before its time"

    def _is_valid(self, snapshot: Snapshot) -> bool:
        """Whether to install a leader's snapshot: with a seat only on a quorum's word."""
        certified = self._is_certified(snapshot)
        if not certified and self._wants_proof():
            return False
        try:
            good = state_in(snapshot, self.pool, self.epoch, self.newest_level) is not None
        except TooOld as error:
            # Only a quorum's word ends this agent; a leader's alone may be a lie.
            if certified:
                self.too_old = error
            self.newer_snapshot, good = str(error), False
        if good:
            self.newer_snapshot = None
        return good

    def _leads_to(self, snapshot: Snapshot) -> bool:
        """Whether the entries held up to a snapshot's index are those that its state follows from:
        by its history, since terms say nothing about what a lying leader gave to whom."""
        raft, state = self.raft, self.state
        assert raft is not None
        assert state is not None
        log = raft.state.log
        if not log.base_index <= state.applied_index <= snapshot.index <= log.last_index:
            return False
        history = state.history
        for entry in log.between(state.applied_index + 1, snapshot.index):
            history = history_after(history, entry)
        return history == history_in(snapshot.state)

    def _wants_proof(self) -> bool:
        """Whether this node holds a log as its voter or learner, whose leaders prove their
        snapshots."""
        raft, state = self.raft, self.state
        if raft is None or state is None or self.previous_epoch is not None:
            return False
        if raft.state.is_voter:
            return state.level >= features.DISTRUST_LEVEL
        return self.me in self.configuration.learners and self.distrusts

    def certify(self, index: int, digest: StateDigest, certificate: tuple[bytes, ...]) -> None:
        """A quorum of the voters certified the state at an index of this log: what a snapshot must
        be there, and up to where entries need no other word. Ours there is worth keeping."""
        raft, held = self.raft, self.candidate
        if raft is None:
            return
        if index not in self.certified:
            self.certified[index] = CertifiedState(digest, certificate)
            raft.state.certified_index = max(raft.state.certified_index, index)
            give_certificate(raft.state, self.certified)
        if held is not None and held[0] == index and index > raft.state.snapshot_index:
            self.candidate = None
            if digest_in(held[1]) == digest:
                self._compact_into(raft, held[1], index, certificate)

    def _compact_into(
        self, raft: Raft, state: bytes, index: int, certificate: tuple[bytes, ...] = ()
    ) -> None:
        """Make a snapshot; a state that is too large for one stays in the log, and people are told
        (`core.local.problems`)."""
        try:
            out = raft.compact(state, index, certificate)
        except Malformed as error:
            self.unkept, self.unkept_index = str(error), index
            return
        self.unkept = None
        self.persist += out.persist

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
        self.entries_refused += [(voter.peer_key, why) for voter, why in out.doubted]
        if out.installed is not None:
            self.candidate = self.unkept = None
            if self.raft is not None:
                give_certificate(self.raft.state, self.certified)
            self.state = decode_state(out.installed)
            self._skip_to(self.state)
            self.histories.forget()
            self.histories.applied(self.state.applied_index, self.state.history)
            self._keep_time()
        for entry in out.committed:
            self._apply(entry)
        self._compact()

    def _leave_previous_epoch(self, out: Ready) -> None:
        """Give up the previous log for the new one's first entries; a new term is not enough."""
        self.deferred += out.persist
        begun = any(isinstance(o, AppendEntries) for o in out.persist)
        if not begun and out.installed is None:
            return
        assert self.root is not None
        assert self.raft is not None
        self.persist += [*self.opening(self.root, self.raft.state.log_id), *self.deferred]
        self.window.begin(self.root.epoch, epoch_recovery.bridged(self.root, self.previous_epoch))
        self.previous_epoch, self.deferred = None, []
        self.state = PoolState(self.pool, self.root.epoch)
        self.histories.forget()

    def _apply(self, entry: Entry) -> None:
        assert self.state is not None
        if entry.index <= self.state.applied_index or self._beyond(entry):
            return
        try:
            events = apply_entry(self.state, entry)
        except Malformed:
            # Committed in a malformed body: it applies as nothing, on every replica alike.
            events = apply(self.state, entry, None)
        self.histories.applied(entry.index, self.state.history)
        if entry.kind == EntryKind.CERTIFY:
            self._point(entry, self.state)
        self.applied.append(entry)
        self.events += self.window.take(self.state.epoch, entry.index, events)
        self._keep_time()

    def _skip_to(self, state: PoolState) -> None:
        """A state is here without the entries that led to it."""
        missed = self.window.skip(state.epoch, state.applied_index)
        if missed is not None:
            self.events.append(missed)

    def _point(self, entry: Entry, state: PoolState) -> None:
        """A leader's question: the place for a snapshot that a quorum will vouch for.

        A state that no snapshot holds gets none, and no signature; nor does a log between two
        committees: the leader asks again when it has left the old one.
        """
        assert self.raft is not None
        if configuration_before(self.raft.state, entry.index).is_joint:
            return
        try:
            self.points += point_of(entry, state, self.chain)
            if self._keeps_candidate(state):
                self.candidate = (entry.index, encode_state(state))
        except Malformed as error:
            self.unkept, self.unkept_index = str(error), entry.index

    def _keeps_candidate(self, state: PoolState) -> bool:
        """Whether to keep the state at a question, in case a quorum certifies it."""
        assert self.raft is not None
        s = self.raft.state
        unproven = s.snapshot is not None and not s.snapshot_certificate
        return state.level >= features.DISTRUST_LEVEL and (unproven or self._heavy(1))

    def _heavy(self, times: int) -> bool:
        """Whether the log is so many times as long, or as large, as is due for a snapshot."""
        assert self.raft is not None
        assert self.state is not None
        s = self.raft.state
        held = self.state.applied_index - s.snapshot_index
        grown = s.grown_bytes - s.uncommitted_bytes
        large = held > 0 and grown >= times * limits.SNAPSHOT_AFTER_BYTES
        return held >= times * limits.SNAPSHOT_AFTER_ENTRIES or large

    def _beyond(self, entry: Entry) -> bool:
        """Whether an entry, or one before it, needs a level above this program's: from there on it
        applies nothing, so it can still read and write what it holds."""
        if self.too_old is None:
            assert self.state is not None
            self.too_old = level_beyond(self.state, entry, self.newest_level)
        return self.too_old is not None

    @property
    def _shows(self) -> bool:
        """Whether all voters here read what a candidate shows: the log's level says so."""
        return self.state is not None and self.state.level >= DISTRUST_LEVEL

    def _keep_time(self) -> None:
        """The committee's timing is a setting of the log, and so is what its voters can read."""
        assert self.state is not None
        if self.raft is not None:
            self.raft.state.shows = self._shows
        name = self.state.settings.get("timing", "").upper()
        if name in Profile.__members__ and self.profile is not Profile[name]:
            self.profile = Profile[name]
            if self.raft is not None:
                self.raft.retime(TIMINGS[self.profile])

    def _compact(self) -> None:
        raft, state = self.raft, self.state
        if raft is None or state is None:
            return
        proves = state.level >= features.DISTRUST_LEVEL
        raft.state.wants_proof = proves
        # Where leaders prove their snapshots, one waits for the next certificate, but not for ever.
        if not self._heavy(limits.SNAPSHOT_UNPROVEN_AFTER_TIMES if proves else 1):
            return
        index = state.applied_index
        if self.unkept is not None and index < self.unkept_index + limits.SNAPSHOT_AFTER_ENTRIES:
            return
        try:
            data = encode_state(state)
        except Malformed as error:
            self.unkept, self.unkept_index = str(error), index
            return
        self._compact_into(raft, data, index)

    def keep_commit(self) -> None:
        """What this node is about to say rests on what is committed: the disk is to know it too,
        or after a restart a leader could have it replaced."""
        self.keeps_commit = True

    def take_persist(self) -> list[PersistOp]:
        """The writes to make durable, with the commit index."""
        taken, self.persist = self.persist, []
        keeps, self.keeps_commit = self.keeps_commit, False
        if (taken or keeps) and self.raft is not None:
            raft = self.previous_epoch.raft if self.previous_epoch is not None else self.raft
            index, certificate = raft.state.commit_index, raft.state.snapshot_certificate
            taken.append(Put(META_TABLE, COMMIT_KEY, index.to_bytes(8, "big")))
            if certificate and certificate != self.certificate_kept:
                self.certificate_kept = certificate
                taken.append(certificate_row(raft.state))
            taken += self.window.writes()
        return taken


def answer_of(s: RaftState, asked: StateRequested | SnapshotRequested) -> StateAnswered | None:
    """Our part of the log that a peer asks for; None if it is another log."""
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
    last = 0 < len(whole) == offset + len(part)
    return StateAnswered(
        request=asked.request,
        log_id=s.log_id,
        commit_index=s.commit_index,
        entries=(),
        snapshot_total_bytes=len(whole),
        snapshot_offset=offset,
        snapshot=part,
        certificate=s.snapshot_certificate if last else (),
    )
