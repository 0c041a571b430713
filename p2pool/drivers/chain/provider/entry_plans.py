"""Plans of nodes on their way into a pool: into the registry, the pool, or from another pool.

Intuition: nobody pays for a pool that does not exist, has not started, is full or will not have
them. So the pool is judged first, and whatever keeps a node out of it stands before the first
transaction. What others do in between (a validator, a manager) is a wait with the command that they
run.
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.stake import ADDING, shortage_text
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import JOIN, NodeInfo, PoolInfo
from p2pool.drivers.chain.provider.facts import NodeFacts, PoolFacts, ProviderFacts
from p2pool.drivers.chain.provider.plan import Call, Later, Plan, Step, Wait
from p2pool.drivers.chain.provider.provider_plans import stake_steps, whitelist_wait
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import Conflict, NotFound, TransactionFailed
from p2pool.model.ids import Address, NodeId
from p2pool.model.states import PoolStatus

JOIN_MANY = "joinComputePool(uint256,address,address[],uint256[],uint256[],bytes[])"


class Closed(TransactionFailed):
    """A way that is closed until somebody does something else. `cause`: what the contracts would
    refuse it for, by the names of `refusals.SENTENCES`."""

    def __init__(self, cause: str, message: str, *, hint: str) -> None:
        """A refusal before anything is sent."""
        super().__init__(message, hint=hint)
        self.cause = cause


@attrs.frozen
class Newcomer:
    """A node that is to be in a pool. `consent`: its key's, None: that key is not at hand.
    `invite`: a good one; None: none is known, and `uninvited` says why."""

    facts: NodeFacts
    units: int
    consent: bytes | None = None
    invite: Invite | None = None
    uninvited: str = ""

    @property
    def node_id(self) -> NodeId:
        """The node."""
        return self.facts.node_id

    @property
    def info(self) -> NodeInfo | None:
        """As the registry has it; None: it does not. Refuses the unknown."""
        return None if self.facts.registry.is_absent else self.facts.registry.value


# --- in -----------------------------------------------------------------------------------------


def join_plan(
    at: Addresses,
    pool: PoolFacts,
    provider: ProviderFacts,
    newcomers: Sequence[Newcomer],
    *,
    stake_max_wei: int | None = None,
    known_only: bool = False,
) -> Plan:
    """The whole rest of the way of nodes into a pool. `known_only`: of nodes that are registered.

    Raises `Conflict` where the pool has ended, `NotFound` for no pool, `Closed` for another
    provider's node and for whom the pool bars, `NotAllowed` beyond `stake_max_wei`.
    """
    outside = [one for one in newcomers if not one.facts.is_member]
    for one in newcomers:
        _check_owner(one, provider.address)
    if not outside:
        return Plan(provider.address)
    info = pool.need()
    _check_open(info, pool, outside)
    strange = [one for one in outside if one.info is None]
    if known_only and strange:
        raise NotFound(
            f"The node {address_text(strange[0].node_id)} is not registered, so it was in no pool.",
            hint="Take it in from the beginning: p2pool pool join.",
        )
    steps: list[Step] = [*_pool_waits(info, pool, outside)]
    steps += _registering(at, provider, strange, stake_max_wei)
    steps += _validation(provider, outside)
    if not strange and not provider.is_whitelisted:
        steps.append(whitelist_wait(provider.address))
    steps += _entering(at, info, provider.address, outside)
    return Plan(provider.address, tuple(steps))


def waits_of_a_stranger(pool: PoolFacts, stranger: Newcomer) -> tuple[Wait, ...]:
    """What a node waits for that no provider has registered yet, as far as anybody can tell without
    knowing who will. Raises as `join_plan` does."""
    info = pool.need()
    _check_open(info, pool, [stranger])
    node = address_text(stranger.node_id)
    provider = Wait(
        name="registered",
        finding="the node is not registered",
        whom="its provider, whose key this agent does not have",
        command=f"p2pool pool join {node} --node-key FILE",
    )
    return (*_pool_waits(info, pool, [stranger]), provider)


def node_plan(
    at: Addresses,
    provider: ProviderFacts,
    newcomer: Newcomer,
    stake_max_wei: int | None = None,
) -> Plan:
    """A node in the registry, as far as the validator."""
    _check_owner(newcomer, provider.address)
    strange = [] if newcomer.info is not None else [newcomer]
    steps = _registering(at, provider, strange, stake_max_wei)
    steps += _validation(provider, [newcomer])
    return Plan(provider.address, tuple(steps))


def _check_owner(one: Newcomer, provider: Address) -> None:
    """`TransactionFailed` for a node of another provider than the one whose key we were given."""
    if one.info is not None and one.info.provider != provider:
        raise Closed(
            "NodeExists",
            f"The node is registered by the provider {address_text(one.info.provider)}.",
            hint="Use that provider's key, or another node key: p2pool node rekey.",
        )


def _check_open(info: PoolInfo, pool: PoolFacts, outside: Sequence[Newcomer]) -> None:
    """`Conflict` where the way is closed for good."""
    if info.status is PoolStatus.COMPLETED:
        raise Conflict("The pool has ended.", hint="Choose another pool.")
    if not pool.barred.is_absent:
        raise Closed(
            "ProviderBlacklistedHere",
            f"The provider is blacklisted in pool {info.pool_id} for good.",
            hint="Choose another pool, or ask its manager why.",
        )
    for one in outside:
        if one.facts.is_barred:
            raise Closed(
                "NodeBlacklistedHere",
                f"The node {address_text(one.node_id)} is blacklisted in pool {info.pool_id} for"
                " good.",
                hint="Choose another pool, or another node key, or ask its manager why.",
            )


def _pool_waits(info: PoolInfo, pool: PoolFacts, outside: Sequence[Newcomer]) -> list[Wait]:
    """What of the pool itself has to change first."""
    keeper = address_text(info.creator)
    if info.status is PoolStatus.PENDING:
        return [
            Wait(
                name="pool started",
                finding="the pool is not active",
                whom=f"its creator {keeper}",
                command=f"p2pool pool start {info.pool_id}",
            )
        ]
    used = 0 if pool.used_units.is_absent else pool.used_units.need("compute of the pool")
    units = sum(one.units if one.info is None else one.info.compute_units for one in outside)
    if info.compute_limit and used + units > info.compute_limit:
        return [
            Wait(
                name="room made",
                finding=f"the pool is full: {used} of {info.compute_limit} units, {units} to come",
                whom=f"the manager {address_text(info.manager)}, who can raise the limit",
                command=f"p2pool pool set-limit {used + units} --pool {info.pool_id}",
            )
        ]
    return []


def _registering(
    at: Addresses,
    provider: ProviderFacts,
    strange: Sequence[Newcomer],
    stake_max_wei: int | None,
) -> list[Step]:
    """Stake, and add each node that the registry does not have, with its consent."""
    if not strange:
        return []
    units = sum(one.units for one in strange)
    assert provider.units == units, "the stake was read for other units"
    steps = stake_steps(at, provider, provider.stake_needed_wei, stake_max_wei)
    if not provider.is_whitelisted:
        steps.append(whitelist_wait(provider.address))
    add = function("PrimeNetwork", "addComputeNode")
    for one in strange:
        purpose = f"Register {address_text(one.node_id)} with {one.units} units."
        if one.consent is None:
            lacks = "the consent of the node's key"
            steps.append(
                Later(
                    name="node registered",
                    purpose=purpose,
                    to=at.network,
                    function=add,
                    lacks=lacks,
                )
            )
        else:
            arguments = (one.node_id, "", one.units, one.consent)
            steps.append(
                Call(
                    name="node registered",
                    purpose=purpose,
                    to=at.network,
                    function=add,
                    arguments=arguments,
                )
            )
    return steps


def _validation(provider: ProviderFacts, nodes: Sequence[Newcomer]) -> list[Step]:
    """The validator's turn; where a slash took of the stake, it validates nobody before that is
    made good."""
    waiting = [one for one in nodes if one.info is None or not one.info.validated]
    steps: list[Step] = []
    if any(one.info is not None for one in waiting):
        steps += _slashed(provider)
    for one in waiting:
        node = address_text(one.node_id)
        named = "the node" if len(nodes) == 1 else f"the node {node}"
        steps.append(
            Wait(
                name="validated",
                finding=f"{named} is not validated",
                whom="the validator",
                command=f"p2pool validator validate {node}",
            )
        )
    return steps


def _slashed(provider: ProviderFacts) -> list[Step]:
    """The wait for stake that is missing for the nodes that are registered already."""
    staked_wei = 0 if provider.stake_wei.is_absent else provider.stake_wei.need("stake")
    if provider.minimum_wei.is_absent:
        return []
    needed_wei = provider.minimum_wei.need("minimum stake")
    finding = shortage_text(provider.address, staked_wei, needed_wei)
    if finding is None:
        return []
    whom = f"its provider {address_text(provider.address)}"
    return [Wait(name="stake", finding=finding, whom=whom, command=ADDING)]


def _entering(
    at: Addresses, info: PoolInfo, provider: Address, outside: Sequence[Newcomer]
) -> list[Step]:
    """Invites, and the one transaction that takes all nodes in."""
    steps: list[Step] = []
    for one in outside:
        if one.invite is None:
            steps.append(invite_wait(info, one.node_id, one.uninvited))
    name, many = "joined", len(outside) > 1
    named = f"{len(outside)} nodes" if many else address_text(outside[0].node_id)
    purpose = f"Take {named} into pool {info.pool_id}."
    join = function("ComputePool", JOIN_MANY if many else JOIN)
    if steps:
        lacks = "the manager's invite"
        return [*steps, Later(name=name, purpose=purpose, to=at.pool, function=join, lacks=lacks)]
    invites = [one.invite for one in outside if one.invite is not None]
    return [
        Call(
            name=name,
            purpose=purpose,
            to=at.pool,
            function=join,
            arguments=join_arguments(info.pool_id, provider, invites),
        )
    ]


def join_arguments(
    pool_id: int, provider: Address, invites: Sequence[Invite]
) -> tuple[object, ...]:
    """The arguments of joining: of one node, or of several as arrays."""
    if len(invites) == 1:
        one = invites[0]
        return (pool_id, provider, one.node_id, one.nonce, one.expiration_s, one.signature)
    return (pool_id, provider, *_arrays(invites))


def _arrays(invites: Sequence[Invite]) -> tuple[object, ...]:
    return (
        [one.node_id for one in invites],
        [one.nonce for one in invites],
        [one.expiration_s for one in invites],
        [one.signature for one in invites],
    )


def invite_wait(info: PoolInfo, node_id: NodeId, why: str = "") -> Wait:
    """The wait for the manager's invite. `why`: what is wrong with the one that is known."""
    node = address_text(node_id)
    return Wait(
        name="invited",
        finding=why or f"no invite for {node} is known",
        whom=f"the manager {address_text(info.manager)}",
        command=f"p2pool pool invite {node}",
    )


