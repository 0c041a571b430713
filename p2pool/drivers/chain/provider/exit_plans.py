"""Plans of nodes on their way out of a pool: by their provider, or by the pool's keepers.

Intuition: who may do it and whether there is anything to do is read first, so that an account
without the right, or a node that is out already, costs a sentence and no coin.
"""

from collections.abc import Sequence

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.founding import check_keeper
from p2pool.drivers.chain.provider.facts import NodeFacts, PoolFacts
from p2pool.drivers.chain.provider.plan import Call, Plan, Step
from p2pool.drivers.chain.provider.provider_plans import leave_call, remove_call
from p2pool.model import limits
from p2pool.model.errors import Conflict, NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId
from p2pool.model.states import PoolStatus

# --- by their provider ---------------------------------------------------------------------------


def leave_plan(
    at: Addresses, pool: PoolFacts, provider: Address, nodes: Sequence[NodeFacts]
) -> Plan:
    """Nodes out of a pool, by their provider. A node that nobody registered is a mistyped one."""
    pool.need()
    for one in nodes:
        info = None if one.registry.is_absent else one.registry.value
        if info is None and not one.is_member:
            raise NotFound(
                f"The node {address_text(one.node_id)} is not in pool {pool.pool_id}, and the"
                " registry does not know it: nothing to send.",
                hint="List the nodes: p2pool node ls.",
            )
        if info is not None and info.provider != provider:
            raise NotAllowed(
                f"The node {address_text(one.node_id)} belongs to the provider"
                f" {address_text(info.provider)}, and the key to {address_text(provider)}.",
                hint="Use its provider's key; creator and manager use: p2pool pool eject.",
            )
    inside = [one.node_id for one in nodes if one.is_member]
    steps = [
        leave_call(at, pool.pool_id, provider, inside[first : first + limits.BATCH_NODES_MAX])
        for first in range(0, len(inside), limits.BATCH_NODES_MAX)
    ]
    return Plan(provider, tuple(steps), _outside_notes(pool, nodes))


def _outside_notes(pool: PoolFacts, nodes: Sequence[NodeFacts]) -> tuple[str, ...]:
    return tuple(
        f"The node {address_text(one.node_id)} is not in pool {pool.pool_id}."
        for one in nodes
        if not one.is_member
    )


def remove_plan(at: Addresses, provider: Address, nodes: Sequence[NodeFacts], pool_id: int) -> Plan:
    """Nodes out of their pool and out of the registry: their stake is spare then."""
    steps: list[Step] = []
    registered: list[NodeFacts] = []
    for one in nodes:
        info = None if one.registry.is_absent else one.registry.value
        if info is None:
            continue
        if info.provider != provider:
            raise NotAllowed(
                f"The node {address_text(one.node_id)} belongs to the provider"
                f" {address_text(info.provider)}, and the key to {address_text(provider)}.",
                hint="Use its provider's key.",
            )
        if info.active and not one.is_member:
            raise Conflict(
                f"The node {address_text(one.node_id)} works in another pool than {pool_id}.",
                hint="Name its pool: --pool N.",
            )
        registered.append(one)
    inside = [one.node_id for one in nodes if one.is_member]
    for first in range(0, len(inside), limits.BATCH_NODES_MAX):
        batch = inside[first : first + limits.BATCH_NODES_MAX]
        steps.append(leave_call(at, pool_id, provider, batch))
    steps += [remove_call(at, provider, one.node_id) for one in registered]
    spare = ("The stake of these nodes is spare then: p2pool provider stake reclaim.",)
    return Plan(provider, tuple(steps), spare if registered else ())


# --- put out, by a keeper -----------------------------------------------------------------------


def eject_plan(at: Addresses, pool: PoolFacts, keeper: Address, nodes: Sequence[NodeFacts]) -> Plan:
    """Nodes out of the pool, by its creator or manager; each needs a transaction."""
    check_keeper(pool.need(), keeper)
    for one in nodes:
        if not one.is_member and one.registry.is_absent:
            raise NotFound(
                f"The node {address_text(one.node_id)} is not in pool {pool.pool_id}, and the"
                " registry does not know it: nothing to send.",
                hint="List the nodes: p2pool node ls.",
            )
    steps = [_eject(at, pool, one.node_id) for one in nodes if one.is_member]
    return Plan(keeper, tuple(steps), _outside_notes(pool, nodes))


