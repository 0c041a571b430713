"""A disk in memory that keeps what was synced, and may lose or keep what was not."""

from random import Random

import attrs

from p2pool.model.ids import Digest, StoreId
from p2pool.model.raft import Entry, HardState
from p2pool.model.storage import (
    TABLES,
    AppendEntries,
    Batch,
    CompactTo,
    Delete,
    PersistOp,
    Put,
    ResetLog,
    Restored,
    SaveHardState,
    SaveSnapshot,
    TruncateFrom,
)


@attrs.define
class Disk:
    """What survives a crash. A batch is written whole or not at all."""

    store_id: StoreId
    incarnation: int = 0
    log_id: Digest | None = None
    hard: HardState = attrs.field(factory=HardState)
    snapshot: bytes | None = None
    entries: dict[int, Entry] = attrs.field(factory=dict)
    tables: dict[str, dict[bytes, bytes]] = attrs.field(
        factory=lambda: {name: {} for name in TABLES}
    )
    unsynced: list[Batch] = attrs.field(factory=list)

    def begin(self, batch: Batch) -> None:
        """A write is handed to the disk."""
        self.unsynced.append(batch)

    def sync(self) -> None:
        """All that was handed over is durable."""
        for batch in self.unsynced:
            for operation in batch:
                self._apply(operation)
        self.unsynced = []

    def crash(self, rng: Random) -> None:
        """Of what was not synced, some first batches may have come to the disk."""
        kept = rng.randrange(len(self.unsynced) + 1)
        self.unsynced = self.unsynced[:kept]
        self.sync()

    def read(self, wall_ms: int) -> Restored:
        """What a start finds."""
        self.incarnation = max(self.incarnation + 1, wall_ms)
        entries = [e for _, e in sorted(self.entries.items())]
        tables = {name: dict(rows) for name, rows in self.tables.items()}
        return Restored(
            self.store_id, self.incarnation, self.log_id, self.hard, self.snapshot,
            tuple(entries), tables,
        )  # fmt: skip

    def _apply(self, op: PersistOp) -> None:
        match op:
            case Put():
                self.tables[op.table].pop(op.key, None)
                self.tables[op.table][op.key] = op.value
                assert len(self.tables[op.table]) <= TABLES[op.table].max_rows
            case Delete():
                self.tables[op.table].pop(op.key, None)
            case AppendEntries():
                for entry in op.entries:
                    assert not self.entries or entry.index == max(self.entries) + 1
                    self.entries[entry.index] = entry
            case TruncateFrom():
                self.entries = {i: e for i, e in self.entries.items() if i < op.index}
            case CompactTo():
                self.entries = {i: e for i, e in self.entries.items() if i > op.index}
            case SaveHardState():
                assert self.log_id in (None, op.log_id)
                self.log_id, self.hard = op.log_id, op.hard_state
            case SaveSnapshot():
                self.snapshot = op.snapshot
            case ResetLog():
                self.entries, self.snapshot, self.hard = {}, None, HardState()
                self.log_id = op.log_id
