"""What an account has really sent, held against what a dry run showed."""

from collections.abc import Sequence
from typing import Any

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model.ids import Address
from tests.cli.shell import Shell

GAS_PERCENT = 35
"""By so much what was shown of the second and later ones may be more than they were sent with: what
the chain gives back of their gas is not known before the first one is in a block."""


async def sent_by(rpc: Rpc, account: Address, since: int) -> list[Any]:
    """The transactions of an account in the blocks after `since`, in order."""
    last = await rpc.quantity("eth_blockNumber")
    found: list[Any] = []
    for number in range(since + 1, last + 1):
        block = await rpc.request("eth_getBlockByNumber", hex(number), True)
        found += [one for one in block["transactions"] if one["from"] == address_text(account)]
    return sorted(found, key=lambda one: int(one["nonce"], 16))


def shown(document: Any, *, ready: bool = True) -> list[Any]:
    """The transactions that a dry run showed; `ready`: those that are sent now."""
    steps = [one for one in document["steps"] if one["kind"] == "transaction"]
    return [one for one in steps if one["ready"] or not ready]


def check_sent(document: Any, steps: Sequence[Any], transactions: Sequence[Any]) -> None:
    """That they are the same: sender, contract, bytes, value, gas, and a price within the offer."""
    assert [one["calldata"] for one in steps] == [one["input"] for one in transactions]
    for step, one in zip(steps, transactions, strict=True):
        assert (document["account"], step["to"]) == (one["from"], one["to"])
        assert int(step["value_wei"]) == int(one["value"], 16)
        limit = int(one["gas"], 16)
        if one is transactions[0] and step["ready"]:
            assert step["gas_limit"] == limit
        elif step["gas_from"] != "typical":
            assert limit <= step["gas_limit"] <= limit * (100 + GAS_PERCENT) // 100, (step, limit)
        # A base fee changes by an eighth a block.
        most_wei = int(document["gas_price_wei"]) * (9 / 8) ** len(transactions)
        assert int(one["maxFeePerGas"], 16) <= most_wei


async def agrees(shell: Shell, *words: str, yes: bool = False) -> list[str]:
    """The functions of what a command sent, once it is what its dry run had shown."""
    rpc = shell.world.chain.rpc
    dry = await shell.done(*words, "--dry-run")
    assert (dry["dry_run"], dry["transaction"], dry["earlier"]) == (True, None, None)
    since = await rpc.quantity("eth_blockNumber")
    await shell.done(*words, *(("--yes",) if yes else ()))
    steps = shown(dry)
    assert len(steps) == len(dry["would_send"])
    check_sent(dry, steps, await sent_by(rpc, shell.address, since))
    return [one["function"].partition("(")[0] for one in steps]


async def nothing_left(shell: Shell, *words: str) -> None:
    """The dry run of what is done names no transaction."""
    dry = await shell.done(*words, "--dry-run")
    assert (dry["would_send"], dry["steps"], dry["transaction"]) == ([], [], None)
