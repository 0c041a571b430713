"""The database's tables: created, bound to one pool, and read whole at each start.

Everything here is synchronous and runs in the connection's thread. `user_version` is the version of
the schema: a newer one is refused, an older one was migrated before (`store.migrations`). WAL with
synchronous=FULL: a commit returns after the WAL was synced, and SQLite's checksums discard a frame
that a crash tore, as if it had never been written (sqlite.org/wal.html).

Invariant: `identity`, and from schema 2 on `writer`, keep their columns for ever. They tell a
program of any version whose store it is, and which version can read it.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from p2pool import __version__
from p2pool.drivers.store.failures import DAMAGED_HINT
from p2pool.drivers.store.owner import claim
from p2pool.model import features
from p2pool.model.errors import DataDirInUse, Misconfigured, StoreFailed, TooOld
from p2pool.model.ids import STORE_ID_BYTES, Digest, NodeId, PoolRef, StoreId
from p2pool.model.log.raft import Entry, HardState
from p2pool.model.ports.store import TABLES, Restored

APPLICATION_ID = 0x70327031  # "p2p1"
SCHEMA_VERSION = 2

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
    version INTEGER NOT NULL DEFAULT 1,
    UNIQUE (tbl, key)
) STRICT;
CREATE TABLE writer (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version TEXT NOT NULL
) STRICT;
"""


def configure(db: apsw.Connection) -> None:
    """Set the pragmas that make a commit durable and keep the files small."""
    db.set_busy_timeout(1_000)
    db.pragma("journal_mode", "WAL")
    db.pragma("synchronous", "FULL")
    db.pragma("foreign_keys", "ON")
    db.pragma("journal_size_limit", 64 * 1024 * 1024)


def open_schema(
    db: apsw.Connection, path: Path, pool: PoolRef, wall_ms: int, node_id: NodeId | None
) -> Restored:
    """Make or check the tables, count this start, and read everything back.

    Raises DataDirInUse if the store belongs to another pool or node, Misconfigured if it is not
    p2pool's, TooOld if a newer version wrote what this one cannot read, StoreFailed if it is
    damaged.
    """
    fresh = schema_version(db, path) is None
    if not fresh:
        _check_sound(db, path)
        check_rows(db, path)
    with db:
        if fresh:
            _create(db, pool)
        store_id, before = check_identity(db, path, pool)
        if node_id is not None:
            claim(db, path, node_id)
        incarnation = max(before + 1, wall_ms)
        db.execute("UPDATE identity SET incarnation = ?", (incarnation,))
        note_writer(db)
    return read_all(db, store_id, incarnation)


def one(db: apsw.Connection, sql: str, bindings: Sequence[Any] = ()) -> Any:
    """The first row's only column, or None without a row."""
    return db.execute(sql, bindings).get


def schema_version(db: apsw.Connection, path: Path) -> int | None:
    """The version of the schema, None where there are no tables yet. Raises Misconfigured for a
    database that is not p2pool's, TooOld for a schema that only a newer version knows."""
    version = int(db.pragma("user_version"))
    if version == 0 and not one(db, "SELECT count(*) FROM sqlite_schema"):
        return None
    if db.pragma("application_id") != APPLICATION_ID or version < 1:
        raise Misconfigured(
            f"The database in {path} is not p2pool's.",
            hint="Name another directory with --data-dir.",
        )
    if version > SCHEMA_VERSION:
        raise _too_old(db, path, f"in schema {version}", f"schemas up to {SCHEMA_VERSION}")
    return version


def check_rows(db: apsw.Connection, path: Path) -> None:
    """Raise TooOld where a row has a shape that only a newer version knows: to leave it out would
    be to forget it."""
    found = one(db, "SELECT max(version) FROM rows") or features.BASE_LEVEL
    if found > features.newest():
        raise _too_old(
            db, path, f"with rows of feature level {found}", f"levels up to {features.newest()}"
        )


def note_writer(db: apsw.Connection) -> None:
    """Write down which version of the program writes here now."""
    db.execute("INSERT OR REPLACE INTO writer VALUES (1, ?)", (__version__,))


def _too_old(db: apsw.Connection, path: Path, form: str, known: str) -> TooOld:
    """The sentence for a store that a newer version wrote, by the name that it left."""
    named = one(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'writer'")
    writer = one(db, "SELECT version FROM writer") if named else None
    by, wanted = (f"p2pool {writer}", f"p2pool {writer} or later") if writer else (
        "a newer p2pool", "the newer p2pool"
    )  # fmt: skip
    return TooOld(
        f"The store in {path} was written by {by}, {form}; this is p2pool {__version__}, "
        f"which knows {known}.",
        hint=f"Install {wanted} on this machine, then start the agent again.",
    )


def _check_sound(db: apsw.Connection, path: Path) -> None:
    check = one(db, "PRAGMA quick_check(1)")
    if check != "ok":
        raise StoreFailed(f"The store in {path} is damaged: {check}.", hint=DAMAGED_HINT)


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


def check_identity(db: apsw.Connection, path: Path, pool: PoolRef) -> tuple[StoreId, int]:
    """The store's name and its last start. Raises DataDirInUse when it is of another pool."""
    row = db.execute(
        "SELECT chain_id, contract, pool_id, store_id, incarnation FROM identity"
    ).fetchone()
    if row is None:
        raise StoreFailed(f"The store in {path} is damaged: it has no identity.", hint=DAMAGED_HINT)
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


def read_all(db: apsw.Connection, store_id: StoreId, incarnation: int) -> Restored:
    """Everything in the store. Raises StoreFailed when some of it is missing."""
    log = db.execute("SELECT log_id, term, voted_for FROM log").fetchone()
    entries = tuple(
        Entry(index=index, term=term, kind=kind, proposed_at_ms=at_ms, body=body)
        for index, term, kind, at_ms, body in db.execute(
            "SELECT idx, term, kind, proposed_at_ms, body FROM entries ORDER BY idx"
        )
    )
    if entries and entries[-1].index - entries[0].index + 1 != len(entries):
        raise StoreFailed(
            "The store is damaged: entries of the log are missing.", hint=DAMAGED_HINT
        )
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
