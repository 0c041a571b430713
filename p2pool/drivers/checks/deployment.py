"""The contracts of a deployment, found from one of them: the network contract names the others.

So somebody who joins types one address and not six. A deployment whose network contract lacks a
question leaves that address to be given.
"""

import attrs

from p2pool.codec.json.hex import unhex
from p2pool.drivers.chain.abi import function
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
        try:
            told = await rpc.call(network, function("PrimeNetwork", question))
        except Reverted:
            told = None
        except WrongChain:
            if name == "pool":
                raise
            told = None
        address = unhex(str(told), ADDRESS_BYTES)
        if address is None or not any(address):
            unknown.append(name)
        else:
            found[name] = Address(address)
    return Found(found, tuple(unknown))
