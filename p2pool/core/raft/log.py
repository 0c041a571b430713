"""The log in memory: entries after a base, with the checks of Raft's figure 2.

Indexes begin at 1. The snapshot covers everything up to `base_index`; of that the log keeps only
the index and term of the last entry. The snapshot may reach past the base: some entries that it
covers stay, so a follower that is a little behind still gets entries.

Invariants: indexes have no gaps, terms never fall, and a committed entry is never cut off (that
would be our own bug: assert).
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
        """Index of the last entry, or of the base if the log holds none."""
        return self.base_index + len(self.entries)

    @property
    def last_term(self) -> int:
        """Term of the last entry."""
        return self.entries[-1].term if self.entries else self.base_term

    def term_at(self, index: int) -> int | None:
        """Term of the entry at an index; None if it is compacted away or not there yet."""
        if index == self.base_index:
            return self.base_term
        if index < self.base_index or index > self.last_index:
            return None
        return self.entries[index - self.base_index - 1].term

    def at(self, index: int) -> Entry:
        """The entry at an index that the log holds."""
        assert self.base_index < index <= self.last_index, index
        return self.entries[index - self.base_index - 1]

    def after(self, index: int) -> tuple[Entry, ...]:
        """Entries after an index, as many as fit one frame (at least one, if there is any)."""
        assert index >= self.base_index, "compacted entries travel as a snapshot"
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
        """The size of the entries after an index."""
        return sum(len(e.body) for e in self.entries[max(0, index - self.base_index) :])

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Add entries that follow the last one."""
        for entry in entries:
            assert entry.index == self.last_index + 1, "an entry leaves a gap"
            assert entry.term >= self.last_term, "a term fell"
            self.entries.append(entry)

    def cut_from(self, index: int) -> None:
        """Drop the entry at an index and all after it."""
        assert index > self.base_index, "a snapshot cannot be cut"
        del self.entries[index - self.base_index - 1 :]

    def compact(self, index: int, term: int) -> None:
        """Drop the entries up to an index that a snapshot covers."""
        if index <= self.base_index:
            return
        keep = self.entries[index - self.base_index :] if self.term_at(index) == term else []
        self.base_index, self.base_term, self.entries = index, term, keep

    def restore(self, index: int, term: int, entries: tuple[Entry, ...]) -> None:
        """Restore the entries that a disk held beside a snapshot at an index (0 without one).

        If the entries begin within the snapshot, the first of them is the base.
        """
        self.base_index, self.base_term, self.entries = index, term, []
        if entries and entries[0].index <= index:
            self.base_index, self.base_term = entries[0].index, entries[0].term
            entries = entries[1:]
        self.append(entries)
        assert self.term_at(index) == term, "the disk holds a log of another history"

    def tail_before(self, index: int, most: int) -> int:
        """Where a tail of entries up to an index begins: `most` entries, in a bound of bytes."""
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
        """For fast back-up: the first index in the log of the term at an index, and that term."""
        term = self.term_at(index)
        assert term is not None
        if index == self.base_index:
            return index, term
        return self.base_index + 1 + bisect_left(self.entries, term, key=_term), term

    def last_up_to(self, term: int) -> int:
        """The last index in the log with a term, or an earlier one if no entry has it."""
        return self.base_index + bisect_right(self.entries, term, key=_term)


def _term(entry: Entry) -> int:
    return entry.term
