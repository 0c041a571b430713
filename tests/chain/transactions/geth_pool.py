"""A proxy in front of a development chain whose pool behaves as geth's does.

anvil drops what pays too little, and so hides what happens on a real chain: there it stays
pending, for days, and everything that the account sends later lies behind it. This pool keeps what
comes, takes a replacement only if it raises both fees by a tenth, and hands to the chain what pays
the base fee, in the order of the nonces. The base fee and the suggested tip are what the test says.
Source: geth 1.14, `core/txpool/legacypool` and `core/txpool/validation`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from p2pool.dev.chain.anvil import Anvil
from p2pool.drivers.chain.rpc import Rpc
from tests.chain.endpoints import serving

GWEI = 10**9
PRICE_BUMP_PERCENT = 10


@attrs.frozen
class Pooled:
    """A transaction in the pool."""

    sender: str
    nonce: int
    most_wei: int
    tip_wei: int
    gas: int
    hash: str
    raw: bytes


@attrs.define
class GethPool:
    """The pool, and what the test sets: `base_fee_wei`; `blocks_ahead`, so many more there seem to
    be; `mines`, whether blocks take anything; `lost`, answers to what is sent that do not arrive;
    `deaf`, sendings that do not."""

    chain: Rpc
    url: str = ""
    base_fee_wei: int = 5 * GWEI
    tip_wei: int = GWEI
    blocks_ahead: int = 0
    mines: bool = True
    lost: bool = False
    deaf: bool = False
    pending: dict[tuple[str, int], Pooled] = attrs.field(factory=dict)
    taken: list[Pooled] = attrs.field(factory=list)
    """All that ever was in the pool, in order."""
    refused: list[str] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)

    def rpc(self) -> Rpc:
        """A client of this pool's endpoint."""
        return Rpc.to(self.chain.chain_id, [self.url])

    def mine(self) -> None:
        """Hand to the chain all that pays the base fee and is next of its account. The chain takes
        a moment to count what it was handed, so what comes after that waits for the next call."""
        for sender, nonce in sorted(self.pending):
            one = self.pending[sender, nonce]
            if one.most_wei > self.base_fee_wei and nonce == self._count(sender):
                self._ask("eth_sendRawTransaction", "0x" + one.raw.hex())
                del self.pending[sender, nonce]

    def forget(self) -> None:
        """As after a restart without a journal."""
        self.pending.clear()

    def add(self, raw: bytes) -> str:
        """As geth's own; the hash. ValueError, with its words, for what it does not take."""
        one = _decoded(raw)
        old = self.pending.get((one.sender, one.nonce))
        if old is not None and old.hash == one.hash:
            raise ValueError("already known")
        count = self._count(one.sender)
        if one.nonce < count:
            raise ValueError(f"nonce too low: next nonce {count}, tx nonce {one.nonce}")
        if one.tip_wei < 1:
            raise ValueError("transaction underpriced: gas tip cap 0, minimum needed 1")
        balance = int(self._ask("eth_getBalance", one.sender, "latest"), 16)
        others = (p for p in self.pending.values() if p.sender == one.sender and p is not old)
        cost = sum(p.gas * p.most_wei for p in others) + one.gas * one.most_wei
        if cost > balance:
            raise ValueError(
                f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost},"
                f" overshot {cost - balance}"
            )
        if old is not None and not _outbids(one, old):
            raise ValueError("replacement transaction underpriced")
        self.pending[one.sender, one.nonce] = one
        self.taken.append(one)
        return one.hash

    def answer(self, method: str, params: list[Any]) -> Any:
        """A whole JSON-RPC answer."""
        self.asked.append(method)
        if self.mines:
            self.mine()
        if method == "eth_sendRawTransaction":
            return self._send(bytes.fromhex(params[0][2:]))
        if method == "eth_getTransactionCount" and params[1] == "pending":
            nonce = self._count(params[0].lower())
            while (params[0].lower(), nonce) in self.pending:
                nonce += 1
            return {"result": hex(nonce)}
        if method == "eth_getTransactionByHash":
            for one in self.pending.values():
                if one.hash == params[0]:
                    return {"result": {"hash": one.hash, "blockNumber": None}}
        if method == "eth_maxPriorityFeePerGas":
            return {"result": hex(self.tip_wei)}
        if method == "eth_gasPrice":
            return {"result": hex(self.base_fee_wei + self.tip_wei)}
        answer = self.chain.endpoints[0].provider.make_request(method, params)
        if method == "eth_getBlockByNumber" and answer.get("result"):
            block = {**answer["result"], "baseFeePerGas": hex(self.base_fee_wei)}
            ahead = self.blocks_ahead if params[0] == "latest" else 0
            return {"result": {**block, "number": hex(int(block["number"], 16) + ahead)}}
        return answer

    def _send(self, raw: bytes) -> Any:
        if self.deaf:
            return {"error": {"code": -32603, "message": "internal error"}}
        try:
            transaction_hash = self.add(raw)
        except ValueError as refused:
            self.refused.append(str(refused))
            return {"error": {"code": -32000, "message": str(refused)}}
        if self.mines:
            self.mine()
        if self.lost:
            return {"error": {"code": -32603, "message": "request timed out"}}
        return {"result": transaction_hash}

    def _count(self, sender: str) -> int:
        return int(self._ask("eth_getTransactionCount", sender, "latest"), 16)

    def _ask(self, method: str, *params: object) -> Any:
        told: Any = self.chain.endpoints[0].provider.make_request(method, list(params))
        assert "result" in told, told
        return told["result"]


def _outbids(new: Pooled, old: Pooled) -> bool:
    """geth's rule: more of both, by a tenth at least, rounded down."""
    most = old.most_wei * (100 + PRICE_BUMP_PERCENT) // 100
    tip = old.tip_wei * (100 + PRICE_BUMP_PERCENT) // 100
    above = new.most_wei > old.most_wei and new.tip_wei > old.tip_wei
    return above and new.most_wei >= most and new.tip_wei >= tip


def _decoded(raw: bytes) -> Pooled:
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return Pooled(
        sender=Account.recover_transaction(raw).lower(),
        nonce=fields["nonce"],
        most_wei=fields["maxFeePerGas"],
        tip_wei=fields["maxPriorityFeePerGas"],
        gas=fields["gas"],
        hash="0x" + keccak(raw).hex(),
        raw=raw,
    )


@asynccontextmanager
async def geth_pool(anvil: Anvil) -> AsyncIterator[GethPool]:
    """An endpoint with such a pool."""
    made = GethPool(anvil.rpc())
    async with serving(made.answer) as url:
        made.url = url
        yield made
