"""Messages between the leader and the nodes that run allocations.

Every order carries one fencing token; a node obeys only newer ones. Silence, an error or an
empty answer is never an order to stop.
Source: docs/design/tasks.md, "Orders and reports".
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.access.requests import SignedRequest
from p2pool.model.access.verdicts import FinalBlock
from p2pool.model.features import since
from p2pool.model.field_bounds import GpuIds, SealedSignatures, bounded
from p2pool.model.ids import AllocationId, NodeId, Token
from p2pool.model.log.entries import Outcomes
from p2pool.model.messages.registry import Channel, Message, message


@attrs.frozen
class Desired:
    """One allocation that the node should run: the signed submission itself, so that the node can
    check the account's right; the attempt; and its leased GPUs. `judged_at`: the block at which the
    log says that the chain took its contract accounts' signatures for good. `secrets`: the latest
    request that set the task's secrets, None: its submission did; `secrets_judged_at`: the same
    for that one."""

    allocation: AllocationId
    attempt: int
    signed: SignedRequest
    gpus: GpuIds
    judged_at: FinalBlock | None = since(2, default=None)
    secrets: SignedRequest | None = since(2, default=None)
    secrets_judged_at: FinalBlock | None = since(2, default=None)


@attrs.frozen(order=True)
class Stop:
    """An explicit stop: this allocation's attempts up to this one are to end. A node that never
    had it reports it as stopped, so nobody has to guess whether an order ever arrived."""

    allocation: AllocationId
    attempt: int


@message(20, Channel.WORK)
@attrs.frozen
class Order(Message):
    """The node's complete desired set, and the allocations to stop by name, under one token.

    `certificate`: sealed `CertificateSigned` of a quorum for the ordering leader; without a valid
    one the node does nothing.
    """

    node_id: NodeId
    token: Token
    desired: Annotated[tuple[Desired, ...], bounded(items=limits.ALLOCATIONS_PER_NODE_MAX)]
    stops: Annotated[tuple[Stop, ...], bounded(items=limits.ALLOCATIONS_PER_NODE_MAX)]
    certificate: SealedSignatures = ()


def signed_in(order: Order) -> int:
    """How many signed requests an order carries: the submissions first, then those that set
    secrets since."""
    return len(order.desired) + sum(one.secrets is not None for one in order.desired)


@message(21, Channel.WORK)
@attrs.frozen
class OrderAnswered(Message):
    """The node took the order (ok) or refused it, with its high-water token."""

    token: Token
    high_water: Token
    ok: bool
    reason: str


@message(22, Channel.WORK)
@attrs.frozen
class Report(Message):
    """Outcomes of allocations, sent until the leader answers. `token` is the order obeyed.

    `claims`: copies that run here by an earlier log's orders, and that no order of this log has
    named: each with its signed submission, so that the pool can adopt them.
    """

    token: Token
    outcomes: Outcomes
    claims: Annotated[tuple[Desired, ...], bounded(items=limits.CLAIMS_PER_REPORT_MAX)] = ()


@message(23, Channel.WORK)
@attrs.frozen
class ReportAnswered(Message):
    """These outcomes are in the log, or not wanted: the node need not report them again.

    They stand here in full, so that a late answer to an older outcome settles no newer one.
    """

    token: Token
    outcomes: Outcomes
