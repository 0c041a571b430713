"""Deploys the contracts that behave as the network's own do, behind proxies, on a test's chain.

Intuition: our contracts have the network's interface, and manners of their own: custom errors where
the network reverts with texts, a revert where it answers with zeros. What runs on both runs on the
network's.

Invariants: federator and validator are two accounts; the token moves for whoever has a role; pool
and domain 0 are old ones that ended, so that nobody takes a number for granted; each contract but
the token stands behind a proxy.
Source: https://github.com/PrimeIntellect-ai/smart-contracts at a1156fe (July 2025), read for what
it does; `src/` is our own.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import attrs
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from p2pool.dev.chain.contracts import (
    STAKE_MINIMUM_WEI,
    UNBONDING_S,
    Deployment,
    fund,
    new_account,
)
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter as KeyWriter
from p2pool.model.errors import TransactionFailed
from p2pool.model.ids import Address
from tests.chain.harness import acts

BUILT = Path(__file__).resolve().parents[1] / "abi"
PAUSE = Function("ForeignProxy", "proxyPause(bytes4[],bool)", ("bytes4[]", "bool"), ())
UPGRADE = Function("ForeignProxy", "proxyUpgrade(address)", ("address",), ())


@cache
def built(contract: str) -> dict[str, Any]:
    """The compiled file of a contract of `src/`."""
    loaded: dict[str, Any] = json.loads((BUILT / f"{contract}.json").read_text(encoding="utf-8"))
    return loaded


def foreign(contract: str, signature: str, outputs: tuple[str, ...] = ()) -> Function:
    """A function of these contracts by its signature, without tuples."""
    types = signature.partition("(")[2][:-1]
    return Function(contract, signature, tuple(types.split(",")) if types else (), outputs)


async def create(
    writer: KeyWriter, contract: str, types: tuple[str, ...] = (), *values: object
) -> Address:
    """A new contract, by its constructor."""
    code = bytes.fromhex(built(contract)["bytecode"][2:])
    sent = await writer.deploy(contract, code + encode(types, values))
    if sent.contract_address is None:
        raise TransactionFailed(f"{contract} was not created.")
    return sent.contract_address


async def behind_proxy(
    writer: KeyWriter, contract: str, types: tuple[str, ...], *values: object
) -> Address:
    """A contract behind a proxy that the writer owns; the proxy's address."""
    code = await create(writer, contract)
    call = foreign(contract, f"initialize({','.join(types)})").call(*values)
    return await create(writer, "ForeignProxy", ("address", "bytes"), code, call)


@attrs.define
class ForeignNetwork:
    """The deployment, and the two who run it."""

    chain: PoolContracts
    federator: KeyWriter
    validator: KeyWriter
    federator_account: Any = attrs.field(repr=False)
    validator_account: Any = attrs.field(repr=False)
    factory: Address
    domain_id: int

    @property
    def deployment(self) -> Deployment:
        """As our own tools take one: by the account that whitelists, validates and mints."""
        return Deployment(self.chain, self.validator, self.domain_id, self.validator_account)

    async def pause(self, at: Address, *calls: Function, paused: bool = True) -> None:
        """Functions behind a proxy revert with EnforcedPause, until they are let go."""
        selectors = [selector(call) for call in calls]
        await self.federator.send(at, PAUSE, selectors, paused)

    async def upgrade(self, at: Address, contract: str) -> None:
        """Swap the code behind a proxy for a new one of this contract."""
        await self.federator.send(at, UPGRADE, await create(self.federator, contract))


def selector(call: Function) -> bytes:
    """The four bytes that name a function."""
    return keccak(text=call.signature)[:4]


async def deploy_foreign(rpc: Rpc) -> ForeignNetwork:
    """All contracts with their roles, in the network's own order."""
    federator_account, validator_account = new_account(), new_account()
    federator, validator = KeyWriter(rpc, federator_account), KeyWriter(rpc, validator_account)
    for writer in (federator, validator):
        await fund(rpc, writer.address)
    boss, judge = federator.address, validator.address

    async def send(to: Address, contract: str, signature: str, *values: object) -> None:
        await federator.send(to, foreign(contract, signature), *values)

    token = await create(federator, "ForeignToken", ("string", "string"), "AI Token", "AI")
    network = await behind_proxy(
        federator, "ForeignNetwork", ("address",) * 4, boss, boss, judge, token
    )
    registry = await behind_proxy(federator, "ForeignRegistry", ("address",), network)
    domains = await behind_proxy(federator, "ForeignDomains", ("address",), network)
    stakes = await behind_proxy(
        federator, "ForeignStakes", ("address", "uint256", "address"), network, UNBONDING_S, token
    )
    factory = await create(federator, "ForeignRewardsFactory")
    pool = await behind_proxy(
        federator, "ForeignPool", ("address",) * 5, network, domains, registry, factory, token
    )
    await send(factory, "ForeignRewardsFactory", "setComputePool(address)", pool)
    modules = "setModuleAddresses(address,address,address,address)"
    await send(network, "ForeignNetwork", modules, registry, domains, stakes, pool)
    await send(network, "ForeignNetwork", "setStakeMinimum(uint256)", STAKE_MINIMUM_WEI)
    for account in (boss, judge, network, stakes):
        await send(token, "ForeignToken", "approveTransferAddress(address)", account)
    minter = await rpc.call(token, foreign("ForeignToken", "MINTER_ROLE()", ("bytes32",)))
    await send(token, "ForeignToken", "grantRole(bytes32,address)", minter, judge)

    chain = PoolContracts(
        rpc,
        Addresses(
            network=network,
            pool=pool,
            registry=registry,
            stakes=stakes,
            domains=domains,
            token=token,
        ),
    )
    work = await create(federator, "ForeignWork", ("address",), pool)
    domain = "createDomain(string,address,string)"
    for name in ("legacy", "training"):
        await send(network, "ForeignNetwork", domain, name, work, "https://example.org/parameters")
    legacy = await chain.create_pool(federator, 0, boss, "legacy", "ipfs://legacy")
    await chain.start_pool(federator, legacy)
    await acts.end_pool(chain, federator, legacy)
    accounts = (federator_account, validator_account)
    return ForeignNetwork(chain, federator, validator, *accounts, factory, domain_id=1)
