"""What a participant of the log knows, and the few ways in which that changes.

The disk keeps the hard state (term, vote), the log and the snapshot; a restart forgets all else. A
step collects in `Ready` what to persist, send and apply; the driver makes `persist` durable before
it does anything else of the step, so a leader may count itself at once.

Identity: a participant is (node id, peer key, store id); `me` with another store is another voter.
A node removed from the committee while it was cut off may believe for ever that it is a voter; most
of the other voters together release it (`released_at`, `core.raft.election`).
Source: Raft, figure 2; thesis, 4.2 and 9.6.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

import attrs

from p2pool.codec.entries import configuration_in
from p2pool.core.raft.log import RaftLog
from p2pool.core.raft.progress import Leaving, Progress, Receiving
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import Digest, NodeId, PeerKey, StoreId
from p2pool.model.log.raft import Configuration, Entry, HardState, Snapshot, Voter
from p2pool.model.messages.registry import Message
from p2pool.model.ports.store import AppendEntries, PersistOp, SaveHardState, TruncateFrom
from p2pool.model.states import RaftRole
from p2pool.model.timing import Now, Timing

ConfigurationHash = Callable[[Configuration], Digest]
SnapshotValidator = Callable[[Snapshot], bool]
"""Whether a snapshot's state loads and matches its index, term and configuration."""


@attrs.frozen
class EntryRefusal:
    """Why an entry is not appended. `waits`: not yet; its leader may be honest. `may_pass`: what we
    know of the chain decided it, and may be what is wrong."""

    why: str
    waits: bool = False
    may_pass: bool = False


@attrs.frozen
class Offer:
    """Who offers entries to a follower, and when: the leader of a term. `led`: who led in earlier
    terms, as far as the follower knows."""

    term: int
    leader: Voter
    now: Now
    led: Mapping[int, StoreId] = attrs.field(factory=dict)

    def author(self, entry: Entry) -> StoreId | None:
        """The leader that wrote an entry, or None if we do not know it."""
        return self.leader.store_id if entry.term == self.term else self.led.get(entry.term)


EntryCheck = Callable[[Entry, Offer], EntryRefusal | None]
"""Why the state's rules forbid an entry, or None: what Raft itself cannot read in it."""


class VoterClocks(Protocol):
    """What time it is, as far as this node can tell from its own clock and the others'."""

    def time_ms(self, now: Now) -> int:
        """The time, since the Unix epoch."""

    def latest_ms(self, now: Now) -> int:
        """The latest date that an entry may have."""

    def clock_of_ms(self, node_id: NodeId, now: Now) -> int | None:
        """What another node's clock shows, if lately measured."""


class OwnClock:
    """Our own clock alone."""

    def time_ms(self, now: Now) -> int:
        """What it shows."""
        return now.wall_ms

    def latest_ms(self, now: Now) -> int:
        """What it shows, and how far clocks may differ."""
        return now.wall_ms + limits.CLOCK_SKEW_MAX_MS

    def clock_of_ms(self, node_id: NodeId, now: Now) -> int | None:
        """Nobody measures."""
        return None


@attrs.define
class Ready:
    """What a step wants done: make durable, then send and apply, in order.

    `seal`: our own messages that we keep as others would get them (a candidate's vote for itself).
    `refused`: the leaders whose snapshot was bad. `doubted`: the leaders whose entries we refused,
    and why.
    """

    persist: list[PersistOp] = attrs.field(factory=list)
    send: list[tuple[PeerKey, Message]] = attrs.field(factory=list)
    seal: list[Message] = attrs.field(factory=list)
    committed: list[Entry] = attrs.field(factory=list)
    installed: bytes | None = None
    refused: list[Voter] = attrs.field(factory=list)
    doubted: list[tuple[Voter, str]] = attrs.field(factory=list)
    readable: list[tuple[int, int]] = attrs.field(factory=list)
    unreadable: list[int] = attrs.field(factory=list)


@attrs.frozen
class PendingRead:
    """A read that waits until a majority has answered a round sent after it began."""

    number: int
    after_round: int


@attrs.frozen
class Transfer:
    """A leadership transfer under way; `told`: `to` was asked to campaign."""

    to: Voter
    deadline_ms: int
    told: bool = False


