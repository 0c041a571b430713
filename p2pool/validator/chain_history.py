"""What the chain says of the nodes that findings are about, for a decision.

Invariants: all of it is of one block; what an endpoint does not tell is unknown in the history,
never absent and never zero.
"""

from collections.abc import Iterable, Sequence

from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import NodeFacts, Presence
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.model.ids import Address
from p2pool.validator.policy.acts import TakenAct
from p2pool.validator.policy.findings import Finding
from p2pool.validator.policy.history import ChainNode, History, Registry


async def history_of(
    chain: PoolContracts, me: Address, findings: Iterable[Finding], taken: Sequence[TakenAct]
) -> History:
    """The history of a validator's account. `taken`: the acts of its journal."""
    listed = list(findings)
    reader = await Reader.at_head(chain)
    node_ids = sorted({one.node_id for one in listed})
    nodes = {
        facts.node_id: chain_node(facts)
        for first in range(0, len(node_ids), _READ_AT_ONCE)
        for facts in await reader.registry_nodes(node_ids[first : first + _READ_AT_ONCE])
    }
    stakes_wei = {}
    for provider in sorted({one.provider for one in listed}):
        stake = (await reader.provider(provider)).stake_wei
        if stake.presence is not Presence.UNKNOWN:
            stakes_wei[provider] = stake.value or 0
    return History(me=me, nodes=nodes, stakes_wei=stakes_wei, taken=tuple(taken))


_READ_AT_ONCE = 32
"""Nodes that are asked for at once: an endpoint takes a few calls at a time."""


def chain_node(facts: NodeFacts) -> ChainNode:
    """A node's registry record, as the policy knows it."""
    registry = facts.registry
    if registry.presence is Presence.UNKNOWN:
        return ChainNode(Registry.UNKNOWN)
    if registry.value is None:
        return ChainNode(Registry.ABSENT)
    state = Registry.VALIDATED if registry.value.validated else Registry.REGISTERED
    return ChainNode(state, registry.value.provider)
