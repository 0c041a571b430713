"""Deploys all contracts on a development chain, with their roles, in one call.

For chain id 31337 only: the accounts are random keys made for this chain and funded from anvil's
own, so nobody can mistake a key here for one of value.
"""

from typing import TYPE_CHECKING

import attrs
from eth_abi.abi import encode as abi_encode

from p2pool.codec.json.hex import address_text
from p2pool.dev.chain.anvil import DEV_CHAIN_ID
from p2pool.drivers.chain.abi import artifact, function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.errors import TransactionFailed, WrongChain
from p2pool.model.ids import Address

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

STAKE_MINIMUM_WEI = 10**15
COIN_WEI = 10**20
TOKENS_WEI = 10**24
UNBONDING_S = 60


@attrs.define
class Deployment:
    """A pool's contracts and accounts on the development chain."""

    chain: PoolContracts
    federator: KeyWriter
    domain_id: int
    federator_account: "LocalAccount | None" = attrs.field(default=None, repr=False)


def new_account() -> "LocalAccount":
    """A fresh random account."""
    from eth_account import Account

    made: LocalAccount = Account.create()
    return made


async def fund(rpc: Rpc, account: Address, coin_wei: int = COIN_WEI) -> None:
    """Give an account coin on a development chain."""
    _only_dev(rpc)
    await rpc.request("anvil_setBalance", address_text(account), hex(coin_wei))


async def fund_tokens(deployment: Deployment, account: Address, wei: int = TOKENS_WEI) -> None:
    """Mint tokens for an account."""
    mint = function("AIToken", "mint")
    await deployment.federator.send(deployment.chain.at.token, mint, account, wei)


def _only_dev(rpc: Rpc) -> None:
    if rpc.chain_id != DEV_CHAIN_ID:
        raise WrongChain(
            f"Chain {rpc.chain_id} is not a development chain.",
            hint=f"p2pool dev works only on chain id {DEV_CHAIN_ID}.",
        )


async def deploy(rpc: Rpc, *, with_root: bool = False) -> Deployment:
    """Deploy all contracts; the federator is deployer, minter and validator in one. `with_root`:
    `PoolRoot` too, which a deployment need not have."""
    _only_dev(rpc)
    account = new_account()
    writer = KeyWriter(rpc, account)
    me = writer.address
    await fund(rpc, me)

    async def create(name: str, types: tuple[str, ...], *values: object) -> Address:
        code = bytes.fromhex(artifact(name)["bytecode"][2:])
        sent = await writer.deploy(name, code + abi_encode(types, values))
        if sent.contract_address is None:
            raise TransactionFailed(f"{name} was not created.")
        return sent.contract_address

    token = await create("AIToken", ("string", "string"), "p2pool development", "DEV")
    network = await create("PrimeNetwork", ("address",) * 3, me, me, token)
    registry = await create("ComputeRegistry", ("address",), network)
    domains = await create("DomainRegistry", ("address",), network)
    stakes = await create(
        "StakeManager", ("address", "uint256", "address"), network, UNBONDING_S, token
    )
    pool = await create("ComputePool", ("address",) * 2, registry, domains)
    at = Addresses(
        network=network, pool=pool, registry=registry, stakes=stakes, domains=domains, token=token
    )

    modules = function("PrimeNetwork", "setModules")
    await writer.send(network, modules, registry, domains, stakes, pool)
    role = await rpc.call(registry, function("ComputeRegistry", "COMPUTE_POOL_ROLE"))
    await writer.send(registry, function("ComputeRegistry", "grantRole"), role, pool)
    await writer.send(network, function("PrimeNetwork", "setStakeMinimum"), STAKE_MINIMUM_WEI)
    domain = function("PrimeNetwork", "createDomain")
    await writer.send(network, domain, "development", bytes(20), "")
    chain = PoolContracts(rpc, at)
    if with_root:
        await chain.create_root(writer)
    return Deployment(chain, writer, 0, account)