def _eject(at: Addresses, pool: PoolFacts, node_id: NodeId, *, asks: bool = False) -> Call:
    return Call(
        name="ejected",
        purpose=f"Put {address_text(node_id)} out of pool {pool.pool_id}.",
        to=at.pool,
        function=function("ComputePool", "ejectNode"),
        arguments=(pool.pool_id, node_id),
        asks=asks,
    )


def blacklist_node_plan(
    at: Addresses, pool: PoolFacts, keeper: Address, nodes: Sequence[NodeFacts]
) -> Plan:
    """Nodes out of the pool for good."""
    check_keeper(pool.need(), keeper)
    steps = [
        Call(
            name="blacklisted",
            purpose=f"Bar {address_text(one.node_id)} from pool {pool.pool_id} for good"
            + (", and put it out." if one.is_member else "."),
            to=at.pool,
            function=function("ComputePool", "blacklistNode"),
            arguments=(pool.pool_id, one.node_id),
            asks=True,
        )
        for one in nodes
        if not one.is_barred
    ]
    return Plan(keeper, tuple(steps))


def blacklist_provider_plan(
    at: Addresses,
    pool: PoolFacts,
    keeper: Address,
    provider: Address,
    members: Sequence[NodeFacts],
) -> Plan:
    """A provider barred from the pool for good, and its nodes put out. `members`: of its nodes."""
    check_keeper(pool.need(), keeper)
    steps: list[Step] = []
    if pool.barred.is_absent:
        steps.append(
            Call(
                name="blacklisted",
                purpose=f"Bar the provider {address_text(provider)} from pool {pool.pool_id} for"
                " good.",
                to=at.pool,
                function=function("ComputePool", "blacklistProvider"),
                arguments=(pool.pool_id, provider),
                asks=True,
            )
        )
    return Plan(keeper, (*steps, *_purge(at, pool, provider, members)))


def purge_plan(
    at: Addresses,
    pool: PoolFacts,
    keeper: Address,
    provider: Address,
    members: Sequence[NodeFacts],
) -> Plan:
    """All nodes of a provider out of the pool, in one transaction; those that nobody validates any
    more in one each: a contract may leave them in."""
    check_keeper(pool.need(), keeper)
    return Plan(keeper, tuple(_purge(at, pool, provider, members)))


def _purge(
    at: Addresses, pool: PoolFacts, provider: Address, members: Sequence[NodeFacts]
) -> list[Step]:
    if not members and pool.holds.is_absent:
        return []
    strays = [one for one in members if not one.registry.need("node").validated]
    ejected: list[Step] = [_eject(at, pool, one.node_id, asks=True) for one in strays]
    if strays and len(strays) == len(members):
        return ejected
    return [
        *ejected,
        Call(
            name="purged",
            purpose=f"Put {len(members) - len(strays)} node(s) of {address_text(provider)} out of"
            f" pool {pool.pool_id}.",
            to=at.pool,
            function=function("ComputePool", "purgeProvider"),
            arguments=(pool.pool_id, provider),
            asks=True,
        ),
    ]


def end_plan(at: Addresses, pool: PoolFacts, keeper: Address) -> Plan:
    """A pool ended for good."""
    info = pool.need()
    check_keeper(info, keeper)
    if info.status is PoolStatus.COMPLETED:
        return Plan(keeper, (), (f"Pool {pool.pool_id} has already ended.",))
    if info.status is PoolStatus.PENDING:
        raise Conflict(
            f"Pool {pool.pool_id} was never started, so it cannot end.",
            hint=f"Start it (p2pool pool start {pool.pool_id}), or leave it as it is.",
        )
    return Plan(
        keeper,
        (
            Call(
                name="ended",
                purpose=f"End pool {pool.pool_id} for good, and stop all its tasks.",
                to=at.pool,
                function=function("ComputePool", "endComputePool"),
                arguments=(pool.pool_id,),
                asks=True,
            ),
        ),
    )
