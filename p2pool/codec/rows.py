"""Rows as bytes: a table's name, a key, the feature level of the value's shape, the value.

Intuition: whoever keeps records for longer than one version lives says with each which version's
shape it has. A reader then knows what it may read with defaults, and what is newer than itself.
The state of a pool is all its rows in one array,
    ["p2pool/state", 1, [table, key, version, value], [table, key, version, value], ...]
where a key and a value are byte strings, the value canonical bytes by itself: so a row is encoded
once for as long as it does not change.

Invariants: a version is the lowest level that writes the value as it is; order is the writer's.
"""

from collections.abc import Iterable, Sequence

import attrs

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import encode_struct, lowest_level, shape_level
from p2pool.model import limits
from p2pool.model.errors import Malformed, TooNew
from p2pool.model.features import BASE_LEVEL, LEVEL_MAX, FeatureLevel
from p2pool.model.ports.store import Put

FORMAT = "p2pool/state"
FORMAT_NUMBER = 1
HEADER_ITEMS = 2
ROW_FIELDS = 4


@attrs.frozen
class Row:
    """One row: `version` is the level of the value's shape."""

    table: str
    key: bytes
    version: FeatureLevel
    value: bytes = attrs.field(repr=False)


def put_record(table: str, key: bytes, record: object) -> Put:
    """A record as a row of the store, in the oldest shape that says all of it: an older version
    reads it for as long as there is nothing in it that only a newer one knows."""
    value, version = encode_record(record)
    return Put(table, key, value, version)


def encode_record(record: object) -> tuple[bytes, FeatureLevel]:
    """The bytes of a record in that shape, and the version of the shape."""
    level = lowest_level(record)
    return encode_struct(record, level), shape_level(type(record), level)


@attrs.define
class RowCache:
    """The bytes of one state's rows, while little of it changes from one encoding to the next.

    It keeps a record's bytes while the record is in its table, so it holds the state once as bytes.
    Only what changed is encoded anew; each encoding still walks all records.
    """

    _level: FeatureLevel = BASE_LEVEL
    _held: dict[str, dict[bytes, tuple[object, bytes]]] = attrs.field(factory=dict)

    def encode(
        self, table: str, records: Iterable[tuple[bytes, object]], level: FeatureLevel
    ) -> list[bytes]:
        """The rows of a table, in their order, as a level writes them."""
        if level != self._level:
            self._level, self._held = level, {}
        before = self._held.get(table, {})
        now: dict[bytes, tuple[object, bytes]] = {}
        for key, record in records:
            known = before.get(key)
            if known is None or (known[0] is not record and known[0] != record):
                known = (record, _row_bytes(table, key, record, level))
            now[key] = known
        if len(now) > limits.RECORD_ITEMS_MAX:
            raise Malformed(f"{table} has more than {limits.RECORD_ITEMS_MAX} rows.")
        self._held[table] = now
        return [data for _, data in now.values()]


def _row_bytes(table: str, key: bytes, record: object, level: FeatureLevel) -> bytes:
    version = shape_level(type(record), level)
    return canonical.encode([table, key, version, encode_struct(record, version)])


def join_rows(rows: Sequence[bytes]) -> bytes:
    """All rows of a state, whose bytes are at hand."""
    head = [canonical.encode(FORMAT), canonical.encode(FORMAT_NUMBER)]
    return canonical.join([*head, *rows])


def split_rows(data: bytes) -> list[Row]:
    """The rows in a state's bytes, in their order; `Malformed` for any others, `TooNew` where only
    a later version can read them. Versions are not judged here, nor are values looked into."""
    if len(data) > limits.SNAPSHOT_MAX_BYTES:
        raise Malformed(f"A state has {limits.SNAPSHOT_MAX_BYTES} bytes at most.")
    items = canonical.decode(data)
    if not isinstance(items, list) or items[:1] != [FORMAT] or len(items) < HEADER_ITEMS:
        raise Malformed("These bytes are no state in rows.")
    number = items[1]
    if type(number) is not int or number < 1:
        raise Malformed("The format of a state is a number from 1.")
    if number > FORMAT_NUMBER:
        raise TooNew(
            f"The state is in format {number}, and this version knows {FORMAT_NUMBER}: a newer "
            "version of p2pool wrote it."
        )
    return [_row(item) for item in items[HEADER_ITEMS:]]


def _row(item: canonical.Value) -> Row:
    if not isinstance(item, list) or len(item) != ROW_FIELDS:
        raise Malformed(f"A row is not an array of {ROW_FIELDS} fields.")
    table, key, version, value = item
    if type(table) is not str or len(table) > limits.NAME_MAX_BYTES:
        raise Malformed("A row does not begin with the name of its table.")
    if type(key) is not bytes or len(key) > limits.ROW_KEY_MAX_BYTES:
        raise Malformed(f"A row of {table} has no key of {limits.ROW_KEY_MAX_BYTES} bytes at most.")
    if type(version) is not int or not BASE_LEVEL <= version <= LEVEL_MAX:
        raise Malformed(f"The version of a row of {table} is not a feature level.")
    if type(value) is not bytes:
        raise Malformed(f"A row of {table} has no value.")
    return Row(table, key, FeatureLevel(version), value)
