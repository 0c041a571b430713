"""A disk in memory that keeps what was synced, and may lose or keep what was not.

It promises what `drivers.store` does, and nothing kinder: a batch is one transaction, so after a
crash all of it is there or none, and later ones never without earlier ones; a cache drops its
oldest row; what contradicts the store is an assertion. `tears` is a planted fault: a store that
keeps any part of what was not synced.
"""

from random import Random
from typing import ClassVar

import attrs

from p2pool.codec.cbor.structs import decode_struct
from p2pool.core.log.pool_log import COMMIT_KEY
from p2pool.core.worker.worker import META_TABLE, TOKEN_KEY
from p2pool.model.ids import ZERO_TOKEN, Digest, StoreId, Token
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.ports.store import (
    TABLES,
    AppendEntries,
    Batch,
    CompactTo,
    Delete,
    PersistOp,
    Put,
    RenewStore,
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
    base_index: int = 0
    last_index: int = 0
    tears: ClassVar[bool] = False

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
        if self.tears:
            self.unsynced = [tuple(op for op in b if rng.random() < 0.5) for b in self.unsynced]
        kept = rng.randrange(len(self.unsynced) + 1)
        self.unsynced = self.unsynced[:kept]
        self.sync()

    def read(self, wall_ms: int) -> Restored:
        """What a start finds."""
        self.incarnation = max(self.incarnation + 1, wall_ms)
        entries = [e for _, e in sorted(self.entries.items())]
        tables = {name: dict(rows) for name, rows in self.tables.items()}
        return Restored(
            self.store_id,
            self.incarnation,
            self.log_id,
            self.hard,
            self.snapshot,
            tuple(entries),
            tables,
        )

    def token(self) -> Token:
        """The newest token that the worker of this disk obeyed."""
        kept = self.tables[META_TABLE].get(TOKEN_KEY)
        return decode_struct(Token, kept) if kept is not None else ZERO_TOKEN

    def commit_index(self) -> int:
        """How far this disk knows the log to be committed."""
        return int.from_bytes(self.tables[META_TABLE].get(COMMIT_KEY, b""), "big")

    def _apply(self, op: PersistOp) -> None:
        match op:
            case Put():
                self.tables[op.table].pop(op.key, None)
                rows, rule = self.tables[op.table], TABLES[op.table]
                rows[op.key] = op.value
                if len(rows) > rule.max_rows:
                    assert rule.evicts, f"table {op.table} has more than {rule.max_rows} rows"
                    del rows[next(iter(rows))]
            case Delete():
                self.tables[op.table].pop(op.key, None)
            case AppendEntries():
                for entry in op.entries:
                    follows = not self.entries or entry.index == self.last_index + 1
                    assert follows or self.tears, f"entry {entry.index} leaves a gap"
                    self.entries[entry.index] = entry
                    self.last_index = entry.index
            case TruncateFrom():
                self.entries = {i: e for i, e in self.entries.items() if i < op.index}
                self.last_index = op.index - 1
            case CompactTo():
                self.entries = {i: e for i, e in self.entries.items() if i > op.index}
                self.base_index = op.index
            case SaveHardState():
                assert self.log_id in (None, op.log_id)
                self.log_id, self.hard = op.log_id, op.hard_state
            case SaveSnapshot():
                self.snapshot = op.snapshot
            case RenewStore():
                self.store_id = op.store_id
            case ResetLog():
                self.entries, self.snapshot, self.hard = {}, None, HardState()
                self.log_id, self.base_index = op.log_id, 0
