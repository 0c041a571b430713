"""A contract account that one key owns, on a development chain."""

import json
from pathlib import Path

import attrs
from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount

from p2pool.dev.chain.contracts import fund, new_account
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.rpc import Rpc
from p2pool.drivers.chain.transactions.writer import KeyWriter
from p2pool.model.access.verdicts import FinalBlock
from p2pool.model.errors import TransactionFailed
from p2pool.model.ids import Address, Digest

CODE = Path(__file__).resolve().parents[2] / "contracts" / "OwnedAccount.json"
SET_OWNER = Function("OwnedAccount", "setOwner(address)", ("address",), ())


@attrs.define
class Owned:
    """The contract, and the key that owns it now."""

    rpc: Rpc
    address: Address
    owner: LocalAccount

    @classmethod
    async def deployed(cls, rpc: Rpc) -> "Owned":
        """A new account with an owner of its own."""
        owner = new_account()
        writer = KeyWriter(rpc, owner)
        await fund(rpc, writer.address)
        code = bytes.fromhex(json.loads(CODE.read_text())["bytecode"][2:])
        sent = await writer.deploy("OwnedAccount", code + encode(("address",), (owner.address,)))
        if sent.contract_address is None:
            raise TransactionFailed("The account was not created.")
        return cls(rpc, sent.contract_address, owner)

    async def hand_on(self) -> None:
        """Another key owns it from now on."""
        heir = new_account()
        await fund(self.rpc, KeyWriter(self.rpc, heir).address)
        writer = KeyWriter(self.rpc, self.owner)
        await writer.send(self.address, SET_OWNER, bytes.fromhex(heir.address[2:]))
        self.owner = heir


async def newest(rpc: Rpc) -> FinalBlock:
    """The newest block of a chain on which nothing is ever taken back."""
    block = await rpc.request("eth_getBlockByNumber", "latest", False)
    return FinalBlock(int(block["number"], 16), Digest(bytes.fromhex(block["hash"][2:])))
