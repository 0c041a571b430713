"""What Raft promises, checked from outside: by what is sent, applied and kept, not by its inside.

Intuition: the five properties of the paper's figure 3, that nobody says what is not on its disk
yet, that nobody votes twice in a term, and that a read sees every write that was acknowledged
before it was asked (thesis, 6.4).
"""

from collections.abc import Iterable

import attrs

from p2pool.core.raft.raft import Raft
from p2pool.core.raft.state import Ready
from p2pool.model.ids import StoreId
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.messages.raft import (
    AppendAnswered,
    AppendRequested,
    SnapshotAnswered,
    VoteAnswered,
    VoteRequested,
)
from p2pool.model.messages.registry import Message
from p2pool.model.ports.store import TruncateFrom
from tests.raft.harness.disk import Disk


class Violation(AssertionError):
    """A promise that was not kept."""


@attrs.define
class Checks:
    """What was seen so far."""

    chosen: dict[int, Entry] = attrs.field(factory=dict)
    chosen_in: dict[int, int] = attrs.field(factory=dict)
    leaders: dict[int, int] = attrs.field(factory=dict)
    votes: dict[tuple[int, StoreId], StoreId] = attrs.field(factory=dict)
    reads: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    reads_answered: int = 0
    reads_dropped: int = 0

    # --- what is said ---------------------------------------------------------------------------

    def spoken(self, message: Message, disk: Disk) -> None:
        """Persist before you speak: what a frame claims is on the sender's disk."""
        match message:
            case VoteRequested(pre=False):
                self._voted(message.term, message.candidate.store_id, message.candidate.store_id)
                self._kept(disk, message.term, message.candidate.store_id)
            case VoteAnswered(pre=False, granted=True):
                self._voted(message.term, message.voter.store_id, message.candidate.store_id)
                self._kept(disk, message.term, message.candidate.store_id)
            case AppendAnswered(ok=True):
                self._held(disk, message.term, message.match_index)
            case AppendRequested():
                last = message.entries[-1].index if message.entries else message.previous_index
                self._held(disk, message.term, last)
            case SnapshotAnswered():
                self._held(disk, message.term, 0)
            case _:
                pass

    def _voted(self, term: int, voter: StoreId, candidate: StoreId) -> None:
        if self.votes.setdefault((term, voter), candidate) != candidate:
            raise Violation(f"a store voted twice in term {term}")

    @staticmethod
    def _kept(disk: Disk, term: int, candidate: StoreId) -> None:
        if disk.hard.term <= term and disk.hard != HardState(term, candidate):
            raise Violation(f"a vote of term {term} was told before it was durable")

    @staticmethod
    def _held(disk: Disk, term: int, index: int) -> None:
        if disk.hard.term < term or not disk.holds(index):
            raise Violation(f"entry {index} of term {term} was told before it was durable")

    # --- what is done ---------------------------------------------------------------------------

    def stepped(self, i: int, raft: Raft, out: Ready, disk: Disk, applied: int) -> int:
        """A step of a participant, once it is durable; how far it has applied now."""
        s = raft.state
        if s.leads and any(isinstance(op, TruncateFrom) for op in out.persist):
            raise Violation(f"Leader Append-Only: leader {i} cut its log")
        if out.installed is not None:
            applied = s.snapshot_index
        for entry in out.committed:
            if entry.index != applied + 1:
                raise Violation(f"node {i} applies {entry.index} after {applied}")
            if not disk.holds(entry.index):
                raise Violation(f"node {i} applies {entry.index}, which is not on its disk")
            applied = entry.index
            if self.chosen.setdefault(entry.index, entry) != entry:
                raise Violation(f"State Machine Safety: two entries at {entry.index}")
            self.chosen_in.setdefault(entry.index, s.hard.term)
        self._read(i, out)
        if s.leads:
            self._led(i, raft)
        return applied

    def _led(self, i: int, raft: Raft) -> None:
        log, term = raft.state.log, raft.state.hard.term
        first = term not in self.leaders
        if self.leaders.setdefault(term, i) != i:
            raise Violation(f"Election Safety: two leaders in term {term}")
        if not first:
            return
        for index, entry in self.chosen.items():
            known = index < log.base_index or log.term_at(index) == entry.term
            if self.chosen_in[index] < term and not known:
                raise Violation(f"Leader Completeness: leader of {term} lacks {index}")

    # --- reads ----------------------------------------------------------------------------------

    def asked(self, i: int, number: int) -> None:
        """A read was asked of a participant: it must see all that anybody has applied by now."""
        self.reads[number] = (i, max(self.chosen, default=0))

    def forgotten(self, i: int) -> None:
        """A participant crashed, and its reads with it."""
        self.reads = {n: read for n, read in self.reads.items() if read[0] != i}

    def _read(self, i: int, out: Ready) -> None:
        for number, index in out.readable:
            asked_of, floor = self.reads.pop(number)
            assert asked_of == i, "a read is answered by whoever was asked"
            self.reads_answered += 1
            if index < floor:
                raise Violation(f"a read at {index} misses writes up to {floor}")
        for number in out.unreadable:
            del self.reads[number]
            self.reads_dropped += 1

    # --- at the end -----------------------------------------------------------------------------

    def logs(self, rafts: Iterable[Raft]) -> None:
        """Log Matching: the same index and term, the same entry and all before it."""
        seen: dict[tuple[int, int], Entry] = {}
        before: dict[tuple[int, int], int] = {}
        for raft in rafts:
            term = raft.state.log.base_term
            for entry in raft.state.log.entries:
                key = (entry.index, entry.term)
                if seen.setdefault(key, entry) != entry or before.setdefault(key, term) != term:
                    raise Violation(f"Log Matching: two histories at {key}")
                term = entry.term
