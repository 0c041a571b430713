"""PoolRoot on a real chain: who may write a pool's record, and where the contract lies."""

import attrs
import pytest
from eth_abi.abi import encode

from p2pool.drivers.chain.abi import artifact, function
from p2pool.drivers.chain.addresses import Addresses
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.root import contract
from p2pool.drivers.chain.transactions.writer import DryWriter
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, TransactionFailed, WrongChain
from p2pool.model.ids import Address
from tests.chain.conftest import World

pytestmark = pytest.mark.chain

RECORD = "p2pool:bootstrap=/ip4/127.0.0.1/tcp/1"
ZEROS = bytes.fromhex("600b600c600039600b6000f360206000526101c06000f3")
"""The code that creates a pool contract which answers zeros for every pool, as some do."""


async def with_root(world: World) -> PoolContracts:
    """The pool's contracts, once somebody without any right there has created PoolRoot."""
    assert (await world.chain.pool(world.pool_id)).record is None
    await world.chain.create_root(await world.account())
    return world.chain


async def test_creator_and_manager_write_a_pools_record_and_nobody_else(world: World) -> None:
    """Whoever created the contract included; a pool that is not there has no record."""
    chain = await with_root(world)
    assert (await chain.pool(world.pool_id)).record == ""
    await chain.set_record(world.creator, world.pool_id, RECORD)
    assert (await chain.pool(world.pool_id)).record == RECORD
    await chain.set_record(world.manager_writer, world.pool_id, "")
    assert (await chain.pool(world.pool_id)).record == ""
    stranger = await world.account()
    with pytest.raises(TransactionFailed, match="creator or manager"):
        await chain.set_record(stranger, world.pool_id, RECORD)
    with pytest.raises(TransactionFailed, match="no pool 999"):
        await chain.set_record(world.creator, 999, RECORD)
    assert (await chain.pool(world.pool_id)).record == ""


async def test_a_record_has_a_size(world: World) -> None:
    """The one that agents read, to the byte; a pool with the longest is read whole."""
    chain = await with_root(world)
    most = "x" * limits.DATA_URI_MAX_BYTES
    await chain.set_record(world.creator, world.pool_id, most)
    assert (await chain.pool(world.pool_id)).record == most
    with pytest.raises(TransactionFailed, match="has 16385 bytes, more than 16384"):
        await chain.set_record(world.creator, world.pool_id, most + "x")


async def test_a_pool_of_zeros_is_no_pool(world: World) -> None:
    """Its creator is nobody, and nobody has a key for it."""
    zeros = await world.creator.deploy("zeros", ZEROS)
    code = bytes.fromhex(artifact("PoolRoot")["bytecode"][2:])
    made = await world.creator.deploy(
        "PoolRoot", code + encode(("address",), (zeros.contract_address,))
    )
    assert made.contract_address is not None
    with pytest.raises(TransactionFailed, match="no pool 5"):
        await world.creator.send(
            made.contract_address, function("PoolRoot", "setRecord"), 5, RECORD
        )


async def test_it_lies_where_everybody_looks(world: World) -> None:
    """The proxy creates it at the address that follows from the code; a second time is refused."""
    chain = await with_root(world)
    at = contract.contract_address(chain.at)
    pools = await chain.rpc.call(at, function("PoolRoot", "pools"))
    assert bytes.fromhex(pools[2:]) == chain.at.pool
    with pytest.raises(TransactionFailed):
        await chain.create_root(world.creator)
    dry = DryWriter(world.creator.address)
    await chain.create_root(dry)
    assert "would call PoolRoot.create(0x" in dry.said[0]


def test_the_address_is_a_promise() -> None:
    """Records that were written stay where they are looked for: another compiler, or another word
    in the source, would look elsewhere."""
    found = contract.computed_address(Address(bytes(range(20))))
    assert found.hex() == "f9d95c4f7d4e00471cccd249b9193a5ac1a572ae"


async def test_a_configured_address_is_meant(world: World) -> None:
    """No contract there, or another one, is a mistake that is named; the right one is read."""
    chain = await with_root(world)
    await chain.set_record(world.creator, world.pool_id, RECORD)

    def looking_at(place: Address) -> PoolContracts:
        at: Addresses = attrs.evolve(chain.at, root=place)
        return PoolContracts(chain.rpc, at)

    right = looking_at(contract.contract_address(chain.at))
    assert (await right.pool(world.pool_id)).record == RECORD
    with pytest.raises(WrongChain, match="no PoolRoot at"):
        await looking_at(Address(b"\x77" * 20)).pool(world.pool_id)
    with pytest.raises(WrongChain, match="is not a PoolRoot"):
        await looking_at(chain.at.token).pool(world.pool_id)


async def test_a_chain_without_the_proxy_is_told_what_to_do(world: World) -> None:
    """The address in the configuration is the way."""
    empty = "0x"
    await world.chain.rpc.request("anvil_setCode", "0x" + contract.PROXY.hex(), empty)
    with pytest.raises(Misconfigured, match="deployment proxy") as refused:
        await world.chain.create_root(world.creator)
    assert "[chain.addresses] root" in refused.value.hint


async def test_a_record_that_is_no_text_is_one_that_nobody_can_read(world: World) -> None:
    """The pool stays readable: only what its owner broke is missing."""
    chain = await with_root(world)
    raw = encode(("uint256", "bytes"), (world.pool_id, b"p2pool:root=\xff\xfe"))
    selector = function("PoolRoot", "setRecord").call(0, "")[:4]

    @attrs.frozen
    class Raw(contract.Creation):
        def call(self, *arguments: object) -> bytes:
            return selector + raw

    send = Raw("PoolRoot", "raw(address)", ("address",), ())
    await world.creator.send(contract.contract_address(chain.at), send, chain.at.pool)
    info = await chain.pool(world.pool_id)
    assert info.record is not None
    assert (info.root, info.record.startswith("p2pool:root=")) == (None, True)
