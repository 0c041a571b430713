"""Hello and gossip: a peer's identity, and what members tell everyone about themselves.

Source: docs/design/identities.md, "Peer bindings"; docs/design/health.md, "Heartbeats".
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL, FeatureLevel, since
from p2pool.model.field_bounds import (
    Addresses,
    HistorySignatures,
    Index,
    Name,
    SealedSignatures,
    Term,
    bounded,
)
from p2pool.model.ids import (
    AllocationId,
    Digest,
    NodeId,
    StateDigest,
    StoreId,
    Token,
)
from p2pool.model.machine.hardware import FreeResources, Hardware, Load
from p2pool.model.messages.registry import Channel, Message, Senders, message
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.states import AllocationState, Health, Intent, RaftRole


@message(1, Channel.HELLO, senders=Senders.ANYBODY)
@attrs.frozen
class Hello(Message):
    """The first frame each way on a connection. A bootstrap node has no binding (None)."""

    agent_version: Name
    binding: PeerBinding | None
    store_id: StoreId
    addresses: Addresses
    challenge: Annotated[bytes, bounded(bytes=limits.TEXT_MAX_BYTES)] = b""


@attrs.frozen
class AllocationStatus:
    """One allocation in a heartbeat: state, attempt, and the token of the order it obeys.

    During an image pull: how much has arrived, of how much as far as that is known.
    """

    allocation: AllocationId
    attempt: int
    state: AllocationState
    token: Token
    health: Health = Health.NONE
    pulled_bytes: int = 0
    pull_total_bytes: int = 0


@message(2, Channel.BEAT, senders=Senders.GOSSIP)
@attrs.frozen
class Heartbeat(Message):
    """A member's gossiped state. `hardware` is sent when it changed; its digest always.

    `feature_level`: the highest one that its program knows (`model.features`).
    """

    agent_version: Name
    feature_level: FeatureLevel
    addresses: Addresses
    store_id: StoreId
    intent: Intent
    role: RaftRole
    leader: NodeId | None
    epoch: int
    term: Term
    applied_index: Index
    hardware_digest: Digest
    hardware: Hardware | None
    free: FreeResources
    allocations: Annotated[
        tuple[AllocationStatus, ...], bounded(items=limits.ALLOCATIONS_PER_HEARTBEAT_MAX)
    ]
    load: Load
    healthy: bool
    reason: str


@message(3, Channel.ANNOUNCE, senders=Senders.GOSSIP, version=2)
@attrs.frozen
class Announcement(Message):
    """A leader announces itself, and how far the committed state is.

    Its certificate and the votes that elected it (sealed messages) come along when they are new,
    and periodically: whoever holds the certificate knows that the leader is legitimate. `history`
    covers all entries up to the commit index, so that they may come from anybody. `proof`: the
    newest history that a quorum of the voters signed, whatever the leader says.
    """

    log_id: Digest
    epoch: int
    term: Term
    commit_index: Index
    state_digest: StateDigest
    certificate: SealedSignatures = ()
    votes: SealedSignatures = ()
    history: Digest = Digest(bytes(32))
    proof: HistorySignatures = since(DISTRUST_LEVEL, default=())
