"""Whether the chain answers, is the right one, and how far this node has come into the pool.

Each endpoint is checked on its own, so a silent one, or one on another chain, is named. Money is
checked only as far as something is still to be paid: a member needs none.
"""

import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import tokens_number, tokens_text
from p2pool.codec.text.data_uri import requirements as requirements_of
from p2pool.codec.text.requirements import parse_requirements
from p2pool.codec.text.stake import ADDING, shortage_text
from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
from p2pool.drivers.chain.provider.facts import ProviderFacts
from p2pool.drivers.chain.provider.reads import Reader
from p2pool.drivers.chain.provider.ways import compute_units
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.drivers.config.schema import AgentConfig
from p2pool.model import limits
from p2pool.model.errors import (
    ChainUnavailable,
    Malformed,
    Misconfigured,
    P2poolError,
    WrongChain,
)
from p2pool.model.ids import Address, NodeId
from p2pool.model.machine.checks import Check, Group, Verdict
from p2pool.model.machine.requirements import Requirements
from p2pool.model.states import PoolStatus

REQUIREMENTS = "requirements"
"""The name of the check that fails while nobody can say what the pool asks of a machine."""


async def read_pool(config: AgentConfig) -> tuple[PoolInfo | None, Requirements, list[Check]]:
    """The pool, its requirements for machines, and the checks for whatever could not be read, each
    in its group. Requirements that nobody can read are not met: unknown is never yes."""
    try:
        pool = await PoolContracts.of(config.chain).pool(config.pool.id)
    except (P2poolError, Reverted) as error:
        failed = _failed("pool", error)
        return None, Requirements(), [failed, _unknown(failed.found, failed.todo)]
    try:
        return pool, parse_requirements(requirements_of(pool.data_uri)), []
    except Malformed as error:
        return pool, Requirements(), [_unknown(error.message, error.hint)]


def _unknown(found: str, todo: str) -> Check:
    return Check(Group.HARDWARE, REQUIREMENTS, Verdict.FAIL, f"unknown: {found}", todo=todo)


def _failed(name: str, error: P2poolError | Reverted) -> Check:
    hint = error.hint if isinstance(error, P2poolError) else ""
    todo = hint or "See [chain] in the configuration."
    return Check(Group.CHAIN, name, Verdict.FAIL, str(error).removesuffix(hint).strip(), todo=todo)


async def endpoint_checks(config: AgentConfig) -> list[Check]:
    """Every endpoint on its own, all at once."""
    found: dict[str, Check] = {}

    async def ask(url: str) -> None:
        rpc = Rpc.to(config.chain.id, (url,))
        shown = rpc.endpoints[0].shown
        needed = f"chain {config.chain.id}"
        try:
            with trio.fail_after(2 * limits.CHAIN_CALL_TIMEOUT_MS / 1000):
                block = await rpc.quantity("eth_blockNumber")
        except (WrongChain, ChainUnavailable, Misconfigured, Reverted) as error:
            verdict = Verdict.FAIL if len(config.chain.endpoints) == 1 else Verdict.WARN
            todo = "Name another endpoint in [chain] endpoints."
            found[url] = Check(
                Group.CHAIN, "endpoint", verdict, f"{error}", needed=needed, todo=todo
            )
        except trio.TooSlowError:
            found[url] = Check(
                Group.CHAIN,
                "endpoint",
                Verdict.WARN,
                f"{shown} is silent",
                needed=needed,
                todo="Name another endpoint in [chain] endpoints.",
            )
        else:
            found[url] = Check(
                Group.CHAIN, "endpoint", Verdict.PASS, f"{shown}, block {block}", needed=needed
            )

    async with trio.open_nursery() as nursery:
        for url in config.chain.endpoints:
            nursery.start_soon(ask, url)
    checks = [found[url] for url in config.chain.endpoints]
    if all(check.verdict is not Verdict.PASS for check in checks):
        checks.append(
            Check(
                Group.CHAIN,
                "endpoints",
                Verdict.FAIL,
                "none answers for this chain",
                needed=f"chain {config.chain.id}",
                todo="Name other endpoints in [chain] endpoints, or correct [chain] id.",
            )
        )
    elif len(checks) == 1:
        checks.append(
            Check(
                Group.CHAIN,
                "endpoints",
                Verdict.WARN,
                "one",
                needed="two or more",
                todo="Only a second endpoint reveals an outage, or a lie, of the first.",
            )
        )
    return checks


async def chain_checks(
    config: AgentConfig,
    pool: PoolInfo | None,
    node_id: NodeId | None,
    provider: Address | None,
    gpus: int,
) -> list[Check]:
    """All checks of the group `chain`; `gpus` is how many this machine offers, and stakes for."""
    checks = await endpoint_checks(config)
    if pool is None:
        return checks
    checks.append(_pool(pool))
    try:
        checks += await _standing(PoolContracts.of(config.chain), pool, node_id, provider, gpus)
    except (P2poolError, Reverted) as error:
        checks.append(_failed("standing", error))
    return checks


