"""Endpoints that are wrong, silent or talk nonsense give an error that names them."""

import attrs
import pytest
import trio

from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.answers import block
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, Misconfigured, WrongChain
from p2pool.model.ids import Address
from tests.chain.conftest import World
from tests.chain.endpoints import dripping, endpoint, proxy

pytestmark = pytest.mark.chain


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"jsonrpc":"2.0","id":1}', b'{"id":1,"result":{"a":1}}', b"\xff\xfe"],
)
async def test_nonsense_is_an_outage_that_names_the_endpoint(answer: bytes) -> None:
    """Nothing that is not JSON-RPC gets any further."""
    async with endpoint(answer) as url:
        with pytest.raises(ChainUnavailable, match=url) as told:
            await Rpc.to(31337, [url]).request("eth_blockNumber")
        assert "roster" not in str(told.value)  # Commands have none.


async def test_a_silent_endpoint_ends_at_its_deadline() -> None:
    """A call never waits longer than it was given, and is not repeated behind our back."""
    async with endpoint(None) as url:
        with trio.fail_after(20), pytest.raises(ChainUnavailable, match=url):
            await Rpc.to(31337, [url], timeout_ms=200).request("eth_blockNumber")


async def test_another_chain_is_refused_with_both_numbers(anvil: Anvil) -> None:
    """Whatever it answers is not believed."""
    with pytest.raises(WrongChain, match="31337, not 1"):
        await Rpc.to(1, [anvil.url]).request("eth_blockNumber")


async def test_a_dead_endpoint_is_passed_over(anvil: Anvil) -> None:
    """The next one answers, and is asked first from then on."""
    rpc = Rpc.to(31337, ["http://127.0.0.1:9", anvil.url])
    assert await rpc.quantity("eth_blockNumber") >= 0
    assert rpc.first == 1


async def test_no_contract_at_the_address_says_so(anvil: Anvil) -> None:
    """An address without code is a mistake in the configuration."""
    rpc = anvil.rpc()
    get = function("ComputePool", "getComputePoolNodes")
    with pytest.raises(WrongChain, match="no ComputePool at"):
        await rpc.call(Address(b"\x01" * 20), get, 0)


async def test_what_is_no_such_contract_says_so(world: World) -> None:
    """Another contract's answer does not decode: the address is meant for something else."""
    # A registry's question as the pool's contract understands it: one word, where a node has seven.
    asked = function("ComputePool", "getComputePoolTotalCompute")
    node = attrs.evolve(function("ComputeRegistry", "getNode(address)"), signature=asked.signature)
    get = attrs.evolve(node, inputs=asked.inputs)
    with pytest.raises(WrongChain, match="not a ComputeRegistry"):
        await world.chain.rpc.call(world.chain.at.pool, get, world.pool_id)


async def test_a_dripping_endpoint_is_left_and_keeps_no_thread_of_others(anvil: Anvil) -> None:
    """More calls than it has threads: each ends in time, and the other endpoint answers all."""
    async with dripping() as url:
        rpc = Rpc.to(31337, [url, anvil.url], timeout_ms=300)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(3 * limits.CHAIN_CALLS_IN_FLIGHT_MAX):
                    nursery.start_soon(rpc.quantity, "eth_blockNumber")
        assert rpc.first == 1


async def test_calls_side_by_side_all_find_the_endpoint_that_answers(anvil: Anvil) -> None:
    """One call's finding does not make another skip the only endpoint that works."""
    async with endpoint(b"<html>") as bad, proxy(anvil) as good:
        rpc = Rpc.to(31337, [bad, good.url])
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(rpc.quantity, "eth_blockNumber")
        assert rpc.first == 1


async def test_a_second_opinion_waits_for_nobody(anvil: Anvil) -> None:
    """The silent one is left out, and not asked again for a while."""
    async with proxy(anvil) as good, proxy(anvil) as mute:
        mute.silent = True
        rpc = Rpc.to(31337, [anvil.url, mute.url, good.url])
        with trio.fail_after(20):
            first = await rpc.others("eth_getBlockByNumber", "0x0", False, read=block)
            again = await rpc.others("eth_getBlockByNumber", "0x0", False, read=block)
        assert [name for name, _ in first] == [good.url]
        assert (again, len(mute.asked)) == (first, 1)


async def test_a_key_in_an_endpoints_url_is_never_told() -> None:
    """Neither from the path nor from before the host, whatever the libraries put in a message."""
    with pytest.raises(ChainUnavailable) as raised:
        await Rpc.to(31337, ["http://me:secret1@127.0.0.1:9/v3/secret2"]).request("eth_chainId")
    assert "http://127.0.0.1:9" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_no_endpoint_at_all_is_the_operators_to_mend() -> None:
    """The message names the setting."""
    with pytest.raises(Misconfigured, match="endpoints"):
        Rpc.to(31337, [])
