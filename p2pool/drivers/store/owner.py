"""Whose a data directory is: one node's of one pool, on a chain with one first block.

Intuition: what lies in a data directory (a node's orders, the last roster, what its store promised)
is true of one node on one chain. Read for another node, or on a development chain that began anew
under the same id, the same rows say that this node left its pool, and its containers would be
stopped. So the first start writes down whose it is, and a later one for somebody else is refused.

Invariants: what was written down never changes; a directory of an earlier version gets its owner at
the next start. Pool, contract and chain id are columns of `identity` (`schema.check_identity`).
"""

from pathlib import Path

import apsw

from p2pool.codec.json.hex import address_text
from p2pool.model.errors import DataDirInUse
from p2pool.model.ids import ADDRESS_BYTES, NodeId
from p2pool.model.ports.store import OWNER_TABLE, Put, Restored

NODE_KEY, FIRST_BLOCK_KEY = b"node", b"first block"
BOOTSTRAP = NodeId(bytes(ADDRESS_BYTES))
"""The owner of a bootstrap node's directory: it has no node key."""


def claim(db: apsw.Connection, path: Path, node_id: NodeId) -> None:
    """Write down the owner, or check it: `DataDirInUse` for another node's directory."""
    row = db.execute(
        "SELECT value FROM rows WHERE tbl = ? AND key = ?", (OWNER_TABLE, NODE_KEY)
    ).fetchone()
    if row is None:
        db.execute(
            "INSERT INTO rows (tbl, key, value) VALUES (?, ?, ?)",
            (OWNER_TABLE, NODE_KEY, bytes(node_id)),
        )
    elif row[0] != node_id:
        raise DataDirInUse(
            f"The data directory {path} belongs to {_named(row[0])}, not to {_named(node_id)}.",
            hint="Name another directory with --data-dir, or that node's key with --node-key.",
        )


def first_block_of(restored: Restored) -> str | None:
    """The hash of the first block of the directory's chain; None before it is known."""
    found = restored.tables[OWNER_TABLE].get(FIRST_BLOCK_KEY)
    return None if found is None else "0x" + found.hex()


def first_block_row(block_hash: str) -> Put:
    """The row that says with which block the directory's chain began."""
    return Put(OWNER_TABLE, FIRST_BLOCK_KEY, bytes.fromhex(block_hash.removeprefix("0x")))


def _named(node_id: bytes) -> str:
    return "a bootstrap node" if node_id == BOOTSTRAP else f"the node {address_text(node_id)}"
