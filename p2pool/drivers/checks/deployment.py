"""The contracts of a deployment, found from one of them: the network contract names the others.

So somebody who joins types one address and not six. A deployment whose network contract lacks a
question leaves that address to be given.
"""

import attrs

from p2pool.codec.json.hex import unhex
from p2pool.drivers.chain.abi import Function, function
from p2pool.drivers.chain.rpc import Reverted, Rpc
from p2pool.model.errors import WrongChain
from p2pool.model.ids import ADDRESS_BYTES, Address

QUESTIONS = {
    "pool": "computePool",
    "registry": "computeRegistry",
    "stake": "stakeManager",
    "domains": "domainRegistry",
    "token": "token",
}
"""What the network contract is asked for each of the other contracts."""
TOKEN = Function("PrimeNetwork", "AIToken()", (), ("address",))
"""How the network's own contract calls what ours calls `token`."""


@attrs.frozen
class Found:
    """What a network contract says: the addresses, and the contracts that it does not name."""

    addresses: dict[str, Address]
    unknown: tuple[str, ...]


async def find_contracts(rpc: Rpc, network: Address) -> Found:
    """The contracts that a network contract names. Raises `ChainUnavailable`; `WrongChain` if there
    is no contract at that address."""
    found: dict[str, Address] = {}
    unknown: list[str] = []
    for name, question in QUESTIONS.items():
        address = await _told(rpc, network, function("PrimeNetwork", question), name == "pool")
        if address is None and name == "token":
            address = await _told(rpc, network, TOKEN, required=False)
        if address is None:
            unknown.append(name)
        else:
            found[name] = address
    return Found(found, tuple(unknown))


async def _told(rpc: Rpc, network: Address, asked: Function, required: bool) -> Address | None:
    """The address that the network contract says; None: it says none. `required`: whether no
    answer is `WrongChain`."""
    try:
        told = await rpc.call(network, asked)
    except Reverted:
        return None
    except WrongChain:
        if required:
            raise
        return None
    address = unhex(str(told), ADDRESS_BYTES)
    return Address(address) if address is not None and any(address) else None
