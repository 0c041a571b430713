"""Identities, each with one length and one written form.

Identities are raw bytes inside the program and lower-case hex at its edges. Lengths are checked
where bytes enter (codec, wire, configuration), not at each use.
"""

from collections.abc import Mapping
from typing import NewType

import attrs

from p2pool.model.field_bounds import Index, Term

Address = NewType("Address", bytes)
"""An account or contract on the chain, 20 bytes."""
NodeId = NewType("NodeId", bytes)
"""The address of a node's on-chain key, 20 bytes: the node's name everywhere."""
PeerKey = NewType("PeerKey", bytes)
"""Ed25519 public key of a node's libp2p host, 32 bytes."""
StoreId = NewType("StoreId", bytes)
"""The random name of a data directory, 16 bytes, made with its first write."""
TaskId = NewType("TaskId", bytes)
"""First 16 bytes of a digest of pool and request, without signatures."""
Digest = NewType("Digest", bytes)
"""SHA-256 of canonical bytes, 32 bytes. A log id is the digest of pool and root record."""
StateDigest = NewType("StateDigest", bytes)
"""Digest of the replicated state, 33 bytes: one names the algorithm (`log.state_digests`)."""

ADDRESS_BYTES = 20
PEER_KEY_BYTES = 32
STORE_ID_BYTES = 16
TASK_ID_BYTES = 16
DIGEST_BYTES = 32
STATE_DIGEST_BYTES = 1 + DIGEST_BYTES
SIGNATURE_BYTES = 64
ETH_SIGNATURE_BYTES = 65

LENGTHS: Mapping[object, int] = {
    Address: ADDRESS_BYTES,
    NodeId: ADDRESS_BYTES,
    PeerKey: PEER_KEY_BYTES,
    StoreId: STORE_ID_BYTES,
    TaskId: TASK_ID_BYTES,
    Digest: DIGEST_BYTES,
    StateDigest: STATE_DIGEST_BYTES,
}
"""The fixed length of each identity, in bytes."""


@attrs.frozen(order=True)
class PoolRef:
    """A pool: the chain, the pool contract on it, and the pool's number there."""

    chain_id: int
    contract: Address
    pool_id: int


@attrs.frozen(order=True)
class AllocationId:
    """One copy of a task: (task id, replica number from 0)."""

    task_id: TaskId
    replica: int

    def __str__(self) -> str:
        """Its written form: `<32 hex digits>.<replica>`."""
        return f"{self.task_id.hex()}.{self.replica}"


@attrs.frozen(order=True)
class Token:
    """Fencing token: orders and reports compare by (epoch, term, log index)."""

    epoch: int
    term: Term
    index: Index


ZERO_TOKEN = Token(0, 0, 0)
