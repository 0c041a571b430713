"""Asks the foreign contracts without sending anything: what a call answers, or why it would not."""

from typing import Any

from eth_abi.abi import decode

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.rpc import Reverted
from p2pool.model.ids import Address
from tests.contracts.foreign.conftest import ForeignWorld
from tests.contracts.foreign.harness.deployment import foreign, selector

PANIC, TEXT = foreign("", "Panic(uint256)"), foreign("", "Error(string)")


async def reason(
    world: ForeignWorld, by: Address, at: Address, signature: str, *values: object
) -> str:
    """Why a call would revert: its text, `panic 0x..`, or the name of an error; empty: it runs."""
    call = foreign("", signature).call(*values)
    asked = {"from": address_text(by), "to": address_text(at), "data": "0x" + call.hex()}
    try:
        await world.chain.rpc.request("eth_call", asked, "latest")
    except Reverted as reverted:
        return _named(reverted)
    return ""


def _named(reverted: Reverted) -> str:
    data = reverted.data
    if data[:4] == selector(TEXT):
        return str(decode(("string",), data[4:])[0])
    if data[:4] == selector(PANIC):
        return f"panic {decode(('uint256',), data[4:])[0]:#x}"
    return reverted.name or data[:4].hex()


async def answer(
    world: ForeignWorld, at: Address, signature: str, outputs: tuple[str, ...], *values: object
) -> Any:
    """What a call answers; `Reverted` if it does not."""
    return await world.chain.rpc.call(at, foreign("", signature, outputs), *values)
