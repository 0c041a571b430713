"""What ties a peer key to a node: said by both keys, and so believed whoever hands it on.

Invariant: it names chain, contract and pool, so it counts in no other.
Source: docs/design/identities.md, "Peer bindings".
"""

from typing import Annotated

import attrs

from p2pool.model.field_bounds import bounded
from p2pool.model.ids import ETH_SIGNATURE_BYTES, SIGNATURE_BYTES, Address, NodeId, PeerKey


@attrs.frozen
class PeerBinding:
    """Node key and peer key, each vouching for the other (EIP-712, `wire.binding`).

    Times are Unix seconds; `node_signature` is 65 bytes over the typed data, `peer_signature` 64
    bytes Ed25519 over its digest.
    """

    chain_id: int
    contract: Address
    pool_id: int
    node_id: NodeId
    peer_key: PeerKey
    not_before_s: int
    not_after_s: int
    node_signature: Annotated[bytes, bounded(exact_bytes=ETH_SIGNATURE_BYTES)]
    peer_signature: Annotated[bytes, bounded(exact_bytes=SIGNATURE_BYTES)]
