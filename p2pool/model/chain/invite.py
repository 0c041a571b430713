"""A pool's invite of a node."""

import attrs

from p2pool.model.field_bounds import AccountSignature
from p2pool.model.ids import NodeId


@attrs.frozen
class Invite:
    """A manager's signed invitation of one node, single use, until `expiration_s` (Unix)."""

    domain_id: int
    pool_id: int
    node_id: NodeId
    nonce: int
    expiration_s: int
    signature: AccountSignature
