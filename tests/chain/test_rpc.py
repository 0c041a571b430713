"""Endpoints that are wrong, silent or talk nonsense give an error that names them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2pool.dev.anvil import Anvil
from p2pool.drivers.chain.abi import function
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.errors import ChainUnavailable, Misconfigured, WrongChain
from p2pool.model.ids import Address

pytestmark = pytest.mark.chain


@asynccontextmanager
async def endpoint(answer: bytes | None) -> AsyncIterator[str]:
    """A server on loopback that answers everything alike; None: takes the request and is silent."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if answer is None:
                await trio.sleep_forever()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
            await stream.send_all(head + answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"jsonrpc":"2.0","id":1}', b'{"id":1,"result":{"a":1}}', b"\xff\xfe"],
)
async def test_nonsense_is_an_outage_that_names_the_endpoint(answer: bytes) -> None:
    """Nothing that is not JSON-RPC gets any further."""
    async with endpoint(answer) as url:
        with pytest.raises(ChainUnavailable, match=url):
            await Rpc.to(31337, [url]).request("eth_blockNumber")


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


def test_no_endpoint_at_all_is_the_operators_to_mend() -> None:
    """The message names the setting."""
    with pytest.raises(Misconfigured, match="endpoints"):
        Rpc.to(31337, [])
