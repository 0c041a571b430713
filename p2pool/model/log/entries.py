"""Bodies of log entries, one class per `EntryKind`.

Only these change replicated state, and only through the table in `core.fsm.apply`. They never
contain heartbeats, metrics, log lines or unencrypted secrets.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.access.verdicts import FinalBlock
from p2pool.model.features import FeatureLevel, since
from p2pool.model.field_bounds import GpuIds, Index, Name, SealedSignatures, bounded
from p2pool.model.ids import Address, AllocationId, Digest, NodeId
from p2pool.model.log.raft import Voter
from p2pool.model.states import (
    AllocationState,
    Intent,
    Membership,
    Reachability,
    StartRefusal,
)


@attrs.frozen
class Noop:
    """A new leader's first entry: commits everything before it (Raft, section 5.4.2)."""

    leader: NodeId


@attrs.frozen
class RequestApplied:
    """A signed request, applied once by its task id and request id.

    `via` is the node that took it from the account: for display only, never for rights. `signer`
    and `grantor` are the accounts that the leader recovered from the signatures
    (`access.requests.Signers`); each voter recovers them again before it appends the entry, and
    each node before it starts anything. `judged_at`: where one of them is a contract, the block at
    which the chain took the signatures for good; each voter asks it about that block itself.
    """

    signed: SignedRequest
    via: NodeId
    signer: Address
    grantor: Address | None = None
    judged_at: FinalBlock | None = since(2, default=None)


@attrs.frozen
class Placed:
    """One replica assigned to a node, with its GPUs by UUID."""

    allocation: AllocationId
    attempt: int
    node_id: NodeId
    gpus: GpuIds = ()


@attrs.frozen
class Placement:
    """A placement that the leader decided; a gang's replicas share one entry."""

    placed: Annotated[tuple[Placed, ...], bounded(items=limits.REPLICAS_MAX)]


@attrs.frozen
class Outcome:
    """An allocation's state or end. `exit_code` is None if there was none. `refused`: it ends here
    because this node cannot start it; another may."""

    allocation: AllocationId
    attempt: int
    state: AllocationState
    reason: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    image_digest: str = ""
    refused: StartRefusal = since(2, default=StartRefusal.NONE)


Outcomes = Annotated[tuple[Outcome, ...], bounded(items=limits.ALLOCATIONS_PER_NODE_MAX)]
"""Outcomes of one node's copies."""


@attrs.frozen
class ReportApplied:
    """Outcomes that the leader took from a node's reports, or decided itself (lost)."""

    node_id: NodeId
    outcomes: Outcomes


@attrs.frozen
class NodeChanged:
    """A transition of a node's reachability or intent, as the leader judged it."""

    node_id: NodeId
    reachability: Reachability
    intent: Intent
    reason: str = ""


@attrs.frozen
class NodeMoved:
    """A node's new membership, from chain and heartbeats. `eject`: its membership stays, but has
    lasted so long that the node is to be ejected (`reason` says what for)."""

    node_id: NodeId
    membership: Membership
    reason: str = ""
    eject: bool = False


@attrs.frozen
class NodesMoved:
    """Membership transitions, from the leader's reads of the chain and from heartbeats."""

    moves: Annotated[tuple[NodeMoved, ...], bounded(items=limits.MOVES_PER_ENTRY_MAX)]


@attrs.frozen
class ReplacementHeld:
    """Many nodes vanished at once, so none of their copies is replaced until a time, in log time;
    0: that is over."""

    until_ms: int
    reason: str = ""


@attrs.frozen
class Setting:
    """A pool-wide setting: `timing` (lan, default, wan), `committee` (3, 5, 7), ...

    As an entry it counts at the first level alone: from level 2 on it takes a signed request."""

    name: str
    value: str


@attrs.frozen
class Revocation:
    """Delegations to this account that were signed before `before_s` are void.

    As an entry it counts at the first level alone, as `Setting` does."""

    delegate: Address
    before_s: int
    stop_running: bool
    request_digest: Digest


@attrs.frozen
class Adopted:
    """A copy that runs by an earlier log's orders, and that this log did not know.

    `signer` and `grantor` are the accounts that the leader recovered from the submission;
    `judged_at` as in `RequestApplied`.
    """

    node_id: NodeId
    allocation: AllocationId
    attempt: int
    signed: SignedRequest
    gpus: GpuIds
    signer: Address
    grantor: Address | None = None
    judged_at: FinalBlock | None = since(2, default=None)


@attrs.frozen
class Certify:
    """A leader asks the voters to confirm it: each voter that applies this entry signs its state.

    `at_ms` is the leader's own clock, not made monotonic: voters compare it with theirs.
    """

    leader: Voter
    at_ms: int


@attrs.frozen
class ChangeCertified:
    """Signatures of the previous voters over a change of the voters (`log.certificates.Link`).

    With fewer than a quorum the leader has waited long enough, and records that.
    """

    index: Index
    signatures: SealedSignatures


@attrs.frozen
class LevelRaised:
    """The pool may write what a feature level brought: every voter and learner knows it.

    `version`: what the leader runs, to be named to those who do not know the level.
    """

    level: FeatureLevel
    version: Name
