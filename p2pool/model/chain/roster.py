"""The chain's facts: roster, root record, invites. Frozen, each at a named block.

A roster is complete or absent: *unknown* is the absence of a newer roster, never an empty one.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.chain.root_record import RootRecord
from p2pool.model.field_bounds import bounded
from p2pool.model.ids import Address, Digest, NodeId
from p2pool.model.states import PoolStatus


@attrs.frozen
class ChainMember:
    """A node in the pool. `eligible`: neither it nor its provider is blacklisted, and the provider
    is whitelisted; otherwise `reason` says which of these failed."""

    node_id: NodeId
    provider: Address
    eligible: bool
    reason: str = ""


@attrs.frozen
class ChainRoster:
    """The members at one block, sorted by node id."""

    block_number: int
    block_hash: Digest
    block_time_ms: int
    members: Annotated[tuple[ChainMember, ...], bounded(items=limits.MEMBERS_MAX)]
    creator: Address
    manager: Address
    status: PoolStatus
    root: RootRecord | None
    pool_name: str = ""
    domain_id: int = 0
    requirements: Annotated[str, bounded(text=limits.DATA_URI_MAX_BYTES)] = ""
    bootstrap: Annotated[tuple[str, ...], bounded(items=limits.PEER_LIST_MAX)] = ()

    def member(self, node_id: NodeId) -> ChainMember | None:
        """The member with this id, or None if it is not in the pool at this block."""
        return next((m for m in self.members if m.node_id == node_id), None)
