"""Plans of a validator's acts: whitelist, blacklist, validate, invalidate, slash.

Intuition: each names a state that there shall be, and sends what is missing of it, so it can be
repeated when nobody knows whether it arrived. A slash alone is no state: its reason stands for it,
and the same reason slashes once.

Invalidation has two degrees. Softly, a node loses its validation and may be validated again as it
is. Hard, it leaves the registry too: its provider has to register it anew, with its consent, and a
validator has to look at it as at a stranger. A node that works in a pool leaves that first, which
is for the pool's keepers to do.

Invariants: who may is judged first; a node or provider that the registry does not know is a
mistyped one, unless the act was to make it unknown.
Source: docs/design/chain.md, "Plans"; docs/validators.md.
"""

from collections.abc import Mapping, Sequence

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_text
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import NodeInfo
from p2pool.drivers.chain.provider.facts import NodeFacts, ProviderFacts, Reading
from p2pool.drivers.chain.provider.plan import Call, Plan, Step, Wait
from p2pool.drivers.chain.validator.roles import Roles
from p2pool.drivers.chain.validator.slashes import Slashes
from p2pool.model import limits
from p2pool.model.errors import Malformed, NotFound
from p2pool.model.ids import Address

# --- providers ----------------------------------------------------------------------------------


def whitelist_plan(at: Addresses, roles: Roles, providers: Sequence[ProviderFacts]) -> Plan:
    """Providers that may register nodes; each needs a transaction."""
    roles.check_validator_or_federator()
    _check_registered(providers)
    steps = [
        Call(
            name="whitelisted",
            purpose=f"Let the provider {address_text(one.address)} register nodes.",
            to=at.network,
            function=function("PrimeNetwork", "whitelistProvider"),
            arguments=(one.address,),
        )
        for one in providers
        if not one.is_whitelisted
    ]
    return Plan(roles.account, tuple(steps), _already(providers, True, "whitelisted"))


def blacklist_plan(at: Addresses, roles: Roles, providers: Sequence[ProviderFacts]) -> Plan:
    """Providers whose nodes may not work until they are whitelisted again."""
    roles.check_validator_or_federator()
    _check_registered(providers)
    steps = [
        Call(
            name="blacklisted",
            purpose=f"Keep the nodes of the provider {address_text(one.address)} from work, and it"
            " from registering more, until it is whitelisted again.",
            to=at.network,
            function=function("PrimeNetwork", "blacklistProvider"),
            arguments=(one.address,),
            asks=True,
        )
        for one in providers
        if one.is_whitelisted
    ]
    return Plan(roles.account, tuple(steps), _already(providers, False, "not whitelisted"))


def _check_registered(providers: Sequence[ProviderFacts]) -> None:
    for one in providers:
        if not one.is_registered:
            raise NotFound(
                f"{address_text(one.address)} is not registered as a provider. Nothing was sent.",
                hint="A whitelisting before the registration would be lost: it registers first"
                " (p2pool provider register).",
            )


def _already(providers: Sequence[ProviderFacts], listed: bool, state: str) -> tuple[str, ...]:
    return tuple(
        f"The provider {address_text(one.address)} is {state} already."
        for one in providers
        if one.is_whitelisted is listed
    )


# --- nodes --------------------------------------------------------------------------------------


def validate_plan(
    at: Addresses,
    roles: Roles,
    nodes: Sequence[NodeFacts],
    providers: Mapping[Address, ProviderFacts],
) -> Plan:
    """Nodes that may enter pools. Those whose provider lacks stake come last: they wait for it."""
    roles.check_validator()
    ready: list[Step] = []
    short: dict[Address, list[Step]] = {}
    notes = []
    for one in nodes:
        info = _known(one)
        if info.validated:
            notes.append(f"The node {address_text(one.node_id)} is validated already.")
            continue
        facts = providers[info.provider]
        call = _status_call(at, one, info, "validated", f"Let {_named(one)} enter pools.")
        if (missing := _stake_wait(facts)) is None:
            ready.append(call)
        else:
            short.setdefault(info.provider, [missing]).append(call)
        if not facts.is_whitelisted:
            notes.append(
                f"The provider {address_text(info.provider)} is not whitelisted, so its nodes enter"
                f" no pool yet: p2pool validator whitelist {address_text(info.provider)}."
            )
    late = [step for steps in short.values() for step in steps]
    return Plan(roles.account, (*ready, *late), tuple(dict.fromkeys(notes)))


def invalidate_plan(
    at: Addresses, roles: Roles, nodes: Sequence[NodeFacts], hard: bool = False
) -> Plan:
    """Nodes that enter no pool until they are validated again; hard: out of the registry too."""
    roles.check_validator()
    lost: list[Step] = []
    removed: list[Step] = []
    late: list[Step] = []
    notes = []
    for one in nodes:
        if hard and one.registry.is_absent:
            notes.append(f"The registry does not know {_named(one)}: nothing to send.")
            continue
        info = _known(one)
        if info.validated:
            purpose = f"Keep {_named(one)} out of pools until it is validated again."
            lost.append(_status_call(at, one, info, "invalidated", purpose, asks=hard))
        elif not hard:
            notes.append(f"The node {address_text(one.node_id)} is not validated anyway.")
        if info.active and not hard:
            notes.append(
                f"The node {address_text(one.node_id)} stays in its pool: its keepers put it out"
                f" with p2pool pool eject {address_text(one.node_id)}."
            )
        if hard:
            late += [_ejection(one)] if info.active else []
            (late if info.active else removed).append(_removal(at, one, info))
    return Plan(roles.account, (*lost, *removed, *late), tuple(notes))