# --- from one pool to another ---------------------------------------------------------------------


def move_plan(
    at: Addresses,
    fro: PoolFacts,
    to: PoolFacts,
    provider: ProviderFacts,
    newcomers: Sequence[Newcomer],
) -> Plan:
    """Nodes from one pool to another in one transaction, so that they are never in neither.
    `newcomers`: their standing in the other pool."""
    fro.need()
    outside = [one for one in newcomers if not one.facts.is_member]
    for one in outside:
        _check_owner(one, provider.address)
        if one.info is None or not one.info.active:
            raise NotFound(
                f"The node {address_text(one.node_id)} is in no pool, so it cannot move.",
                hint="Take it in: p2pool pool join.",
            )
    if not outside:
        return Plan(provider.address)
    info = to.need()
    _check_open(info, to, outside)
    steps: list[Step] = [*_pool_waits(info, to, outside)]
    if not provider.is_whitelisted:
        steps.append(whitelist_wait(provider.address))
    steps += [
        invite_wait(info, one.node_id, one.uninvited) for one in outside if one.invite is None
    ]
    change = function("ComputePool", "changeComputePool")
    purpose = f"Move {len(outside)} node(s) from pool {fro.pool_id} to pool {to.pool_id}."
    invites = [one.invite for one in outside if one.invite is not None]
    if len(invites) < len(outside):
        steps.append(
            Later(
                name="moved",
                purpose=purpose,
                to=at.pool,
                function=change,
                lacks="the manager's invite",
            )
        )
    else:
        arguments = (fro.pool_id, to.pool_id, *_arrays(invites))
        steps.append(
            Call(name="moved", purpose=purpose, to=at.pool, function=change, arguments=arguments)
        )
    return Plan(provider.address, tuple(steps))
