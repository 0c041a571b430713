"""A committee in virtual time: delay, loss, repetition, partitions, crashes; checked from outside.

Integer milliseconds, one heap of events, one seed: a run is the same wherever it is run. A crash
falls between two steps or between a step's writes and its sends, as it would in the agent; what
was not made durable is gone. The checkers know nothing of Raft's inside but role, term and commits.
"""

import heapq
from random import Random

import attrs

from p2pool.codec.messages import configuration_hash, encode_body
from p2pool.core.raft.raft import Frame, Raft, RaftRestored
from p2pool.core.raft.state import Out
from p2pool.model.ids import Digest, NodeId, PeerKey, StoreId
from p2pool.model.messages import Message
from p2pool.model.raft import Configuration, Entry, EntryKind, HardState, Voter
from p2pool.model.states import RaftRole
from p2pool.model.storage import (
    AppendEntries,
    CompactTo,
    PersistOp,
    SaveHardState,
    SaveSnapshot,
    TruncateFrom,
)
from p2pool.model.timing import TIMINGS, Now, Profile

LOG_ID = Digest(b"L" * 32)
WALL_MS = 1_700_000_000_000


def voter(i: int) -> Voter:
    return Voter(NodeId(bytes([i]) * 20), PeerKey(bytes([i]) * 32), StoreId(bytes([i]) * 16))


@attrs.define
class Disk:
    """What survives a crash."""

    hard: HardState = attrs.field(factory=HardState)
    snapshot: bytes | None = None
    entries: dict[int, Entry] = attrs.field(factory=dict)

    def write(self, operations: list[PersistOp]) -> None:
        for op in operations:
            match op:
                case SaveHardState():
                    self.hard = op.hard_state
                case AppendEntries():
                    self.entries.update({e.index: e for e in op.entries})
                case TruncateFrom():
                    self.entries = {i: e for i, e in self.entries.items() if i < op.index}
                case CompactTo():
                    self.entries = {i: e for i, e in self.entries.items() if i > op.index}
                case SaveSnapshot():
                    self.snapshot = op.snapshot
                case _:
                    raise AssertionError(op)

    def read(self) -> RaftRestored:
        entries = tuple(e for _, e in sorted(self.entries.items()))
        return RaftRestored(self.hard, self.snapshot, entries)


class Violation(AssertionError):
    """A property of the paper's figure 3 does not hold."""


