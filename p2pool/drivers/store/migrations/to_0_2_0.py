"""From schema 1 (release 0.1.0) to schema 2 (release 0.2.0).

What is different: the state in the snapshot is rows instead of one array, and the snapshot names
its format; a root record says by which algorithm the digest of the state before it was made;
rows have a version, and the store says who wrote it. Entries, term, vote, the store's name and all
other rows have the form that they had.

What this forgets: heartbeats that were kept of other stores, as witnesses of how far those were.
Heartbeats have another form now, so nobody could open them; the votes and acknowledgements that are
kept with them say the same.

Invariant: nothing of the state is lost. The array that can be made of the new snapshot is, to the
byte, the one that was there; so digests that voters of 0.1.0 signed still belong to it.
"""

from collections.abc import Callable

import apsw
import attrs

from p2pool.codec.cbor import canonical
from p2pool.codec.cbor.structs import decode_struct, encode_struct, from_value
from p2pool.codec.entries import encode_snapshot
from p2pool.core.fsm.storage.array import decode_array, encode_array
from p2pool.core.fsm.storage.rows import decode_state, encode_state
from p2pool.core.log.pool_log import ROOT_KEY
from p2pool.core.voter.peer_promises import WITNESS_KEY, Kept, Kind
from p2pool.drivers.store.schema import one
from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.errors import Malformed
from p2pool.model.ids import DIGEST_BYTES, Digest
from p2pool.model.log.raft import Snapshot
from p2pool.model.log.state_digests import DigestAlgorithm, state_digest

TABLES = """
ALTER TABLE rows ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
CREATE TABLE writer (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version TEXT NOT NULL
) STRICT;
"""


def run(db: apsw.Connection) -> None:
    """Change the tables, and what of their contents has another form. Raises Malformed for what
    0.1.0 cannot have written."""
    db.execute(TABLES)
    held = one(db, "SELECT bytes FROM snapshot")
    if held is not None:
        db.execute("UPDATE snapshot SET bytes = ?", (snapshot_in_rows(held),))
    _change(db, ROOT_KEY, root_with_algorithm)
    _change(db, WITNESS_KEY, witness_without_heartbeats)


def _change(db: apsw.Connection, key: bytes, change: Callable[[bytes], bytes]) -> None:
    """Give a row of `meta` its new value; it stays where it is in the order of writing."""
    held = one(db, "SELECT value FROM rows WHERE tbl = 'meta' AND key = ?", (key,))
    if held is not None:
        db.execute("UPDATE rows SET value = ? WHERE tbl = 'meta' AND key = ?", (change(held), key))


def snapshot_in_rows(held: bytes) -> bytes:
    """A snapshot of 0.1.0 in today's form."""
    before = decode_struct(Snapshot, held)
    state = decode_array(before.state)
    after = encode_state(state)
    if encode_array(decode_state(after)) != before.state:
        raise Malformed("The state in the snapshot is none that release 0.1.0 writes.")
    data = encode_snapshot(attrs.evolve(before, state=after))
    if len(data) > limits.SNAPSHOT_MAX_BYTES:
        raise Malformed(
            f"The snapshot has {len(data)} bytes in rows, and {limits.SNAPSHOT_MAX_BYTES} fit."
        )
    return data


def root_with_algorithm(held: bytes) -> bytes:
    """A root record of 0.1.0: the digest in it, where there is one, was made by algorithm 0."""
    fields = canonical.decode(held)
    previous = fields[-1] if isinstance(fields, list) and fields else None
    if isinstance(previous, list) and len(previous) == 3:
        made = previous[2]
        if type(made) is not bytes or len(made) != DIGEST_BYTES:
            raise Malformed(f"The digest in the root record does not have {DIGEST_BYTES} bytes.")
        previous[2] = state_digest(DigestAlgorithm.ARRAY, Digest(made))
    return encode_struct(from_value(RootRecord, fields))


def witness_without_heartbeats(held: bytes) -> bytes:
    """What is remembered of other stores, less what nobody can open any more."""
    kept = decode_struct(Kept, held)
    words = tuple(word for word in kept.words if word.kind is not Kind.BEAT)
    return encode_struct(attrs.evolve(kept, words=words))
