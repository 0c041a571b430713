"""A transaction on its way into a block, with every offer that was made for it.

Intuition: an account's transactions are numbered, and one number gets into one block once, whatever
was offered for it how often. So a transaction that is stuck is offered again under its own number,
and any of the offers may be the one that a block takes.

The form on disk is JSON, written whole; see `journal`.
"""

import json
import re
from typing import Any

import attrs

from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import gwei_text
from p2pool.drivers.chain.transactions.fees import Fees, Market
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import ADDRESS_BYTES, Address

FORMAT = 1
_HASH = re.compile(r"0x[0-9a-f]{64}")


@attrs.frozen
class Call:
    """What a transaction does: `what` for people, `to` None creates a contract."""

    what: str
    to: Address | None
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class Attempt:
    """One offer for a transaction; `block_number`: the newest block when it was made."""

    hash: str
    fees: Fees
    sent_ms: int
    block_number: int


@attrs.frozen(kw_only=True)
class PendingTransaction:
    """A transaction of an account that is in no block as far as this machine knows.

    `attempts`, the last one in force; `raw`, the last one's bytes, to be sent again. `first_block`:
    the hash of the chain's first block, where an endpoint said it: a chain id is only a number.
    """

    chain_id: int
    account: Address
    nonce: int
    call: Call
    gas: int
    attempts: tuple[Attempt, ...]
    raw: bytes = attrs.field(repr=False)
    first_block: str | None = None

    @property
    def last(self) -> Attempt:
        """The offer in force."""
        return self.attempts[-1]

    def with_attempt(self, attempt: Attempt, raw: bytes) -> "PendingTransaction":
        """The same transaction with one more offer."""
        return attrs.evolve(self, attempts=(*self.attempts, attempt), raw=raw)

    def told(self) -> str:
        """Which it is: the call, the account, its number, and the hash to look up."""
        return (
            f"The transaction {self.call.what} of {address_text(self.account)} with the nonce"
            f" {self.nonce}, {self.last.hash}"
        )


@attrs.frozen(kw_only=True)
class Delay:
    """Why a transaction is in no block, for people. `behind`: the account's lowest free nonce, if
    that is another wallet's; `at_cap`: no more may be offered; `cannot_pay`: nor does the account
    have more."""

    pending: PendingTransaction
    market: Market | None
    cap_wei: int
    now_ms: int
    behind: int | None = None
    at_cap: bool = False
    cannot_pay: bool = False

    @property
    def is_worth_telling(self) -> bool:
        """Whether more is amiss than that a block takes its time."""
        blocked = self.behind is not None or self.at_cap or self.cannot_pay
        return blocked or len(self.pending.attempts) > 1

    def text(self) -> str:
        """In sentences: which, for how long, at what price, and what happens next."""
        pending, fees = self.pending, self.pending.last.fees
        seconds = max(0, self.now_ms - pending.attempts[0].sent_ms) // 1000
        offers = len(pending.attempts)
        said = f"{pending.told()}, is in no block after {_span(seconds)}"
        said += f", at {gwei_text(fees.most_wei)}"
        said += f" in offer {offers}. " if offers > 1 else ". "
        return said + self._why()

    def _why(self) -> str:
        if self.behind is not None:
            return (
                f"Another wallet sent the one before it, with the nonce {self.behind}: speed that"
                " one up there, or cancel it."
            )
        if self.market is None:
            return "No endpoint says what gas costs."
        price = gwei_text(self.market.least_wei)
        if self.cannot_pay:
            return f"Gas costs {price}, and the account cannot pay more: send it coin."
        if self.at_cap and len(self.pending.attempts) >= limits.TRANSACTION_ATTEMPTS_MAX:
            return f"Gas costs {price}; it was offered so often that it waits for its block now."
        if self.at_cap:
            return (
                f"Gas costs {price}, and [chain] fee_max_gwei allows {gwei_text(self.cap_wei)}:"
                " it waits until gas costs less, unless you allow more there."
            )
        return f"Gas costs {price}; it is offered again at a higher price until a block takes it."


def _span(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def write(pending: PendingTransaction) -> bytes:
    """Its form on disk."""
    call = pending.call
    told = {
        "format": FORMAT,
        "chain_id": pending.chain_id,
        "first_block": pending.first_block,
        "account": "0x" + pending.account.hex(),
        "nonce": pending.nonce,
        "call": call.what,
        "to": None if call.to is None else "0x" + call.to.hex(),
        "data": "0x" + call.data.hex(),
        "gas": pending.gas,
        "attempts": [
            {
                "hash": one.hash,
                "fee_wei": one.fees.most_wei,
                "tip_wei": None if one.fees.legacy else one.fees.tip_wei,
                "sent_ms": one.sent_ms,
                "block_number": one.block_number,
            }
            for one in pending.attempts
        ],
        "raw": "0x" + pending.raw.hex(),
    }
    return (json.dumps(told, indent=1) + "\n").encode()


def read(data: bytes) -> PendingTransaction:
    """What `write` wrote; `Malformed` for anything else."""
    try:
        text = data.decode()
        if too_deep(text):
            raise ValueError("it is nested too deeply")
        told = json.loads(text)
        if told["format"] != FORMAT:
            raise ValueError("another version of p2pool wrote it")
        attempts = tuple(map(_attempt, told["attempts"]))
        if not 1 <= len(attempts) <= limits.TRANSACTION_ATTEMPTS_MAX:
            raise ValueError("it has no offers, or too many")
        first_block = told["first_block"]
        return PendingTransaction(
            chain_id=_number(told["chain_id"]),
            first_block=None if first_block is None else _hash(first_block),
            account=_address(told["account"]),
            nonce=_number(told["nonce"]),
            call=Call(
                what=str(told["call"])[: limits.NAME_MAX_BYTES],
                to=None if told["to"] is None else _address(told["to"]),
                data=_bytes(told["data"]),
            ),
            gas=_number(told["gas"]),
            attempts=attempts,
            raw=_bytes(told["raw"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from error


def _attempt(told: dict[str, Any]) -> Attempt:
    most = _number(told["fee_wei"])
    tip = told["tip_wei"]
    fees = Fees(most, most, legacy=True) if tip is None else Fees(most, _number(tip))
    return Attempt(
        _hash(told["hash"]), fees, _number(told["sent_ms"]), _number(told["block_number"])
    )


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= limits.CHAIN_WORD_MAX:
        raise ValueError("a number is none")
    return value


def _hash(value: object) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise ValueError("a hash is none")
    return value


def _bytes(value: str) -> bytes:
    if not value.startswith("0x"):
        raise ValueError("bytes are none")
    return bytes.fromhex(value[2:])


def _address(value: str) -> Address:
    found = _bytes(value)
    if len(found) != ADDRESS_BYTES:
        raise ValueError("an address is none")
    return Address(found)