@attrs.define
class RaftState:
    """One participant.

    `patience_ms`: how long without a leader, since `led_ms`, it leaves campaigning to others.
    `former`: the configuration before the latest.
    `forcing`: it campaigns although it hears a leader; `handover`: by that leader's order, sealed.
    `doubters`: the voters that do not know us as a candidate, and how many votes we showed them.
    `chosen`: for whom it voted in this term, whole; the disk knows the store alone. `leader_out`:
    by its own reading of the chain its leader is out of the pool, or it leads and may be so itself.
    `leader_unproven`: no quorum has certified its leader for long, so it keeps nobody from leading.
    `shows`: the pool's level allows envelopes in a request.
    `certified_voters`: of the latest certified change, at an index.
    `raise_left`: how far others' bare words may raise its term until `raise_due_ms`. `refused`: the
    term and leader of a bad snapshot, and until when to ignore its next ones. `snapshot_at_ms`: the
    log time that it ends with. `certified_index`: up to there a quorum has certified the log.
    `snapshot_certificate`: a quorum's checked signatures over the snapshot's state; `wants_proof`:
    nobody with a seat installs one without. `doubted`: the term and leader whose entry at an index
    we refused. `led`: whom it followed in which term.
    """

    me: Voter
    log_id: Digest
    timing: Timing
    rng: Random
    hash_of: ConfigurationHash
    log: RaftLog = attrs.field(factory=RaftLog)
    hard: HardState = attrs.field(factory=HardState)
    snapshot: bytes | None = None
    snapshot_index: int = 0
    snapshot_term: int = 0
    snapshot_certificate: tuple[bytes, ...] = ()
    wants_proof: bool = False
    keep_entries: int = attrs.field(factory=lambda: limits.SNAPSHOT_KEEP_ENTRIES)
    grown_bytes: int = 0
    uncommitted_bytes: int = 0
    configuration: Configuration = attrs.field(default=Configuration(()))
    configuration_index: int = 0
    former: Configuration = attrs.field(default=Configuration(()))
    base_configuration: Configuration = attrs.field(default=Configuration(()))
    role: RaftRole = RaftRole.IDLE
    leader: Voter | None = None
    led: BoundedDict[int, StoreId] = attrs.field(
        factory=lambda: BoundedDict(limits.TERMS_REMEMBERED_MAX)
    )
    commit_index: int = 0
    election_deadline_ms: int = 0
    leaderless_ms: int = 0
    patience_ms: int = 0
    led_ms: int = 0
    forcing: bool = False
    handover: bytes = b""
    doubters: dict[StoreId, int] = attrs.field(factory=dict)
    chosen: Voter | None = None
    leader_out: bool = False
    leader_unproven: bool = False
    shows: bool = True
    certified_voters: tuple[Voter, ...] = ()
    certified_change_index: int = 0
    raise_left: int = 0
    raise_due_ms: int = 0
    leader_heard_ms: int | None = None
    append_due_ms: int = 0
    quorum_check_ms: int = 0
    votes: dict[StoreId, bool] = attrs.field(factory=dict)
    grants: dict[StoreId, bytes] = attrs.field(factory=dict)
    progress: dict[StoreId, Progress] = attrs.field(factory=dict)
    leaving: list[Leaving] = attrs.field(factory=list)
    released_at: int | None = None
    releases: dict[StoreId, bool] = attrs.field(factory=dict)
    round: int = 0
    last_read_round: int = 0
    reads: list[PendingRead] = attrs.field(factory=list)
    transfer: Transfer | None = None
    snapshot_validator: SnapshotValidator = attrs.field(default=lambda snapshot: True, eq=False)
    leads_to: SnapshotValidator = attrs.field(default=lambda snapshot: True, eq=False)
    entry_check: EntryCheck = attrs.field(default=lambda entry, offer: None, eq=False)
    certified_index: int = 0
    doubted: tuple[int, StoreId, int] | None = None
    doubt_may_pass: bool = False
    refused: tuple[int, StoreId, int] | None = None
    receiving: Receiving = attrs.field(factory=Receiving)
    snapshot_at_ms: int = 0
    clocks: VoterClocks = attrs.field(factory=OwnClock, eq=False)
    out: Ready = attrs.field(factory=Ready)

    # --- who is who ---------------------------------------------------------------------------

    @property
    def is_voter(self) -> bool:
        """Whether exactly this participant, store and all, has a vote."""
        return self.me in self.configuration.electors

    @property
    def leads(self) -> bool:
        """Whether it leads, to its knowledge."""
        return self.role is RaftRole.LEADER

    @property
    def campaigns(self) -> bool:
        """Whether it campaigns when it hears no leader."""
        return self.may_campaign and self.role is not RaftRole.IDLE

    @property
    def may_campaign(self) -> bool:
        """Whether it is a voter, or was one before a change that is not committed to its knowledge.

        The others may need its log: nobody without that change may get their votes, and it gets
        them without a vote of its own (thesis, 4.2.2).
        """
        if self.is_voter:
            return True
        return self.configuration_index > self.commit_index and self.me in self.former.electors

    def others(self) -> tuple[Voter, ...]:
        """All other participants, voters first."""
        return tuple(v for v in self.configuration.everybody if v != self.me)

    def audience(self) -> tuple[Voter, ...]:
        """All that a leader sends to: the others, and those that must learn of their removal."""
        return (*self.others(), *(one.voter for one in self.leaving))

    def progress_of(self, follower: Voter) -> Progress | None:
        """What we as leader know of exactly this participant, store and all."""
        return self.progress.get(follower.store_id) if follower in self.audience() else None

    def resting_role(self) -> RaftRole:
        """The role of a participant that neither leads nor campaigns."""
        if self.released_at == self.configuration_index:
            return RaftRole.IDLE
        if self.may_campaign:
            return RaftRole.FOLLOWER
        return RaftRole.LEARNER if self.me in self.configuration.learners else RaftRole.IDLE

    # --- changes ------------------------------------------------------------------------------

    def save_hard(self, term: int, voted_for: StoreId | None) -> None:
        """Persist term and vote if they changed; terms never fall, votes never change."""
        new = HardState(term, voted_for)
        if new == self.hard:
            return
        assert term > self.hard.term or self.hard.voted_for is None, "a vote was changed"
        if term > self.hard.term:
            self.chosen = None
        self.hard = new
        self.out.persist.append(SaveHardState(self.log_id, new))

    def follow(self, term: int, leader: Voter | None, now: Now) -> None:
        """Rest in a term, under its leader if known."""
        if term > self.hard.term:
            self.save_hard(term, None)
        if leader is not None:
            self.released_at, self.releases = None, {}
            if term not in self.led:
                self.led[term] = leader.store_id
        if leader is not None or self.leads:
            self.led_ms = now.mono_ms
        self.role, self.leader = self.resting_role(), leader
        self.votes, self.grants, self.progress, self.transfer = {}, {}, {}, None
        self.leaving = []
        self.out.unreadable += [read.number for read in self.reads]
        self.reads = []
        if leader is not None:
            self.leader_heard_ms = now.mono_ms
        self.restart_election_timer(now)

    def restart_election_timer(self, now: Now) -> None:
        """Draw a new timeout (Raft, 5.2)."""
        timing = self.timing
        span_ms = timing.election_timeout_max_ms - timing.election_timeout_min_ms
        wait_ms = timing.election_timeout_min_ms + self.rng.randrange(span_ms)
        self.election_deadline_ms = now.mono_ms + wait_ms
        self.leaderless_ms = now.mono_ms + limits.LEADERLESS_ROUNDS * timing.election_timeout_max_ms

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Add entries to the log; a configuration counts as soon as it is in the log."""
        if not entries:
            return
        self.log.append(entries)
        size = sum(len(e.body) for e in entries)
        self.grown_bytes += size
        self.uncommitted_bytes += size
        self.out.persist.append(AppendEntries(entries))
        for entry in entries:
            found = configuration_in(entry)
            if found is not None:
                self.former = self.configuration
                self.configuration, self.configuration_index = found, entry.index

    def cut_from(self, index: int) -> None:
        """Drop entries that conflict with a leader's log, and a configuration among them."""
        assert index > self.commit_index, "a cut would drop a committed entry"
        size = self.log.bytes_after(index - 1)
        self.log.cut_from(index)
        self.grown_bytes -= size
        self.uncommitted_bytes -= size
        self.out.persist.append(TruncateFrom(index))
        if self.configuration_index >= index:
            self.find_configuration()

    def find_configuration(self) -> None:
        """Use the latest configuration in the log, committed or not (thesis, 4.1)."""
        found: list[tuple[Configuration, int]] = []
        for entry in reversed(self.log.entries):
            configuration = configuration_in(entry)
            if configuration is not None:
                found.append((configuration, entry.index))
                if len(found) == 2:
                    break
        base = self.base_configuration, self.log.base_index
        self.configuration, self.configuration_index = found[0] if found else base
        self.former = found[1][0] if len(found) == 2 else base[0]

    def commit_to(self, index: int) -> None:
        """Hand out newly committed entries, in order, once."""
        if index <= self.commit_index:
            return
        assert index <= self.log.last_index, "commits beyond the log"
        committed = self.log.between(self.commit_index + 1, index)
        self.out.committed += committed
        self.uncommitted_bytes -= sum(len(e.body) for e in committed)
        self.commit_index = index

    def tell(self, to: Voter, message: Message) -> None:
        """Send to a participant by its peer key."""
        self.out.send.append((to.peer_key, message))
