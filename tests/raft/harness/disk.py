"""A disk that loses what was not synced: each batch is there whole after a crash, or not at all."""

from random import Random

import attrs

from p2pool.codec.entries import decode_snapshot
from p2pool.core.raft.raft import RaftRestored
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.ports.store import (
    AppendEntries,
    CompactTo,
    PersistOp,
    SaveHardState,
    SaveSnapshot,
    TruncateFrom,
)


@attrs.define
class Disk:
    """What survives a crash, and the batch that is on its way there.

    `torn`: a planted fault of the disk itself, which then keeps any part of a batch.
    """

    hard: HardState = attrs.field(factory=HardState)
    snapshot: bytes | None = None
    base_index: int = 0
    entries: dict[int, Entry] = attrs.field(factory=dict)
    unsynced: list[PersistOp] = attrs.field(factory=list)
    torn: bool = False

    def begin(self, operations: list[PersistOp]) -> None:
        """A batch is handed over; nothing of it counts yet."""
        assert not self.unsynced, "one batch at a time"
        self.unsynced = operations

    def sync(self) -> None:
        """The batch is durable."""
        operations, self.unsynced = self.unsynced, []
        for op in operations:
            self._apply(op)

    def crash(self, rng: Random) -> None:
        """The machine dies: the batch came to the disk as a whole, or nothing of it did."""
        if self.torn:
            self.unsynced = [_torn(op, rng) for op in self.unsynced if rng.random() < 0.5]
        elif rng.random() < 0.5:
            self.unsynced = []
        self.sync()

    def read(self) -> RaftRestored:
        """What a start finds."""
        entries = tuple(e for _, e in sorted(self.entries.items()))
        return RaftRestored(self.hard, self.snapshot, entries)

    def holds(self, index: int) -> bool:
        """Whether an entry is here, by itself or in the snapshot."""
        return index in self.entries or index <= self.base_index

    def _apply(self, op: PersistOp) -> None:
        match op:
            case SaveHardState():
                self.hard = op.hard_state
            case AppendEntries():
                for entry in op.entries:
                    follows = not self.entries or entry.index == max(self.entries) + 1
                    assert follows or self.torn, "the store takes entries in order only"
                    self.entries[entry.index] = entry
            case TruncateFrom():
                self.entries = {i: e for i, e in self.entries.items() if i < op.index}
            case CompactTo():
                self.entries = {i: e for i, e in self.entries.items() if i > op.index}
            case SaveSnapshot():
                self.snapshot, self.base_index = op.snapshot, decode_snapshot(op.snapshot).index
            case _:
                raise AssertionError(op)


def _torn(op: PersistOp, rng: Random) -> PersistOp:
    """Some entries of several."""
    if not isinstance(op, AppendEntries):
        return op
    return AppendEntries(tuple(e for e in op.entries if rng.random() < 0.5))