def _known(one: NodeFacts) -> NodeInfo:
    if one.registry.is_absent or one.registry.value is None:
        raise NotFound(
            f"The registry does not know {_named(one)}. Nothing was sent.",
            hint="Check the address: p2pool node ls. Its provider registers it with"
            " p2pool node register.",
        )
    return one.registry.value


def _named(one: NodeFacts) -> str:
    return f"the node {address_text(one.node_id)}"


def _status_call(
    at: Addresses, one: NodeFacts, info: NodeInfo, name: str, purpose: str, *, asks: bool = False
) -> Call:
    asked = "validateNode" if name == "validated" else "invalidateNode"
    return Call(
        name=name,
        purpose=purpose,
        to=at.network,
        function=function("PrimeNetwork", asked),
        arguments=(info.provider, one.node_id),
        asks=asks,
    )


def _ejection(one: NodeFacts) -> Wait:
    return Wait(
        name="ejected",
        finding=f"{_named(one)} works in a pool",
        whom="that pool's creator or manager",
        command=f"p2pool pool eject {address_text(one.node_id)}",
    )


def _removal(at: Addresses, one: NodeFacts, info: NodeInfo) -> Call:
    return Call(
        name="node removed",
        purpose=f"Take {_named(one)} out of the registry: its provider may register it anew.",
        to=at.network,
        function=function("PrimeNetwork", "removeComputeNode"),
        arguments=(info.provider, one.node_id),
        asks=True,
    )


def _stake_wait(facts: ProviderFacts) -> Wait | None:
    """The network validates no node of a provider that has less stake than its nodes need."""
    if facts.minimum_wei.is_absent:
        return None
    staked_wei = 0 if facts.stake_wei.is_absent else facts.stake_wei.need("stake")
    needed_wei = facts.minimum_wei.need("minimum stake")
    if staked_wei >= needed_wei:
        return None
    return Wait(
        name="stake",
        finding=f"the stake is {tokens_text(staked_wei)}, and the nodes need"
        f" {tokens_text(needed_wei)}",
        whom=f"the provider {address_text(facts.address)}",
        command="p2pool provider stake add",
    )


# --- slashes ------------------------------------------------------------------------------------


@attrs.frozen
class Penalty:
    """What is taken from a provider's stake for good. `reason`: its own, and beside it on the
    chain; the same reason takes once."""

    provider: Address
    amount_wei: int
    reason: bytes

    def check(self) -> None:
        """`Malformed` for one that nobody could repeat, or that takes nothing."""
        if not 0 < len(self.reason) <= limits.SLASH_REASON_MAX_BYTES:
            raise Malformed(
                f"A reason has 1 to {limits.SLASH_REASON_MAX_BYTES} bytes, not"
                f" {len(self.reason)}: it stands on the chain, and for the same one nobody is"
                " slashed twice."
            )
        if self.amount_wei <= 0:
            raise Malformed("A slash takes more than nothing.", hint="Name an amount in tokens.")


def slash_plan(
    at: Addresses,
    roles: Roles,
    facts: ProviderFacts,
    penalty: Penalty,
    earlier: Reading[Slashes],
) -> Plan:
    """Stake of a provider taken for good. `earlier`: unknown is refused, for it might be twice."""
    roles.check_validator()
    penalty.check()
    assert facts.address == penalty.provider
    who = address_text(penalty.provider)
    done = earlier.need("list of slashes")
    if (same := done.for_reason(penalty.reason)) is not None:
        return Plan(
            roles.account,
            (),
            (
                f"{tokens_text(same.amount_wei)} were taken from {who} for this reason in block"
                f" {same.block}: another slash needs another reason.",
            ),
        )
    staked_wei = 0 if facts.stake_wei.is_absent else facts.stake_wei.need("stake")
    if not facts.is_registered and not staked_wei:
        raise NotFound(
            f"{who} is not registered as a provider, and has no stake. Nothing was sent.",
            hint="Check the address: p2pool provider status PROVIDER shows its stake.",
        )
    call = Call(
        name="slashed",
        purpose=f"Take {tokens_text(penalty.amount_wei)} of the stake of {who} for good.",
        to=at.network,
        function=function("PrimeNetwork", "slash"),
        arguments=(penalty.provider, penalty.amount_wei, penalty.reason),
        asks=True,
    )
    notes = [f"Whether it was done before was looked up from block {done.first_block} on."]
    if penalty.amount_wei > staked_wei:
        notes.append(
            f"It has {tokens_text(staked_wei)} staked: more is taken only where the deployment"
            " takes of what is unbonding."
        )
    return Plan(roles.account, (call,), (*notes, *_after_slash(facts, staked_wei, penalty)))


def _after_slash(facts: ProviderFacts, staked_wei: int, penalty: Penalty) -> tuple[str, ...]:
    left_wei = max(0, staked_wei - penalty.amount_wei)
    needed_wei = 0 if facts.minimum_wei.is_absent else facts.minimum_wei.need("minimum stake")
    if left_wei >= needed_wei:
        return ()
    return (
        f"{tokens_text(left_wei)} are left, and its nodes need {tokens_text(needed_wei)}: the"
        " network validates none of them until it has added stake.",
    )
