"""A committee in virtual time: delay, loss, repetition, partitions, slow disks, crashes.

Integer milliseconds, one heap of events, one seed: a run is the same wherever it is run. A step's
writes take a while, in which its participant does nothing else, as in the agent; a crash in it, or
between the writes and the sends, is as likely as any other. `tests.raft.harness.checks` looks on.
"""

import heapq
from random import Random

from p2pool.codec.digests import configuration_hash
from p2pool.codec.entries import configuration_in, encode_body
from p2pool.core.raft.raft import Frame, Raft
from p2pool.core.raft.state import Ready
from p2pool.model.errors import P2poolError
from p2pool.model.ids import Digest, NodeId, PeerKey, StoreId
from p2pool.model.log.raft import Configuration, Entry, EntryKind, HardState, Voter
from p2pool.model.messages.raft import AppendRequested, SnapshotSent, VoteRequested
from p2pool.model.messages.registry import Message
from p2pool.model.states import RaftRole
from p2pool.model.timing import TIMINGS, Now, Profile
from tests.raft.harness.checks import Checks
from tests.raft.harness.disk import Disk
from tests.raft.harness.envelopes import Envelopes

LOG_ID = Digest(b"L" * 32)
WALL_MS = 1_700_000_000_000
SYNCED = "synced"
What = None | tuple[str, int] | tuple[int, Message]


def voter(i: int) -> Voter:
    return Voter(NodeId(bytes([i]) * 20), PeerKey(bytes([i]) * 32), StoreId(bytes([i]) * 16))


