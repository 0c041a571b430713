"""The replicated state as rows, and back: the content of a snapshot, and the input of its digest.

Intuition: a replica that cannot read a part of the state must not decide on the rest. So it reads
everything or nothing: it refuses a table, row or level that it does not know, with a sentence that
says what to do, and leaves the disk as it is.

Invariants: equal logs give equal bytes; `encode_state(decode_state(data)) == data`. `RowCache`
encodes a record once for as long as it is in the state; a digest still walks and hashes all rows.
"""

from collections.abc import Sequence
from typing import Any

from p2pool.codec.cbor.structs import decode_struct, shape_level
from p2pool.codec.digests import digest
from p2pool.codec.rows import Row, join_rows, split_rows
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage import array
from p2pool.core.fsm.storage.tables import (
    META,
    META_ROWS,
    TABLES,
    AppliedRow,
    LevelRow,
    MetaRow,
    Table,
)
from p2pool.model import features
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import Address, Digest, PoolRef, StateDigest
from p2pool.model.log.state_digests import DigestAlgorithm, state_digest

NO_POOL = PoolRef(0, Address(bytes(20)), 0)
ORDER = {name: place for place, name in enumerate([META, *(table.name for table in TABLES)])}


def encode_state(state: PoolState) -> bytes:
    """The state as canonical bytes: `Snapshot.state`."""
    level, cache = state.level, state.row_cache
    meta = []
    for one in META_ROWS:
        if one.since <= level:
            meta.append((one.key, one.of(state)))
        else:
            assert one.of(state) == one.default, f"{one.key!r} is of level {one.since}, not {level}"
    rows = cache.encode(META, meta, level)
    for table in TABLES:
        records = [(table.key(record), record) for record in table.records(state)]
        assert not records or table.since <= level, f"{table.name} is of level {table.since}"
        if len(records) > table.most:
            raise Malformed(f"The state has more than {table.most} {table.name}.")
        rows += cache.encode(table.name, records, level)
    return join_rows(rows)


def digest_of(state: PoolState) -> StateDigest:
    """The digest of a state, by its level's algorithm; computed once for each applied index."""
    if state.known_digest is None or state.known_digest[0] != state.applied_index:
        made = state_digest(DigestAlgorithm.ROWS, digest(encode_state(state)))
        state.known_digest = (state.applied_index, made)
    return state.known_digest[1]


def digest_in(data: bytes) -> StateDigest:
    """The digest of the state in a snapshot's bytes, read or not."""
    return state_digest(DigestAlgorithm.ROWS, digest(data))


def history_in(data: bytes) -> Digest:
    """The history of the state in a snapshot's bytes, whose rows can be read."""
    found = next(row for row in split_rows(data) if (row.table, row.key) == (META, b"applied"))
    return decode_struct(AppliedRow, found.value, found.version).history


def digest_by(algorithm: DigestAlgorithm, state: PoolState) -> StateDigest | None:
    """The digest of a state by a given algorithm; None if the algorithm is older than the state and
    does not cover all of it."""
    if algorithm is DigestAlgorithm.ARRAY:
        if state.level > BASE_LEVEL:
            return None
        return state_digest(algorithm, digest(array.encode_array(state)))
    return state_digest(algorithm, digest(encode_state(state)))


def decode_state(data: bytes) -> PoolState:
    """The state in a snapshot's bytes; `Malformed` (or `BadSpec`) for any others, `TooNew` if only
    a later version can read it."""
    return state_of(split_rows(data))


def state_of(rows: Sequence[Row]) -> PoolState:
    """The state in its rows; raises as `decode_state` does."""
    level = level_in(rows).level
    if level > features.newest():
        raise TooNew(
            f"The state is of feature level {level}, and this version of p2pool knows "
            f"{features.newest()}: a newer one wrote it."
        )
    found = _by_table(rows)
    state = PoolState(NO_POOL, 0)
    _read_meta(state, found[META], level)
    for table in TABLES:
        _read_table(state, table, found[table.name], level)
    return state


def level_in(rows: Sequence[Row]) -> LevelRow:
    """The level of the pool, which every version writes first, in the same form."""
    first = rows[0] if rows else None
    if first is None or (first.table, first.key) != (META, META_ROWS[0].key):
        raise Malformed("A state does not begin with its feature level.")
    return decode_struct(LevelRow, first.value, BASE_LEVEL)


def _by_table(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each table; the tables must come in order, each once."""
    found: dict[str, list[Row]] = {name: [] for name in ORDER}
    place = 0
    for row in rows:
        if row.table not in ORDER:
            raise TooNew(
                f"The state has a table {row.table!r}, which this version of p2pool does not know: "
                "a newer one wrote it."
            )
        if ORDER[row.table] < place:
            raise Malformed(f"The rows of {row.table} are out of order.")
        place = ORDER[row.table]
        found[row.table].append(row)
    return found


def _read_meta(state: PoolState, rows: list[Row], level: FeatureLevel) -> None:
    """Read exactly the rows that the level has, in order."""
    wanted: list[MetaRow] = [one for one in META_ROWS if one.since <= level]
    known = {one.key for one in META_ROWS}
    for row in rows:
        if row.key not in known:
            raise TooNew(
                f"The state says {row.key.decode(errors='replace')!r}, which this version of "
                "p2pool does not know: a newer one wrote it."
            )
    if [row.key for row in rows] != [one.key for one in wanted]:
        raise Malformed("The rows of meta are incomplete, repeated or out of order.")
    for one, row in zip(wanted, rows, strict=True):
        one.take(state, _record(one.record, row, level))


def _read_table(state: PoolState, table: Table, rows: list[Row], level: FeatureLevel) -> None:
    """Read all records of a table, each once."""
    if len(rows) > table.most or (rows and table.since > level):
        raise Malformed(f"The state has {len(rows)} {table.name}, more than there may be.")
    seen: set[bytes] = set()
    for row in rows:
        record = _record(table.record, row, level)
        if row.key in seen or row.key != table.key(record):
            raise Malformed(f"A row of {table.name} has the key of another.")
        seen.add(row.key)
        table.take(state, record)


def _record(cls: type, row: Row, level: FeatureLevel) -> Any:
    """Decode a row's value, which has the shape of the state's level."""
    if row.version > features.newest():
        raise TooNew(
            f"A row of {row.table} is of version {row.version}, and this version of p2pool knows "
            f"{features.newest()}: a newer one wrote it."
        )
    if row.version != shape_level(cls, level):
        raise Malformed(f"A row of {row.table} has version {row.version} in a state of {level}.")
    return decode_struct(cls, row.value, row.version)
