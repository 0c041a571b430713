"""Whether this version can take up what a store holds: everything in it is read once.

A migration is believed only when its outcome was read the way that a start reads it. Bodies of log
entries are left alone: a body that nobody can read is one that changes nothing, on every replica.
"""

from pathlib import Path

import apsw

from p2pool.codec.cbor.structs import decode_struct
from p2pool.codec.digests import log_id
from p2pool.codec.entries import decode_snapshot
from p2pool.core.follower.bad_appends import BAD_APPENDS_TABLE
from p2pool.core.fsm.storage.rows import decode_state
from p2pool.core.knowledge.bindings import BINDINGS_TABLE
from p2pool.core.knowledge.roster import ROSTER_KEY
from p2pool.core.log.kept_certificate import CERTIFICATE_KEY, SnapshotCertificate
from p2pool.core.log.pool_log import META_TABLE, ROOT_KEY
from p2pool.core.peers.equivocation import EVIDENCE_TABLE
from p2pool.core.voter.peer_promises import WITNESS_KEY, Kept
from p2pool.core.voter.signatures import CONFIRMED_KEY, Confirmed
from p2pool.core.worker.attempt import item_of
from p2pool.core.worker.worker import ITEMS_TABLE, TOKEN_KEY
from p2pool.drivers.store.schema import check_identity, check_rows, read_all, schema_version
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.chain.roster import ChainRoster
from p2pool.model.errors import Malformed
from p2pool.model.ids import PoolRef, Token
from p2pool.model.log.certificates import BadAppend, Evidence
from p2pool.model.messages.queries import PeerKnown
from p2pool.model.ports.store import Restored

META_RECORDS: dict[bytes, type] = {
    ROOT_KEY: RootRecord,
    ROSTER_KEY: ChainRoster,
    WITNESS_KEY: Kept,
    CONFIRMED_KEY: Confirmed,
    CERTIFICATE_KEY: SnapshotCertificate,
    TOKEN_KEY: Token,
}
"""The rows of `meta` that hold a record."""


def check_contents(db: apsw.Connection, path: Path, pool: PoolRef) -> None:
    """Read everything. Raises Malformed (or another Refusal) for what cannot be read, StoreFailed
    for what is missing."""
    schema_version(db, path)
    check_rows(db, path)
    store_id, incarnation = check_identity(db, path, pool)
    held = read_all(db, store_id, incarnation)
    for value in held.tables[BINDINGS_TABLE].values():
        decode_struct(PeerKnown, value)
    for value in held.tables[EVIDENCE_TABLE].values():
        decode_struct(Evidence, value)
    for value in held.tables[BAD_APPENDS_TABLE].values():
        decode_struct(BadAppend, value)
    for value in held.tables[ITEMS_TABLE].values():
        item_of(value)
    for key, record in META_RECORDS.items():
        if key in held.tables[META_TABLE]:
            decode_struct(record, held.tables[META_TABLE][key])
    _check_log(held, pool)


def _check_log(held: Restored, pool: PoolRef) -> None:
    """The snapshot, and the log that is named by its root record."""
    root = held.tables[META_TABLE].get(ROOT_KEY)
    if root is not None and held.log_id != log_id(pool, decode_struct(RootRecord, root)):
        raise Malformed("The log is not the one that its root record founds.")
    if held.snapshot is not None:
        snapshot = decode_snapshot(held.snapshot)
        state = decode_state(snapshot.state)
        if (state.pool, state.applied_index) != (pool, snapshot.index):
            raise Malformed("The state in the snapshot is another than it says.")