class Cluster:
    """Five voters and perhaps spare participants, or as many as asked for, and their network.

    `speaks_first` is a planted fault: a driver that sends before its writes are durable.
    """

    def __init__(
        self, seed: int, size: int = 5, compact_every: int = 0, spares: int = 0, keep: int = 0
    ) -> None:
        self.rng = Random(seed)
        self.now_ms = 0
        self.voters = [voter(i) for i in range(size + spares)]
        kind, body = encode_body(Configuration(tuple(self.voters[:size])))
        first = Entry(1, 1, kind, 0, body)
        self.disks = [Disk(HardState(1), entries={1: first}) for _ in range(size)]
        self.disks += [Disk() for _ in range(spares)]
        self.rafts: list[Raft | None] = [None] * len(self.voters)
        self.held: list[Ready | None] = [None] * len(self.voters)
        self.inbox: list[list[What]] = [[] for _ in self.voters]
        self.starts = [0] * len(self.voters)
        self.cut: set[tuple[int, int]] = set()
        self.loss, self.duplicate, self.delay_ms, self.sync_ms = 0.0, 0.0, 5, 2
        self.events: list[tuple[int, int, int, What]] = []
        self.number = 0
        self.compact_every, self.keep = compact_every, keep
        self.applied: list[int] = [0] * len(self.voters)
        self.checks = Checks()
        self.envelopes = Envelopes()
        self.speaks_first = False
        self.changes, self.transfers = 0, 0
        for i in range(len(self.voters)):
            self.start(i)

    @property
    def chosen(self) -> dict[int, Entry]:
        """Every entry that somebody applied."""
        return self.checks.chosen

    # --- the world ----------------------------------------------------------------------------

    def now(self) -> Now:
        return Now(self.now_ms, WALL_MS + self.now_ms)

    def start(self, i: int) -> None:
        """(Re)start a participant from its disk."""
        raft = Raft(
            self.voters[i],
            LOG_ID,
            TIMINGS[Profile.DEFAULT],
            self.disks[i].read(),
            Random(self.rng.randrange(2**32)),
            configuration_hash,
            self.now(),
        )
        raft.state.keep_entries = self.keep
        self.rafts[i], self.applied[i] = raft, raft.state.commit_index
        self.starts[i] += 1
        self._wake(i)

    def crash(self, i: int) -> None:
        """All that is not on the disk is gone, and perhaps the batch that was on its way there."""
        self.disks[i].crash(self.rng)
        self.rafts[i], self.held[i], self.inbox[i] = None, None, []
        self.checks.forgotten(i)

    def run(self, for_ms: int) -> None:
        """Let time pass."""
        end = self.now_ms + for_ms
        while self.events and self.events[0][0] <= end:
            self.now_ms, _, i, what = heapq.heappop(self.events)
            if what is not None and what[0] == SYNCED:
                if what[1] == self.starts[i] and self.held[i] is not None:
                    self._synced(i)
            elif self.held[i] is not None:
                self.inbox[i].append(what)
            else:
                self._step(i, what)
        self.now_ms = end

    def _step(self, i: int, what: What) -> None:
        raft = self.rafts[i]
        if raft is None:
            return
        if what is None:
            due = raft.next_wakeup_ms
            if due is not None and due <= self.now_ms:
                self.do(i, raft.tick(self.now()))
            return
        sender, message = what
        assert isinstance(message, Frame)
        assert isinstance(sender, int)
        speaker = self.voters[sender]
        out = raft.receive(
            message,
            speaker.peer_key,
            self.now(),
            self.envelopes.seal(speaker, message),
            shown=self.envelopes.shown(message),
            proven=self._proven(raft, sender, message),
        )
        self.do(i, out)

    def _proven(self, raft: Raft, sender: int, message: Frame) -> bool:
        """What the exchange of certificates brings: a leader proves itself to whoever lags, and the
        chain of committees whom to vote for."""
        if not isinstance(message, AppendRequested | SnapshotSent | VoteRequested):
            return False
        if not raft.needs_proof(message, self.now()):
            return False
        raft.state.certified_change_index, raft.state.certified_voters = self._certified()
        leads = not isinstance(message, VoteRequested)
        return leads and self.checks.leaders.get(message.term) == sender

    def _certified(self) -> tuple[int, tuple[Voter, ...]]:
        """The last change of the voters that anybody applied."""
        for index in sorted(self.chosen, reverse=True):
            entry = self.chosen[index]
            record = configuration_in(entry)
            if record is not None and not record.is_joint:
                return index, record.voters
        return 0, ()

    def do(self, i: int, out: Ready) -> None:
        """What the driver does with a step: hand the writes over, and the rest once they are
        durable. Nothing else is done by this participant until then."""
        if not out.persist:
            self._finish(i, out)
            return
        self.disks[i].begin(out.persist)
        if self.speaks_first:
            self._send(i, out)
        self.held[i] = out
        self._at(self.now_ms + self.rng.randrange(self.sync_ms), i, (SYNCED, self.starts[i]))

    def _synced(self, i: int) -> None:
        out = self.held[i]
        assert out is not None
        self.disks[i].sync()
        self.held[i] = None
        self._finish(i, out)
        while self.inbox[i] and self.held[i] is None and self.rafts[i] is not None:
            self._step(i, self.inbox[i].pop(0))

    def _finish(self, i: int, out: Ready) -> None:
        """Everything of a step but its writes."""
        raft, disk = self.rafts[i], self.disks[i]
        assert raft is not None
        if not (self.speaks_first and out.persist):
            self._send(i, out)
        self.applied[i] = self.checks.stepped(i, raft, out, disk, self.applied[i])
        if self.compact_every and self.applied[i] - disk.base_index >= self.compact_every:
            self.do(i, raft.compact(b"state" * 20, self.applied[i]))
        self._wake(i)

    def _send(self, i: int, out: Ready) -> None:
        for peer_key, message in out.send:
            self.checks.spoken(message, self.disks[i])
            to = next(j for j, v in enumerate(self.voters) if v.peer_key == peer_key)
            self._post(i, to, message)

    def _post(self, sender: int, to: int, message: Message) -> None:
        if (sender, to) in self.cut or self.rng.random() < self.loss:
            return
        for _ in range(1 + (self.rng.random() < self.duplicate)):
            self._at(self.now_ms + 1 + self.rng.randrange(self.delay_ms), to, (sender, message))

    def _wake(self, i: int) -> None:
        raft = self.rafts[i]
        if raft is not None and raft.next_wakeup_ms is not None:
            self._at(max(self.now_ms, raft.next_wakeup_ms), i, None)

    def _at(self, at_ms: int, i: int, what: What) -> None:
        self.number += 1
        heapq.heappush(self.events, (at_ms, self.number, i, what))

    # --- people -------------------------------------------------------------------------------

    def leader(self) -> int | None:
        """Whoever leads in the highest term, as far as it knows."""
        leading = [
            (raft.state.hard.term, i)
            for i, raft in enumerate(self.rafts)
            if raft is not None and raft.state.role is RaftRole.LEADER
        ]
        return max(leading)[1] if leading else None

    def idle(self, i: int) -> Raft | None:
        """A participant between two steps: it finishes the one that is under way."""
        while self.held[i] is not None:
            self.run(1)
        return self.rafts[i]

    def leading(self) -> tuple[int, Raft] | None:
        """The leader between two steps."""
        i = self.leader()
        raft = self.idle(i) if i is not None else None
        return (i, raft) if i is not None and raft is not None and raft.state.leads else None

    def propose(self, body: bytes, crash: bool = False) -> bool:
        """Ask the leader to append; False where nobody leads, or it will not now."""
        found = self.leading()
        if found is None:
            return False
        i, raft = found
        try:
            out, _ = raft.propose(EntryKind.NODE, body, self.now())
        except P2poolError:
            return False
        self.do(i, out)
        if crash:
            self.crash(i)
        return True

    def read(self, i: int) -> int:
        """Ask a participant to read; the number of the read."""
        raft = self.idle(i)
        assert raft is not None
        self.number += 1
        number = self.number
        self.checks.asked(i, number)
        self.do(i, raft.read(number, self.now()))
        return number

    def transfer(self, to: int) -> bool:
        """Ask the leader to hand leadership on; False where that cannot be now."""
        found = self.leading()
        if found is None:
            return False
        i, raft = found
        try:
            self.do(i, raft.transfer(self.voters[to], self.now()))
        except P2poolError:
            return False
        self.transfers += 1
        return True

    def change(self, wanted: Configuration) -> bool:
        """Ask the leader for another configuration; False where that cannot be now."""
        found = self.leading()
        if found is None:
            return False
        i, raft = found
        try:
            out, _ = raft.change(wanted, self.now())
        except P2poolError:
            return False
        self.changes += 1
        self.do(i, out)
        return True

    def heal(self) -> None:
        """Everybody up, every link whole."""
        self.cut, self.loss, self.duplicate = set(), 0.0, 0.0
        self.delay_ms, self.sync_ms = 5, 2
        for i, raft in enumerate(self.rafts):
            if raft is None:
                self.start(i)
