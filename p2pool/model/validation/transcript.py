"""What a validator and a node say to each other in a challenge, and what the node signs of it.

Intuition: validator and node draw a nonce each, and the challenge names both, both peer keys and
the node. All seeds come from it. So an answer is one to this challenge, on this connection, by this
key, or it is wrong. The node signs each commitment before it knows the next question, and each
names the one before it.

Invariant: `Challenge.secret_hash` fixes the validator's secret before the node's first word, and
the secret becomes known after the node's last root: neither chooses the vectors, or the rows.
Source: docs/design/validation.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.field_bounds import Name, bounded
from p2pool.model.ids import SIGNATURE_BYTES, Address, Digest, NodeId, PeerKey, PoolRef
from p2pool.model.validation.work import Plan

Signature = Annotated[bytes, bounded(exact_bytes=SIGNATURE_BYTES)]
"""By a peer key."""

Path = Annotated[tuple[Digest, ...], bounded(items=limits.CHALLENGE_PATH_MAX)]
"""The siblings from a leaf up to the root of a Merkle tree."""


@attrs.frozen
class Challenge:
    """What a validator asks of a node, all but the nonces of the rounds. `image`: the digest of the
    prover's image."""

    pool: PoolRef
    validator: Address
    validator_peer: PeerKey
    node_id: NodeId
    peer_key: PeerKey
    node_nonce: Digest
    validator_nonce: Digest
    secret_hash: Digest
    image: Name
    plan: Plan
    issued_at_ms: int


@attrs.frozen
class Question:
    """The start of a round: nobody can begin it without the nonce."""

    step: int
    nonce: Digest


@attrs.frozen
class DeviceRoots:
    """Of one device: no root after the fill, one after a round of products, and one for each pass
    over the memory."""

    roots: Annotated[tuple[Digest, ...], bounded(items=limits.CHALLENGE_PASSES_MAX)] = ()


@attrs.frozen
class Commitment:
    """A node's answer to a question: the roots of all devices. `previous`: the digest of the
    commitment before it; of the first one, the challenge's id."""

    challenge: Digest
    step: int
    nonce: Digest
    previous: Digest
    devices: Annotated[tuple[DeviceRoots, ...], bounded(items=limits.GPUS_PER_NODE_MAX)]


@attrs.frozen
class SignedCommitment:
    """With the signature of the peer key that the challenge names."""

    commitment: Commitment
    signature: Signature


@attrs.frozen
class RowOpening:
    """A row of a product, as little-endian int32, with its path."""

    device: int
    step: int
    product: int
    row: int
    entries: Annotated[bytes, bounded(bytes=4 * limits.CHALLENGE_COLUMNS_MAX)]
    path: Path


@attrs.frozen
class BlockOpening:
    """The fingerprints of the group to which a block of memory belongs, of one pass, with the
    path. The block itself anybody derives."""

    device: int
    step: int
    scan: int
    block: int
    fingerprints: Annotated[
        bytes, bounded(bytes=limits.CHALLENGE_GROUP_BLOCKS * limits.CHALLENGE_FINGERPRINT_BYTES)
    ]
    path: Path


OPENED_MAX = limits.GPUS_PER_NODE_MAX * limits.CHALLENGE_OPENED_MAX


@attrs.frozen
class Openings:
    """What a node shows when it has the secret."""

    rows: Annotated[tuple[RowOpening, ...], bounded(items=OPENED_MAX)] = ()
    blocks: Annotated[tuple[BlockOpening, ...], bounded(items=OPENED_MAX)] = ()
