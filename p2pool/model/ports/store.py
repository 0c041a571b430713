"""The core's view of the disk: operations to write, and the state restored at a start.

The core emits operations, and the store makes a batch of them durable as one: all or none, in
order. One store holds one log at a time (`ResetLog` begins another) and a few small named tables.

Invariants: entries are contiguous; a table never has more rows than its rule says. A table that
`evicts` is a cache and loses its oldest-written row; in any other, one row too many is our bug.
"""

from collections.abc import Mapping

import attrs

from p2pool.model import limits
from p2pool.model.features import BASE_LEVEL, FeatureLevel
from p2pool.model.ids import Digest, StoreId
from p2pool.model.log.raft import Entry, HardState


@attrs.frozen
class TableRule:
    """A table's maximum of rows, and whether it is a cache that drops its oldest."""

    max_rows: int
    evicts: bool = False


OWNER_TABLE = "owner"
EVENTS_TABLE = "events"
SECRET_BLOBS_TABLE = "secret_blobs"
SECRET_KEYS_TABLE = "secret_keys"
WEBHOOKS_TABLE = "webhooks"
VERDICTS_TABLE = "verdicts"

TABLES: Mapping[str, TableRule] = {
    "bindings": TableRule(limits.PEERS_TRACKED_MAX, evicts=True),
    "introductions": TableRule(limits.MEMBERS_MAX, evicts=True),
    "orders": TableRule(2 * limits.ALLOCATIONS_PER_NODE_MAX),
    "evidence": TableRule(limits.EVIDENCE_KEPT_MAX, evicts=True),
    "bad_appends": TableRule(limits.BAD_APPENDS_KEPT_MAX, evicts=True),
    "meta": TableRule(limits.STORE_META_MAX_ROWS),
    OWNER_TABLE: TableRule(limits.STORE_OWNER_MAX_ROWS),
    EVENTS_TABLE: TableRule(limits.EVENTS_KEPT_MAX, evicts=True),
    SECRET_BLOBS_TABLE: TableRule(limits.SECRET_BLOBS_MAX),
    SECRET_KEYS_TABLE: TableRule(limits.SECRET_BLOBS_MAX),
    WEBHOOKS_TABLE: TableRule(2 * limits.WEBHOOKS_MAX),
    VERDICTS_TABLE: TableRule(limits.VERDICTS_KEPT_MAX, evicts=True),
}
"""The named tables. A new one is a line here; the store on disk needs no change."""


@attrs.frozen
class Put:
    """Set the value of a key in a named table. `version`: the feature level of its shape; a store
    with a row that is newer than this program is not opened."""

    table: str
    key: bytes
    value: bytes
    version: FeatureLevel = BASE_LEVEL

    def __attrs_post_init__(self) -> None:
        """A wrong table or a value without a bound is our own bug."""
        assert self.table in TABLES, self.table
        assert len(self.key) <= limits.STORE_KEY_MAX_BYTES
        assert len(self.value) <= limits.STORE_VALUE_MAX_BYTES


@attrs.frozen
class Delete:
    """Remove a key from a named table; a missing key is no error."""

    table: str
    key: bytes

    def __attrs_post_init__(self) -> None:
        """A wrong table is our own bug."""
        assert self.table in TABLES, self.table


@attrs.frozen
class AppendEntries:
    """Append entries to the log, the first right after the last one held (any, if none is)."""

    entries: tuple[Entry, ...]


@attrs.frozen
class TruncateFrom:
    """Drop the entries from this index on, inclusive: they conflict with the leader's."""

    index: int


@attrs.frozen
class CompactTo:
    """Drop the entries up to this index, inclusive: a snapshot covers them.

    Some that it covers may stay, for followers that are not far behind.
    """

    index: int


@attrs.frozen
class SaveHardState:
    """Save term and vote in a log, which must be the one held (or the first one)."""

    log_id: Digest
    hard_state: HardState


@attrs.frozen
class SaveSnapshot:
    """Replace the snapshot with these canonical bytes."""

    snapshot: bytes

    def __attrs_post_init__(self) -> None:
        """A snapshot over its bound is our own bug: the tables in it are bounded."""
        assert len(self.snapshot) <= limits.SNAPSHOT_MAX_BYTES


@attrs.frozen
class RenewStore:
    """Give the store another name: promises made under the old one no longer count."""

    store_id: StoreId


@attrs.frozen
class ResetLog:
    """Forget entries, snapshot and hard state, and begin an empty log of this id."""

    log_id: Digest


PersistOp = (
    Put
    | Delete
    | AppendEntries
    | TruncateFrom
    | CompactTo
    | SaveHardState
    | SaveSnapshot
    | ResetLog
    | RenewStore
)
"""Any operation on the store."""

Batch = tuple[PersistOp, ...]
"""Operations that become durable together or not at all, in this order."""


@attrs.frozen
class Restored:
    """The store's content at opening. `tables` have all names, rows oldest-written first.

    `incarnation` is this start's own: greater than that of any earlier start, at least the wall
    clock in milliseconds, and already durable. `log_id` is None until a log begins.
    """

    store_id: StoreId
    incarnation: int
    log_id: Digest | None = None
    hard_state: HardState = HardState()
    snapshot: bytes | None = attrs.field(default=None, repr=False)
    entries: tuple[Entry, ...] = attrs.field(default=(), repr=False)
    tables: Mapping[str, Mapping[bytes, bytes]] = attrs.field(
        factory=lambda: {name: {} for name in TABLES}, repr=False
    )
