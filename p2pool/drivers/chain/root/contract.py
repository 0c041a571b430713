"""The contract `PoolRoot`: where it lies, what it says of a pool, and how it gets onto a chain.

Intuition: whoever deploys it has no say in it, for it takes a pool's record from that pool's
creator or manager alone. So anybody may, once for all pools of one pool contract, and nobody has
to be told where: the deployment proxy that chains have at one well-known address creates it, and
the address then follows from the contract's code and the pool contract's address (EIP-1014). On a
chain without that proxy the configuration names it.

Invariants: no code at the computed address means that there is no such contract, and is an answer;
no code at a configured one is a mistake of the configuration. A record that is not UTF-8 is read as
one that nobody can read, never as an outage.
Source: EIP-1014; https://github.com/Arachnid/deterministic-deployment-proxy; abi/src/PoolRoot.sol.
"""

from functools import cache

import attrs
from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import Function, artifact, function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.rpc import Reverted, Rpc, no_contract
from p2pool.model.errors import WrongChain
from p2pool.model.ids import ADDRESS_BYTES, Address

NAME = "PoolRoot"
PROXY = Address(bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c"))
"""The deployment proxy: a call with a salt and a contract's code creates that contract."""
SALT = bytes(32)


@attrs.frozen
class Creation(Function):
    """A call of the proxy that creates the contract for a pool contract."""

    def call(self, *arguments: object) -> bytes:
        """The salt and the code: the proxy knows no functions."""
        (pools,) = arguments
        assert isinstance(pools, bytes)
        return SALT + _code(Address(pools))


CREATE = Creation(NAME, "create(address)", ("address",), ())


@cache
def computed_address(pools: Address) -> Address:
    """Where the contract for a pool contract lies, on every chain with the proxy."""
    named = keccak(b"\xff" + PROXY + SALT + keccak(_code(pools)))
    return Address(named[-ADDRESS_BYTES:])


def contract_address(at: Addresses) -> Address:
    """Where the contract is looked for: where the configuration says, else where it would lie."""
    return at.root or computed_address(at.pool)


async def read_record(rpc: Rpc, at: Addresses, pool_id: int, block: object) -> str | None:
    """A pool's record at a block, empty if it has none; None if there is no such contract.

    `WrongChain` if the configuration names an address where it is not.
    """
    get, to = function(NAME, "getRecord"), contract_address(at)
    transaction = {"to": address_text(to), "data": "0x" + get.call(pool_id).hex()}
    tag = hex(block) if isinstance(block, int) else block
    try:
        raw = await rpc.request("eth_call", transaction, tag, read=answers.data)
    except Reverted as reverted:
        raise _other_contract(rpc, to, "it refuses to be read") from reverted
    if not raw and at.root is None:
        return None
    if not raw:
        raise no_contract(NAME, to, rpc.chain_id)
    try:
        text: bytes = attrs.evolve(get, outputs=("bytes",)).answer(raw)
    except DecodingError as other:
        said = f"it answers {get.name} with {len(raw)} bytes of something else"
        raise _other_contract(rpc, to, said) from other
    return text.decode(errors="replace")


def _other_contract(rpc: Rpc, at: Address, why: str) -> WrongChain:
    return WrongChain(
        f"The code at {address_text(at)} on chain {rpc.chain_id} is not a {NAME}: {why}.",
        hint="Correct root in [chain.addresses], or leave it out.",
    )


async def has_code(rpc: Rpc, at: Address) -> bool:
    """Whether there is a contract at an address, at the latest block."""
    return await rpc.request("eth_getCode", address_text(at), "latest", read=answers.data) != b""


def _code(pools: Address) -> bytes:
    return bytes.fromhex(artifact(NAME)["bytecode"][2:]) + encode(("address",), (pools,))
