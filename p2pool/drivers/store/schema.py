"""The database's tables: created, bound to one pool, and read whole at each start.

Everything here is synchronous and runs in the connection's thread. `user_version` is the version of
the schema: a newer one is refused, an older one would be migrated here. WAL with synchronous=FULL:
a commit returns after the WAL was synced, and SQLite's checksums discard a frame that a crash tore,
as if it had never been written (sqlite.org/wal.html).
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from p2pool.model.errors import DataDirInUse, Misconfigured, StoreFailed
from p2pool.model.ids import STORE_ID_BYTES, Digest, PoolRef, StoreId
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.ports.store import TABLES, Restored

APPLICATION_ID = 0x70327031  # "p2p1"
SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    chain_id TEXT NOT NULL, contract BLOB NOT NULL, pool_id TEXT NOT NULL,
    store_id BLOB NOT NULL, incarnation INTEGER NOT NULL
) STRICT;
CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    log_id BLOB NOT NULL, term INTEGER NOT NULL, voted_for BLOB
) STRICT;
CREATE TABLE snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), bytes BLOB NOT NULL) STRICT;
CREATE TABLE entries (
    idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL,
    proposed_at_ms INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE rows (
    seq INTEGER PRIMARY KEY, tbl TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    UNIQUE (tbl, key)
) STRICT;
"""


def configure(db: apsw.Connection) -> None:
    """Set the pragmas that make a commit durable and keep the files small."""
    db.set_busy_timeout(1_000)
    db.pragma("journal_mode", "WAL")
    db.pragma("synchronous", "FULL")
    db.pragma("foreign_keys", "ON")
    db.pragma("journal_size_limit", 64 * 1024 * 1024)


def open_schema(db: apsw.Connection, path: Path, pool: PoolRef, wall_ms: int) -> Restored:
    """Make or check the tables, count this start, and read everything back.

    Raises DataDirInUse if the store belongs to another pool, Misconfigured if a newer version
    wrote it, StoreFailed if it is damaged.
    """
    version = db.pragma("user_version")
    fresh = version == 0 and not one(db, "SELECT count(*) FROM sqlite_schema")
    if not fresh:
        _check_version(db, path, version)
    with db:
        if fresh:
            _create(db, pool)
        store_id, before = _identity(db, path, pool)
        incarnation = max(before + 1, wall_ms)
        db.execute("UPDATE identity SET incarnation = ?", (incarnation,))
    return _read(db, store_id, incarnation)


def one(db: apsw.Connection, sql: str, bindings: Sequence[Any] = ()) -> Any:
    """The first row's only column, or None without a row."""
    return db.execute(sql, bindings).get


def _check_version(db: apsw.Connection, path: Path, version: int) -> None:
    if db.pragma("application_id") != APPLICATION_ID:
        raise Misconfigured(
            f"The database in {path} is not p2pool's.",
            hint="Name another directory with --data-dir.",
        )
    if version > SCHEMA_VERSION:
        raise Misconfigured(
            f"The store in {path} was written by a newer version of p2pool "
            f"(schema {version}, this one knows {SCHEMA_VERSION}).",
            hint="Upgrade p2pool.",
        )
    check = one(db, "PRAGMA quick_check(1)")
    if check != "ok":
        raise StoreFailed(
            f"The store in {path} is damaged: {check}.",
            hint="Move its store.db* files away; the node starts again as a learner.",
        )


def _create(db: apsw.Connection, pool: PoolRef) -> None:
    db.execute(SCHEMA)
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", SCHEMA_VERSION)
    db.execute(
        "INSERT INTO identity VALUES (1, ?, ?, ?, ?, 0)",
        (
            str(pool.chain_id),
            bytes(pool.contract),
            str(pool.pool_id),
            secrets.token_bytes(STORE_ID_BYTES),
        ),
    )


def _identity(db: apsw.Connection, path: Path, pool: PoolRef) -> tuple[StoreId, int]:
    row = db.execute(
        "SELECT chain_id, contract, pool_id, store_id, incarnation FROM identity"
    ).fetchone()
    if row is None:
        raise StoreFailed(f"The store in {path} is damaged: it has no identity.")
    chain_id, contract, pool_id, store_id, incarnation = row
    if (chain_id, contract, pool_id) != (
        str(pool.chain_id),
        bytes(pool.contract),
        str(pool.pool_id),
    ):
        raise DataDirInUse(
            f"The data directory {path} belongs to pool {pool_id} of contract "
            f"0x{contract.hex()} on chain {chain_id}, not to pool {pool.pool_id} of "
            f"0x{pool.contract.hex()} on chain {pool.chain_id}.",
            hint="Name another directory with --data-dir, or correct [chain] and [pool].",
        )
    return StoreId(store_id), incarnation


def _read(db: apsw.Connection, store_id: StoreId, incarnation: int) -> Restored:
    log = db.execute("SELECT log_id, term, voted_for FROM log").fetchone()
    entries = tuple(
        Entry(index=index, term=term, kind=kind, proposed_at_ms=at_ms, body=body)
        for index, term, kind, at_ms, body in db.execute(
            "SELECT idx, term, kind, proposed_at_ms, body FROM entries ORDER BY idx"
        )
    )
    if entries and entries[-1].index - entries[0].index + 1 != len(entries):
        raise StoreFailed("The store is damaged: entries of the log are missing.")
    tables: dict[str, dict[bytes, bytes]] = {name: {} for name in TABLES}
    for table, key, value in db.execute("SELECT tbl, key, value FROM rows ORDER BY seq"):
        # A table that only another version knows stays on disk; we do not read it.
        if table in tables:
            tables[table][key] = value
    return Restored(
        store_id=store_id,
        incarnation=incarnation,
        log_id=Digest(log[0]) if log else None,
        hard_state=HardState(log[1], StoreId(log[2]) if log[2] else None) if log else HardState(),
        snapshot=one(db, "SELECT bytes FROM snapshot"),
        entries=entries,
        tables=tables,
    )
