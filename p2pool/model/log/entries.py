"""Bodies of the log's entries, one class for each `EntryKind`.

Only these change replicated state, and only through the table in `core.fsm.apply`. Heartbeats,
metrics, log lines and secrets in the clear are never here.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.features import FeatureLevel
from p2pool.model.field_bounds import GpuIds, Name, SealedSignatures, bounded
from p2pool.model.ids import Address, AllocationId, Digest, NodeId
from p2pool.model.log.raft import Voter
from p2pool.model.states import AllocationState, Intent, Membership, Reachability


@attrs.frozen
class Noop:
    """A new leader's first entry: commits what went before it (Raft, section 5.4.2)."""

    leader: NodeId


@attrs.frozen
class RequestApplied:
    """A signed request, applied once by its task id and request id.

    `via` is the node that took it from its account: only for display, never for rights. `signer`
    and `grantor` are what the leader recovered from the signatures (`access.requests.Signers`);
    each node recovers them again before it starts anything.
    """

    signed: SignedRequest
    via: NodeId
    signer: Address
    grantor: Address | None = None


@attrs.frozen
class Placed:
    """One replica given to a node, with the GPUs that it holds by UUID."""

    allocation: AllocationId
    attempt: int
    node_id: NodeId
    gpus: GpuIds = ()


@attrs.frozen
class Placement:
    """A plan that the leader decided on; a gang's replicas stand in one entry."""

    placed: Annotated[tuple[Placed, ...], bounded(items=limits.REPLICAS_MAX)]


@attrs.frozen
class Outcome:
    """How an allocation stands or ended. `exit_code` is None where there was none."""

    allocation: AllocationId
    attempt: int
    state: AllocationState
    reason: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    image_digest: str = ""


Outcomes = Annotated[tuple[Outcome, ...], bounded(items=limits.ALLOCATIONS_PER_NODE_MAX)]
"""What became of copies of one node."""


@attrs.frozen
class ReportApplied:
    """Outcomes that the leader took over from a node's reports, or decided itself (lost)."""

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
    """A node's membership as chain and heartbeats have it now. `eject`: it stays what it is, and
    has been for so long that it is to be ejected (`reason` says what for)."""

    node_id: NodeId
    membership: Membership
    reason: str = ""
    eject: bool = False


@attrs.frozen
class NodesMoved:
    """Transitions of memberships, as the leader read the chain and heard heartbeats."""

    moves: Annotated[tuple[NodeMoved, ...], bounded(items=limits.MOVES_PER_ENTRY_MAX)]


@attrs.frozen
class ReplacementHeld:
    """So many nodes vanished at once that none of their copies is replaced until a time, in log
    time; 0: that is over."""

    until_ms: int
    reason: str = ""


@attrs.frozen
class Setting:
    """A pool-wide setting: `timing` (lan, default, wan), `committee` (3, 5, 7), ..."""

    name: str
    value: str


@attrs.frozen
class Revocation:
    """Delegations to this account that were signed before `before_s` are void."""

    delegate: Address
    before_s: int
    stop_running: bool
    request_digest: Digest


@attrs.frozen
class Adopted:
    """A copy that runs by the orders of an earlier log, of which this one did not know.

    `signer` and `grantor` are what the leader recovered from the submission's signatures.
    """

    node_id: NodeId
    allocation: AllocationId
    attempt: int
    signed: SignedRequest
    gpus: GpuIds
    signer: Address
    grantor: Address | None = None


@attrs.frozen
class Certify:
    """A leader asks the voters to confirm it: who applies this entry signs what its state is there.

    `at_ms` is the leader's own clock, not made monotone: voters compare it with theirs.
    """

    leader: Voter
    at_ms: int


@attrs.frozen
class ChangeCertified:
    """Signatures of the previous voters over a change of the voters (`log.certificates.Link`).

    Fewer than a quorum of them: the leader has waited long enough, and says so.
    """

    index: int
    signatures: SealedSignatures


@attrs.frozen
class LevelRaised:
    """The pool may write what a feature level brought: every voter and learner knows it.

    `version`: what the leader runs, to be named to those who do not know the level.
    """

    level: FeatureLevel
    version: Name