class Cluster:
    """Five participants, or as many as asked for, and the network between them."""

    def __init__(self, seed: int, size: int = 5, compact_every: int = 0) -> None:
        self.rng = Random(seed)
        self.now_ms = 0
        self.voters = [voter(i) for i in range(size)]
        kind, body = encode_body(Configuration(tuple(self.voters)))
        first = Entry(1, 1, kind, 0, body)
        self.disks = [Disk(HardState(1), None, {1: first}) for _ in self.voters]
        self.rafts: list[Raft | None] = [None] * size
        self.cut: set[tuple[int, int]] = set()
        self.loss, self.duplicate, self.delay_ms = 0.0, 0.0, 5
        self.events: list[tuple[int, int, int, tuple[int, Message] | None]] = []
        self.number = 0
        self.compact_every = compact_every
        self.applied: list[int] = [0] * size
        self.chosen: dict[int, Entry] = {}
        self.leaders: dict[int, int] = {}
        for i in range(size):
            self.start(i)

    # --- the world ----------------------------------------------------------------------------

    def now(self) -> Now:
        return Now(self.now_ms, WALL_MS + self.now_ms)

    def start(self, i: int) -> None:
        """(Re)start a participant from its disk."""
        self.rafts[i] = Raft(
            self.voters[i], LOG_ID, TIMINGS[Profile.DEFAULT], self.disks[i].read(),
            Random(self.rng.randrange(2**32)), configuration_hash, self.now(),
        )  # fmt: skip
        raft = self.rafts[i]
        assert raft is not None
        self.applied[i] = raft.state.commit_index
        self._wake(i)

    def crash(self, i: int) -> None:
        """All that is not on the disk is gone."""
        self.rafts[i] = None

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        end = self.now_ms + for_ms
        while self.events and self.events[0][0] <= end:
            self.now_ms, _, i, frame = heapq.heappop(self.events)
            raft = self.rafts[i]
            if raft is None:
                continue
            if frame is None:
                due = raft.next_wakeup_ms
                if due is not None and due <= self.now_ms:
                    self.do(i, raft.tick(self.now()))
            else:
                sender, message = frame
                assert isinstance(message, Frame)
                peer_key = self.voters[sender].peer_key
                self.do(i, raft.receive(message, peer_key, self.now()))
        self.now_ms = end

    def do(self, i: int, out: Out, crash_before_sending: bool = False) -> None:
        """What the driver does with a step: write, then send and apply."""
        self.disks[i].write(out.persist)
        if crash_before_sending:
            self.crash(i)
            return
        for peer_key, message in out.send:
            self._post(i, next(j for j, v in enumerate(self.voters) if v.peer_key == peer_key),
                       message)  # fmt: skip
        self._apply(i, out)
        self._watch(i)
        self._wake(i)

    def _post(self, sender: int, to: int, message: Message) -> None:
        if (sender, to) in self.cut or self.rng.random() < self.loss:
            return
        for _ in range(1 + (self.rng.random() < self.duplicate)):
            at_ms = self.now_ms + 1 + self.rng.randrange(self.delay_ms)
            self.number += 1
            heapq.heappush(self.events, (at_ms, self.number, to, (sender, message)))

    def _wake(self, i: int) -> None:
        raft = self.rafts[i]
        if raft is not None and raft.next_wakeup_ms is not None:
            self.number += 1
            at_ms = max(self.now_ms, raft.next_wakeup_ms)
            heapq.heappush(self.events, (at_ms, self.number, i, None))

    def _apply(self, i: int, out: Out) -> None:
        if out.installed is not None:
            raft = self.rafts[i]
            assert raft is not None
            self.applied[i] = raft.state.log.base_index
        for entry in out.committed:
            if entry.index != self.applied[i] + 1:
                raise Violation(f"node {i} applies {entry.index} after {self.applied[i]}")
            self.applied[i] = entry.index
            if self.chosen.setdefault(entry.index, entry) != entry:
                raise Violation(f"State Machine Safety: two entries at {entry.index}")
        raft = self.rafts[i]
        if raft is None or not self.compact_every:
            return
        if self.applied[i] - raft.state.log.base_index >= self.compact_every:
            self.disks[i].write(raft.compact(b"state", self.applied[i]).persist)

    def _watch(self, i: int) -> None:
        raft = self.rafts[i]
        if raft is not None and raft.state.role is RaftRole.LEADER:
            term = raft.state.hard.term
            if self.leaders.setdefault(term, i) != i:
                raise Violation(f"Election Safety: two leaders in term {term}")

    # --- people -------------------------------------------------------------------------------

    def leader(self) -> int | None:
        """Whoever leads in the highest term, as far as it knows."""
        leading = [
            (raft.state.hard.term, i)
            for i, raft in enumerate(self.rafts)
            if raft is not None and raft.state.role is RaftRole.LEADER
        ]
        return max(leading)[1] if leading else None

    def propose(self, body: bytes, crash: bool = False) -> bool:
        """Ask the leader to append; False where nobody leads."""
        i = self.leader()
        raft = self.rafts[i] if i is not None else None
        if i is None or raft is None:
            return False
        out, _ = raft.propose(EntryKind.NODE, body, self.now())
        self.do(i, out, crash)
        return True

    def heal(self) -> None:
        """Everybody up, every link whole."""
        self.cut, self.loss, self.duplicate, self.delay_ms = set(), 0.0, 0.0, 5
        for i, raft in enumerate(self.rafts):
            if raft is None:
                self.start(i)

    def trouble(self) -> None:
        """One random fault, or the end of one."""
        rng, size = self.rng, len(self.voters)
        kind, i = rng.randrange(7), rng.randrange(size)
        down = sum(raft is None for raft in self.rafts)
        if kind == 0 and down < size // 2:
            self.crash(i)
        elif kind == 1 and self.rafts[i] is None:
            self.start(i)
        elif kind == 2:
            # One way only, as a half-broken link is.
            self.cut |= {(i, rng.randrange(size)) for _ in range(size)}
        elif kind == 3:
            self.cut = set()
        elif kind == 4:
            self.loss, self.duplicate = rng.random() * 0.3, rng.random() * 0.3
        elif kind == 5:
            self.delay_ms = rng.choice((2, 20, 300, 1500))
        else:
            self.propose(bytes([rng.randrange(256)]), crash=rng.random() < 0.2)


def simulate(seed: int) -> Cluster:
    """One seed: five participants for sixty virtual seconds of trouble, then healing."""
    cluster = Cluster(seed, compact_every=Random(seed).choice((0, 7)))
    for _ in range(240):
        cluster.run(cluster.rng.randrange(1, 500))
        cluster.trouble()
        cluster.propose(b"load")
    cluster.heal()
    cluster.run(15_000)
    if not cluster.propose(b"after"):
        raise Violation("Liveness: nobody leads after healing")
    target = max(raft.state.log.last_index for raft in cluster.rafts if raft is not None)
    cluster.run(15_000)
    if min(cluster.applied) < target:
        raise Violation(f"Liveness: {cluster.applied} after healing, {target} expected")
    return cluster
