"""What the policy has to remember: the chain's word on nodes, the acts so far, the money spent.

Invariants: what nobody knows is `UNKNOWN` or missing, and nothing follows from it; money that an
open act may still take counts as spent.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum

import attrs

from p2pool.model.ids import Address, NodeId
from p2pool.validator.policy.acts import STANDING, ActKind, ActState, TakenAct

DAY_MS = 86_400_000


class Registry(StrEnum):
    """What the registry says of a node."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    REGISTERED = "registered"
    VALIDATED = "validated"


class NodeStanding(StrEnum):
    """Where a node stands, for the table of transitions."""

    UNKNOWN = "unknown"
    """Nobody says: nothing follows."""
    ABSENT = "absent"
    """The registry does not have it."""
    REGISTERED = "registered"
    """A stranger, not validated yet."""
    INVALIDATED = "invalidated"
    """Not validated, because of an act of ours."""
    VALIDATED = "validated"
    """It may enter pools."""


@attrs.frozen
class ChainNode:
    """A node as the chain has it; `provider` None: it has none, or nobody says."""

    registry: Registry
    provider: Address | None = None


@attrs.frozen(kw_only=True)
class History:
    """All that a decision builds on, beside findings and budget. `me`: this validator.

    `nodes`: a node that is missing is unknown. `stakes_wei`: a provider that is missing has a stake
    that nobody knows. `taken`: acts in the order in which they were decided. `unheard`: nodes of
    which we should know what other validators found, and do not now.
    """

    me: Address
    nodes: Mapping[NodeId, ChainNode] = attrs.field(factory=dict)
    stakes_wei: Mapping[Address, int] = attrs.field(factory=dict)
    taken: Sequence[TakenAct] = ()
    unheard: Collection[NodeId] = ()

    def node(self, node_id: NodeId) -> ChainNode:
        """The chain's word on it."""
        return self.nodes.get(node_id, ChainNode(Registry.UNKNOWN))

    def standing(self, node_id: NodeId, dry_run: bool) -> NodeStanding:
        """Where a node stands; in a dry run as if what was shown had been done."""
        registry = self.node(node_id).registry
        if registry is Registry.UNKNOWN:
            return NodeStanding.UNKNOWN
        if registry is Registry.ABSENT:
            return NodeStanding.ABSENT
        last = self._last_on(node_id, dry_run)
        if last is not None and last.state is ActState.SHOWN:
            return _SHOWN[last.act.kind]
        if registry is Registry.VALIDATED:
            return NodeStanding.VALIDATED
        ours = last is not None and last.act.kind is not ActKind.VALIDATE
        return NodeStanding.INVALIDATED if ours else NodeStanding.REGISTERED

    def _last_on(self, node_id: NodeId, dry_run: bool) -> TakenAct | None:
        """The last act that changed a node's standing."""
        for one in reversed(self.taken):
            counts = one.state is not ActState.REFUSED and one.act.kind in STANDING
            if counts and one.act.node_id == node_id and one in _counted((one,), dry_run):
                return one
        return None

    def counted(self, dry_run: bool) -> list[TakenAct]:
        """The acts that a decision must not repeat: what was only shown counts in a dry run."""
        return _counted(self.taken, dry_run)


_SHOWN = {
    ActKind.VALIDATE: NodeStanding.VALIDATED,
    ActKind.INVALIDATE: NodeStanding.INVALIDATED,
    ActKind.REMOVE: NodeStanding.ABSENT,
}


def _counted(taken: Iterable[TakenAct], dry_run: bool) -> list[TakenAct]:
    return [one for one in taken if dry_run or one.state is not ActState.SHOWN]


@attrs.frozen(kw_only=True)
class Budget:
    """How much coin acts may cost in any 24 hours. `gas_price_wei`: None: nobody says what gas
    costs. `gas`: how much each kind of act uses at most."""

    per_day_wei: int
    gas_price_wei: int | None
    gas: Mapping[ActKind, int]

    def reserve_wei(self, kind: ActKind) -> int | None:
        """The most that an act of this kind may cost now; None: nobody knows."""
        return None if self.gas_price_wei is None else self.gas[kind] * self.gas_price_wei

    def left_wei(self, taken: Iterable[TakenAct], now_ms: int) -> int:
        """What may still be spent: open acts count whole, whenever they were decided."""
        return max(0, self.per_day_wei - sum(_cost_wei(one, now_ms) for one in taken))


def _cost_wei(one: TakenAct, now_ms: int) -> int:
    if one.is_open:
        return one.act.reserve_wei
    if now_ms - one.act.at_ms >= DAY_MS:
        return 0
    return one.act.reserve_wei if one.state is ActState.SHOWN else one.spent_wei