def _pool(pool: PoolInfo) -> Check:
    found = f"{pool.pool_id} ({pool.name or 'no name'}), {pool.status.name.lower()}"
    if pool.status is PoolStatus.ACTIVE:
        return Check(Group.CHAIN, "pool", Verdict.PASS, found, needed="active")
    if pool.status is PoolStatus.PENDING:
        todo = f"Ask its creator or manager to start it: p2pool pool start {pool.pool_id}."
        return Check(Group.CHAIN, "pool", Verdict.WARN, found, needed="active", todo=todo)
    return Check(
        Group.CHAIN, "pool", Verdict.FAIL, found, needed="active", todo="Choose another pool."
    )


async def _standing(
    chain: PoolContracts,
    pool: PoolInfo,
    node_id: NodeId | None,
    provider: Address | None,
    gpus: int,
) -> list[Check]:
    """How far the node and its provider have come."""
    if node_id is None:
        todo = "Name it: --node-key FILE, or --node ADDRESS."
        return [Check(Group.CHAIN, "node", Verdict.WARN, "no node key is named", todo=todo)]
    reader = await Reader.at_head(chain)
    node = await reader.node(pool.pool_id, node_id)
    name = address_text(node_id)
    if node.is_member:
        return [Check(Group.CHAIN, "node", Verdict.PASS, f"{name} is in the pool")]
    info = None if node.registry.is_absent else node.registry.value
    checks = [_registered(name, info is not None, info is not None and info.validated)]
    if provider is None and info is not None:
        provider = info.provider
    if provider is None:
        todo = "Name it: --provider ADDRESS, or run the agent with --provider-key."
        checks.append(Check(Group.CHAIN, "provider", Verdict.WARN, "none is named", todo=todo))
        return checks
    units = compute_units(gpus) if info is None else 0
    return checks + _provider(await reader.provider(provider, units))


def _registered(name: str, registered: bool, validated: bool) -> Check:
    if not registered:
        todo = f"Its provider takes it in: p2pool pool join {name} --node-key FILE."
        return Check(
            Group.CHAIN,
            "node",
            Verdict.WARN,
            f"{name} is not registered",
            needed="in the pool",
            todo=todo,
        )
    if not validated:
        return Check(
            Group.CHAIN,
            "node",
            Verdict.WARN,
            f"{name} is registered, but not validated",
            needed="validated",
            todo="Ask the network's validator.",
        )
    return Check(
        Group.CHAIN,
        "node",
        Verdict.WARN,
        f"{name} is validated, but not in the pool",
        needed="invited",
        todo=f"Ask the manager to invite it: p2pool pool invite {name}.",
    )


def _provider(facts: ProviderFacts) -> list[Check]:
    """Whether the provider can pay for the remaining steps."""
    checks = [_coin(facts), *_stake(facts)]
    name = address_text(facts.address)
    if facts.is_whitelisted:
        checks.append(Check(Group.CHAIN, "whitelist", Verdict.PASS, f"{name} is on it"))
    else:
        checks.append(
            Check(
                Group.CHAIN,
                "whitelist",
                Verdict.WARN,
                f"{name} is not whitelisted",
                needed="whitelisted",
                todo="Ask the network's validator, after staking.",
            )
        )
    return checks


def _coin(facts: ProviderFacts) -> Check:
    name, coin_wei = address_text(facts.address), facts.coin_wei.need("balance")
    if coin_wei:
        found = f"{name} has {tokens_number(coin_wei)}"
        return Check(Group.CHAIN, "provider's coin", Verdict.PASS, found)
    return Check(
        Group.CHAIN,
        "provider's coin",
        Verdict.FAIL,
        f"{name} has none",
        needed="enough for gas",
        todo=f"Send it some of the chain's coin: {name}.",
    )


def _stake(facts: ProviderFacts) -> list[Check]:
    """Whether the stake is enough for this machine, or for the nodes that the provider has."""
    staked_wei = 0 if facts.stake_wei.is_absent else facts.stake_wei.need("stake")
    if not facts.units:
        minimum_wei = 0 if facts.minimum_wei.is_absent else facts.minimum_wei.need("minimum stake")
        short = shortage_text(facts.address, staked_wei, minimum_wei)
        todo = f"Its owner runs: {ADDING}."
        return [Check(Group.CHAIN, "stake", Verdict.WARN, short, todo=todo)] if short else []
    needed_wei = facts.stake_needed_wei
    held_wei = 0 if facts.tokens_wei.is_absent else facts.tokens_wei.need("tokens")
    found = f"{tokens_number(staked_wei)} staked, {tokens_text(held_wei)} held"
    needed = f"{tokens_number(needed_wei)} staked for {facts.units} units"
    missing_wei = needed_wei - staked_wei - held_wei
    if staked_wei >= needed_wei:
        verdict, todo = Verdict.PASS, ""
    elif missing_wei <= 0:
        verdict = Verdict.WARN
        todo = (
            "The agent stakes it where its owner allows that: p2pool agent run --provider-key FILE"
            f" --stake-max {tokens_number(needed_wei)}. Or its owner does:"
            " p2pool provider register."
        )
    else:
        verdict = Verdict.FAIL
        todo = f"Send {tokens_text(missing_wei)} to {address_text(facts.address)}."
    return [Check(Group.CHAIN, "stake", verdict, found, needed=needed, todo=todo)]
