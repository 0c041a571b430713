"""The log in memory: entries after a base, with the checks of Raft's figure 2.

Indexes begin at 1. What lies at or below `base_index` is in a snapshot; of it only the index and
the term of the last entry are known here. The snapshot may reach further than the base: some
entries that it covers stay, so that a follower that is a little behind is served entries.

Invariants: indexes are without gaps, terms never fall, and nothing at or below what is committed is
ever cut off (our own bug: assert).
"""

from bisect import bisect_left, bisect_right

import attrs

from p2pool.model import limits
from p2pool.model.log.raft import Entry


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

    def bytes_after(self, index: int) -> int:
        """How much the entries after an index weigh."""
        return sum(len(e.body) for e in self.entries[max(0, index - self.base_index) :])

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

    def restore(self, index: int, term: int, entries: tuple[Entry, ...]) -> None:
        """Take what a disk held beside a snapshot at an index (0 without one).

        Where the entries begin within the snapshot, the first of them tells the term at the base.
        """
        self.base_index, self.base_term, self.entries = index, term, []
        if entries and entries[0].index <= index:
            self.base_index, self.base_term = entries[0].index, entries[0].term
            entries = entries[1:]
        self.append(entries)
        assert self.term_at(index) == term, "the disk holds a log of another history"

    def tail_before(self, index: int, most: int) -> int:
        """Where a tail of entries up to an index begins: `most` of them, and a bound of bytes."""
        begin, size = index, 0
        while begin > self.base_index and index - begin < most:
            size += len(self.at(begin).body)
            if size > limits.SNAPSHOT_KEEP_BYTES:
                break
            begin -= 1
        return begin

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Whether another log is at least as up to date as this one (Raft, 5.4.1)."""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def first_of_term(self, index: int) -> tuple[int, int]:
        """For fast back-up: the first index held of the term at an index, and that term."""
        term = self.term_at(index)
        assert term is not None
        if index == self.base_index:
            return index, term
        return self.base_index + 1 + bisect_left(self.entries, term, key=_term), term

    def last_up_to(self, term: int) -> int:
        """The last index held of a term, or of an earlier one where there is none of it."""
        return self.base_index + bisect_right(self.entries, term, key=_term)


def _term(entry: Entry) -> int:
    return entry.term
