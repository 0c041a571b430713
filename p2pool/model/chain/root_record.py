"""The root record of a pool's log, as the chain states it."""

import attrs

from p2pool.model.ids import Digest, NodeId, PeerKey, StateDigest, StoreId


@attrs.frozen
class PreviousLog:
    """For a recovery: the previous log, and the state that the new one starts from."""

    log_id: Digest
    base_index: int
    state_digest: StateDigest


@attrs.frozen
class RootRecord:
    """The on-chain statement that founds a log (`p2pool:root` in the pool's record or data URI)."""

    epoch: int
    founder: NodeId
    peer_key: PeerKey
    store_id: StoreId
    previous: PreviousLog | None = None
