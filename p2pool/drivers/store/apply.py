"""Applies one operation of the core as SQL: a table from operation to statement.

Runs in the connection's thread, inside the group's transaction. A violated invariant of
`ports.store` is a bug of ours and an assertion: the transaction rolls back and the agent ends, so
no voter continues with a hole in its log.
"""

from collections.abc import Callable

import apsw

from p2pool.drivers.store.schema import one
from p2pool.model.ports.store import (
    SECRET_BLOBS_TABLE,
    SECRET_KEYS_TABLE,
    TABLES,
    AppendEntries,
    Batch,
    CompactTo,
    Delete,
    PersistOp,
    Put,
    RenewStore,
    ResetLog,
    SaveHardState,
    SaveSnapshot,
    TruncateFrom,
)

SCRUBBED = (SECRET_BLOBS_TABLE, SECRET_KEYS_TABLE)
"""Tables whose deleted rows are overwritten: with the peer key they would open."""


class Applier:
    """Applies operations to one connection, and counts the rows of each named table."""

    def __init__(self, db: apsw.Connection) -> None:
        """Count the existing rows once; the store is the only writer."""
        self._db = db
        self._rows = dict.fromkeys(TABLES, 0)
        self._scrubs = False
        for table, count in db.execute("SELECT tbl, count(*) FROM rows GROUP BY tbl"):
            self._rows[table] = count
        # Each handler takes exactly the class beside it, which the type of a dict cannot express.
        self._handlers: dict[type, Callable[..., None]] = {
            Put: self._put,
            Delete: self._delete,
            AppendEntries: self._append,
            TruncateFrom: self._truncate,
            CompactTo: self._compact,
            SaveHardState: self._save_hard_state,
            SaveSnapshot: self._save_snapshot,
            ResetLog: self._reset,
            RenewStore: self._renew,
        }

    def commit(self, batches: list[Batch]) -> None:
        """Apply all batches in one transaction; durable when this returns."""
        with self._db:
            for batch in batches:
                for operation in batch:
                    self._apply(operation)
        if self._scrubs:
            self._scrubs = False
            self._empty_journal()

    def _empty_journal(self) -> None:
        """What was deleted stands in no frame of the journal either. Nobody else reads it, but a
        backup may: then the next one does this."""
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            self._scrubs = True

    def _apply(self, operation: PersistOp) -> None:
        self._handlers[type(operation)](operation)

    def _put(self, put: Put) -> None:
        self._remove(put.table, put.key)
        # A new row even for a known key, so `seq` is the order of writing, oldest first.
        self._db.execute(
            "INSERT INTO rows (tbl, key, value, version) VALUES (?, ?, ?, ?)",
            (put.table, put.key, put.value, put.version),
        )
        self._rows[put.table] += 1
        rule = TABLES[put.table]
        if self._rows[put.table] > rule.max_rows:
            assert rule.evicts, f"table {put.table} has more than {rule.max_rows} rows"
            oldest = one(
                self._db, "SELECT key FROM rows WHERE tbl = ? ORDER BY seq LIMIT 1", (put.table,)
            )
            self._remove(put.table, oldest)

    def _delete(self, delete: Delete) -> None:
        self._remove(delete.table, delete.key)

    def _remove(self, table: str, key: bytes) -> None:
        scrubs = table in SCRUBBED
        if scrubs:
            self._db.pragma("secure_delete", True)
        self._db.execute("DELETE FROM rows WHERE tbl = ? AND key = ?", (table, key))
        gone = self._db.changes()
        self._rows[table] -= gone
        if scrubs:
            self._db.pragma("secure_delete", False)
            self._scrubs = self._scrubs or bool(gone)

    def _append(self, append: AppendEntries) -> None:
        if not append.entries:
            return
        last = one(self._db, "SELECT max(idx) FROM entries")
        expected = append.entries[0].index if last is None else last + 1
        for entry in append.entries:
            assert entry.index == expected, f"entry {entry.index} appended where {expected} is next"
            expected += 1
        self._db.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
            [(e.index, e.term, int(e.kind), e.proposed_at_ms, e.body) for e in append.entries],
        )

    def _truncate(self, truncate: TruncateFrom) -> None:
        self._db.execute("DELETE FROM entries WHERE idx >= ?", (truncate.index,))

    def _compact(self, compact: CompactTo) -> None:
        self._db.execute("DELETE FROM entries WHERE idx <= ?", (compact.index,))

    def _save_hard_state(self, save: SaveHardState) -> None:
        held = one(self._db, "SELECT log_id FROM log")
        assert held in (None, save.log_id), "hard state of a log that is not the one held"
        state = save.hard_state
        self._db.execute(
            "INSERT OR REPLACE INTO log VALUES (1, ?, ?, ?)",
            (save.log_id, state.term, state.voted_for),
        )

    def _save_snapshot(self, save: SaveSnapshot) -> None:
        self._db.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?)", (save.snapshot,))

    def _reset(self, reset: ResetLog) -> None:
        self._db.execute("DELETE FROM entries")
        self._db.execute("DELETE FROM snapshot")
        self._db.execute("INSERT OR REPLACE INTO log VALUES (1, ?, 0, NULL)", (reset.log_id,))

    def _renew(self, renew: RenewStore) -> None:
        self._db.execute("UPDATE identity SET store_id = ?", (renew.store_id,))
