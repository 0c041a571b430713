"""Plans of a provider's own life: register, stake, reclaim, withdraw, deregister.

Intuition: every verb names a state, not a change, so that it can be repeated when nobody knows
whether it arrived: "a stake of 5", never "5 more". Stake that comes back takes time, so the plan of
a reclaim goes on over the wait to the withdrawal.

Source: docs/design/chain.md, "Plans".
"""

from collections.abc import Mapping, Sequence

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_text
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.provider.facts import OwnNode, ProviderFacts, StakeFacts
from p2pool.drivers.chain.provider.plan import Call, Plan, Step, Wait
from p2pool.drivers.dates import utc
from p2pool.model import limits
from p2pool.model.errors import Conflict, NotAllowed, NotFound
from p2pool.model.ids import Address, NodeId

LEAVE_ONE = "leaveComputePool(uint256,address,address)"
LEAVE_MANY = "leaveComputePool(uint256,address,address[])"


# --- stake --------------------------------------------------------------------------------------


def stake_steps(
    at: Addresses, facts: ProviderFacts, target_wei: int, stake_max_wei: int | None = None
) -> list[Step]:
    """Approve, then register or add: what is missing of a stake, for a provider known or not.

    `NotAllowed` where it would be more than `stake_max_wei`: nobody has agreed to that.
    """
    staked_wei = facts.stake_wei.need("stake") if not facts.stake_wei.is_absent else 0
    missing_wei = max(0, target_wei - staked_wei)
    registered = facts.is_registered
    if registered and not missing_wei:
        return []
    if stake_max_wei is not None and staked_wei + missing_wei > stake_max_wei:
        raise NotAllowed(
            f"This needs a stake of {tokens_text(staked_wei + missing_wei)}, and you allow"
            f" {tokens_text(stake_max_wei)}.",
            hint="Allow more, or offer less: each unit of compute has to be staked for.",
        )
    steps: list[Step] = []
    allowed_wei = 0 if facts.allowance_wei.is_absent else facts.allowance_wei.need("allowance")
    if allowed_wei < missing_wei:
        steps.append(
            Call(
                name="approved",
                purpose=f"Let the network take {tokens_text(missing_wei)}.",
                to=at.token,
                function=function("AIToken", "approve"),
                arguments=(at.network, missing_wei),
            )
        )
    kind = ("staked", "increaseStake") if registered else ("registered", "registerProvider")
    purpose = f"Stake {tokens_text(missing_wei)}" + ("." if registered else ", and register.")
    steps.append(
        Call(
            name=kind[0],
            purpose=purpose,
            to=at.network,
            function=function("PrimeNetwork", kind[1]),
            arguments=(missing_wei,),
            tokens_wei=missing_wei,
            stake_wei=staked_wei + missing_wei,
        )
    )
    return steps


def whitelist_wait(provider: Address) -> Wait:
    """The wait for the validator to take a provider in."""
    who = address_text(provider)
    return Wait(
        name="whitelisted",
        finding=f"the provider {who} is not whitelisted",
        whom="the validator",
        command=f"p2pool validator whitelist {who}",
    )


def register_plan(
    at: Addresses,
    facts: ProviderFacts,
    stake_wei: int | None = None,
    stake_max_wei: int | None = None,
) -> Plan:
    """Registered, with a stake of at least `stake_wei`, and of what the network asks for."""
    target_wei = max(stake_wei or 0, facts.stake_needed_wei)
    steps = stake_steps(at, facts, target_wei, stake_max_wei)
    if not facts.is_whitelisted:
        steps.append(whitelist_wait(facts.address))
    return Plan(facts.address, tuple(steps))


def stake_plan(
    at: Addresses,
    facts: ProviderFacts,
    target_wei: int | None = None,
    stake_max_wei: int | None = None,
) -> Plan:
    """A stake of at least `target_wei`; None: of what its nodes need, as after a slash."""
    _check_registered(facts)
    minimum_wei = 0 if facts.minimum_wei.is_absent else facts.minimum_wei.need("minimum stake")
    wanted_wei = minimum_wei if target_wei is None else target_wei
    steps = stake_steps(at, facts, wanted_wei, stake_max_wei)
    return Plan(facts.address, tuple(steps))


def reclaim_plan(
    at: Addresses, facts: ProviderFacts, stake: StakeFacts, keep_wei: int | None = None
) -> Plan:
    """A stake of `keep_wei`, or of what its nodes need: the rest comes back after the unbonding."""
    least_wei = 0
    if facts.is_registered and not facts.minimum_wei.is_absent:
        least_wei = facts.minimum_wei.need("minimum stake")
    if keep_wei is not None and keep_wei < least_wei:
        raise Conflict(
            f"Your nodes need a stake of {tokens_text(least_wei)}: {tokens_text(keep_wei)} is too"
            " little.",
            hint="Deregister nodes first: p2pool node deregister.",
        )
    staked_wei = 0 if facts.stake_wei.is_absent else facts.stake_wei.need("stake")
    spare_wei = staked_wei - (least_wei if keep_wei is None else keep_wei)
    steps: list[Step] = []
    if spare_wei > 0:
        steps.append(
            Call(
                name="unstaked",
                purpose=f"Take {tokens_text(spare_wei)} of the stake back.",
                to=at.network,
                function=function("PrimeNetwork", "reclaimStake"),
                arguments=(spare_wei,),
            )
        )
    return Plan(facts.address, (*steps, *_way_back(at, facts, stake, max(0, spare_wei))))


