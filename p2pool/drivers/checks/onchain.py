"""Whether the chain answers, is the right one, and how far this node has come into the pool.

Each endpoint is checked on its own, so a silent one, or one on another chain, is named. Money is
checked only as far as something is still to be paid: a member needs none.
"""

import trio

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.data_uri import requirements as requirements_of
from p2pool.codec.text.requirements import parse_requirements
from p2pool.drivers.chain.contracts import PoolContracts, PoolInfo
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

UNITS_PER_GPU = 1000
COIN = 10**18


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
        todo = "Ask its creator or manager to start it: p2pool pool start."
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
    name = address_text(node_id)
    if await chain.in_pool(pool.pool_id, node_id):
        return [Check(Group.CHAIN, "node", Verdict.PASS, f"{name} is in the pool")]
    node = await chain.node(node_id)
    checks = [_registered(name, node is not None, node is not None and node.validated)]
    if provider is None and node is not None:
        provider = node.provider
    if provider is None:
        todo = "Name it: --provider ADDRESS, or run the agent with --provider-key."
        checks.append(Check(Group.CHAIN, "provider", Verdict.WARN, "none is named", todo=todo))
        return checks
    return checks + await _provider(chain, provider, node is None, gpus)


def _registered(name: str, registered: bool, validated: bool) -> Check:
    if not registered:
        todo = "The agent registers it with its provider's key: agent run --provider-key FILE."
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


async def _provider(
    chain: PoolContracts, provider: Address, to_stake: bool, gpus: int
) -> list[Check]:
    """Whether the provider can pay for the remaining steps."""
    name = address_text(provider)
    coin_wei = await chain.balance_wei(provider)
    checks = []
    if coin_wei == 0:
        checks.append(
            Check(
                Group.CHAIN,
                "provider's coin",
                Verdict.FAIL,
                f"{name} has none",
                needed="enough for gas",
                todo=f"Send it some of the chain's coin: {name}.",
            )
        )
    else:
        found = f"{name} has {coin_wei / COIN:.4f}"
        checks.append(Check(Group.CHAIN, "provider's coin", Verdict.PASS, found))
    if to_stake:
        checks.append(await _stake(chain, provider, gpus))
    if await chain.whitelisted(provider):
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


async def _stake(chain: PoolContracts, provider: Address, gpus: int) -> Check:
    units = max(1, UNITS_PER_GPU * gpus)
    needed_wei = await chain.stake_needed(provider, units)
    staked_wei = await chain.stake(provider)
    held_wei = await chain.tokens(provider)
    found = f"{staked_wei / COIN:.4f} staked, {held_wei / COIN:.4f} tokens held"
    needed = f"{needed_wei / COIN:.4f} staked for {units} units"
    if staked_wei >= needed_wei:
        return Check(Group.CHAIN, "stake", Verdict.PASS, found, needed=needed)
    if staked_wei + held_wei >= needed_wei:
        todo = "The agent stakes it with its provider's key: agent run --provider-key FILE."
        return Check(Group.CHAIN, "stake", Verdict.WARN, found, needed=needed, todo=todo)
    missing = (needed_wei - staked_wei - held_wei) / COIN
    return Check(
        Group.CHAIN,
        "stake",
        Verdict.FAIL,
        found,
        needed=needed,
        todo=f"Send {missing:.4f} more tokens to {address_text(provider)}.",
    )
