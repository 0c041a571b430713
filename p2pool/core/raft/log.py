"""The log in memory: entries after a snapshot, with the checks of Raft's figure 2.

Indexes begin at 1. What lies at or below `base_index` is in a snapshot; of it only the index and
the term of the last entry are known here. Invariants: indexes are without gaps, terms never fall,
and nothing at or below what is committed is ever cut off (our own bug: assert).
"""

import attrs

from p2pool.model import limits
from p2pool.model.raft import Entry


@attrs.define
class RaftLog:
    """Entries `base_index` + 1 to `last_index`."""

    base_index: int = 0
    base_term: int = 0
    entries: list[Entry] = attrs.field(factory=list)

    @property
    def last_index(self) -> int:
        """Index of the last entry, or of the snapshot where there is none after it."""
        return self.base_index + len(self.entries)

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self.entries[-1].term if self.entries else self.base_term

    def term_at(self, index: int) -> int | None:
        """Term of the entry at an index; None where it is compacted away or not there yet."""
        if index == self.base_index:
            return self.base_term
        if index < self.base_index or index > self.last_index:
            return None
        return self.entries[index - self.base_index - 1].term

    def at(self, index: int) -> Entry:
        """The entry at an index that is held."""
        assert self.base_index < index <= self.last_index, index
        return self.entries[index - self.base_index - 1]

    def after(self, index: int) -> tuple[Entry, ...]:
        """Entries after an index, as many as one frame takes (at least one, if there is any)."""
        assert index >= self.base_index, "what is compacted travels as a snapshot"
        start, size = index - self.base_index, 0
        batch: list[Entry] = []
        for entry in self.entries[start : start + limits.APPEND_BATCH_MAX_ENTRIES]:
            size += len(entry.body)
            if batch and size > limits.APPEND_BATCH_MAX_BYTES:
                break
            batch.append(entry)
        return tuple(batch)

    def between(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries from `first` to `last`, both included."""
        return tuple(self.entries[first - self.base_index - 1 : last - self.base_index])

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Add entries that follow on the last one."""
        for entry in entries:
            assert entry.index == self.last_index + 1, "an entry leaves a gap"
            assert entry.term >= self.last_term, "a term fell"
            self.entries.append(entry)

    def cut_from(self, index: int) -> None:
        """Drop the entry at an index and all after it."""
        assert index > self.base_index, "a snapshot cannot be cut"
        del self.entries[index - self.base_index - 1 :]

    def compact(self, index: int, term: int) -> None:
        """Let a snapshot at an index stand for all up to it."""
        if index <= self.base_index:
            return
        keep = self.entries[index - self.base_index :] if self.term_at(index) == term else []
        self.base_index, self.base_term, self.entries = index, term, keep

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether another log is at least as up to date as this one (Raft, 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def first_of_term(self, index: int) -> tuple[int, int]:
        """For fast back-up: the first index held of the term at an index, and that term."""
        term = self.term_at(index)
        assert term is not None
        while index - 1 > self.base_index and self.term_at(index - 1) == term:
            index -= 1
        return index, term

    def last_of_term(self, term: int) -> int | None:
        """The last index held of a term, or None."""
        for entry in reversed(self.entries):
            if entry.term == term:
                return entry.index
            if entry.term < term:
                return None
        return self.base_index if self.base_term == term and self.base_index else None