def withdraw_plan(at: Addresses, facts: ProviderFacts, stake: StakeFacts) -> Plan:
    """What is due is paid out; what is not yet due is named with its date."""
    return Plan(facts.address, tuple(_way_back(at, facts, stake, 0)))


def _way_back(at: Addresses, facts: ProviderFacts, stake: StakeFacts, fresh_wei: int) -> list[Step]:
    """From unbonding into the provider's hands. `fresh_wei`: what is unstaked just before."""
    steps: list[Step] = []
    pending = () if stake.unbonds.is_absent else stake.unbonds.need("unbonding stake")
    due_wei = stake.due_wei(facts.time_s)
    if due_wei and not fresh_wei:
        steps.append(_withdraw(at, due_wei))
        due_wei = 0
    later = [one for one in pending if one.due_s > facts.time_s]
    dates = {one.due_s: 0 for one in later}
    for one in later:
        dates[one.due_s] += one.amount_wei
    if fresh_wei:
        period_s = 0 if stake.unbonding_s.is_absent else stake.unbonding_s.need("unbonding period")
        due_s = facts.time_s + period_s
        dates[due_s] = dates.get(due_s, 0) + fresh_wei
    for due_s in sorted(dates):
        steps.append(
            Wait(
                name="unbonded",
                finding=f"{tokens_text(dates[due_s])} can be withdrawn from {utc(due_s)} on"
                + (", or a little later" if fresh_wei and due_s == max(dates) else ""),
                whom="time",
                until_s=due_s,
            )
        )
        steps.append(_withdraw(at, dates[due_s] + due_wei))
        due_wei = 0
    return steps


def _withdraw(at: Addresses, wei: int) -> Call:
    return Call(
        name="withdrawn",
        purpose=f"Take {tokens_text(wei)} out of the unbonding.",
        to=at.stakes,
        function=function("StakeManager", "withdraw"),
        arguments=(),
    )


# --- leaving for good ---------------------------------------------------------------------------


def leave_call(at: Addresses, pool_id: int, provider: Address, node_ids: Sequence[NodeId]) -> Call:
    """Take nodes out of a pool, in one transaction."""
    assert 0 < len(node_ids) <= limits.BATCH_NODES_MAX
    one = len(node_ids) == 1
    named = address_text(node_ids[0]) if one else f"{len(node_ids)} nodes"
    return Call(
        name="left",
        purpose=f"Take {named} out of pool {pool_id}.",
        to=at.pool,
        function=function("ComputePool", LEAVE_ONE if one else LEAVE_MANY),
        arguments=(pool_id, provider, node_ids[0] if one else list(node_ids)),
    )


def remove_call(at: Addresses, provider: Address, node_id: NodeId) -> Call:
    """Take a node out of the registry."""
    return Call(
        name="node removed",
        purpose=f"Take {address_text(node_id)} out of the registry.",
        to=at.network,
        function=function("PrimeNetwork", "removeComputeNode"),
        arguments=(provider, node_id),
    )


def deregister_plan(
    at: Addresses,
    facts: ProviderFacts,
    stake: StakeFacts,
    nodes: Sequence[OwnNode],
    members: Mapping[int, Sequence[NodeId]],
) -> Plan:
    """Out of the network: nodes leave their pools and the registry, then the provider goes, and its
    stake comes back. `members`: of which pools the nodes are, as far as they were looked at."""
    inside = {node_id for listed in members.values() for node_id in listed}
    astray = [one.node_id for one in nodes if one.active and one.node_id not in inside]
    if astray:
        raise Conflict(
            f"The node {address_text(astray[0])} works in a pool that you did not name"
            f" ({len(astray)} such).",
            hint="Name each pool that your nodes are in: --pool N, repeatable.",
        )
    steps: list[Step] = []
    for pool_id, listed in sorted(members.items()):
        for first in range(0, len(listed), limits.BATCH_NODES_MAX):
            batch = listed[first : first + limits.BATCH_NODES_MAX]
            steps.append(leave_call(at, pool_id, facts.address, batch))
    steps += [remove_call(at, facts.address, one.node_id) for one in nodes]
    staked_wei = 0 if facts.stake_wei.is_absent else facts.stake_wei.need("stake")
    if facts.is_registered:
        steps.append(
            Call(
                name="deregistered",
                purpose=f"Deregister, and take the stake of {tokens_text(staked_wei)} back.",
                to=at.network,
                function=function("PrimeNetwork", "deregisterProvider"),
                arguments=(facts.address,),
                asks=True,
            )
        )
        return Plan(facts.address, (*steps, *_way_back(at, facts, stake, staked_wei)))
    return reclaim_plan(at, facts, stake)


def _check_registered(facts: ProviderFacts) -> None:
    if not facts.is_registered:
        raise NotFound(
            f"{address_text(facts.address)} is not registered as a provider.",
            hint="Register it: p2pool provider register.",
        )
