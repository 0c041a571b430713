"""What a transaction offers for its gas: measured against the base fee, and capped.

Intuition: since EIP-1559 the protocol sets a base fee for each block, which is burnt, and a tip
decides who comes first. An offer is a ceiling of twice the base fee, which lasts through six full
blocks, and the tip that endpoints suggest, as they suggest it. Whoever adds a margin to suggestions
that are made from what was paid before raises the price by itself, without end: nothing here is
multiplied but the base fee, which nobody alone can raise.

Invariants: no offer is over the owner's cap (`[chain] fee_max_gwei`); a tip is at most the base fee
or GAS_TIP_MAX_WEI, whichever is more; a replacement raises both by an eighth, since pools take none
that raises either by less than a tenth.
Source: EIP-1559; geth, `core/txpool/legacypool` ("PriceBump").
"""

from typing import Any

import attrs

from p2pool.codec.text.amounts import gwei_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.rpc import Rpc
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, FeesTooHigh

BASE_FEE_TIMES = 2
GAS_MARGIN_PERCENT = 25
RAISE_THOUSANDTHS, RAISE_LEAST_THOUSANDTHS = 1125, 1100
"""What a replacement offers of the old offer, and the least that pools take."""


def gas_limit(units: int) -> int:
    """The gas that a transaction may use, of what it was estimated at: state changes meanwhile."""
    return units * (100 + GAS_MARGIN_PERCENT) // 100


@attrs.frozen
class Fees:
    """An offer per gas: the most in all, and the tip within it. `legacy`: one price, as on chains
    without a base fee, where both are the same."""

    most_wei: int
    tip_wei: int
    legacy: bool = False

    def fields(self) -> dict[str, Any]:
        """As a transaction has them."""
        if self.legacy:
            return {"gasPrice": self.most_wei}
        return {
            "type": 2,
            "maxFeePerGas": self.most_wei,
            "maxPriorityFeePerGas": self.tip_wei,
        }


@attrs.frozen
class Market:
    """What a place in the next block costs. `base_fee_wei` None: the chain has none, and `tip_wei`
    is the whole price. `suggested_wei`: the tip as the endpoint suggests it."""

    block_number: int
    time_ms: int
    base_fee_wei: int | None
    suggested_wei: int

    @property
    def tip_wei(self) -> int:
        """The tip to offer: the suggestion within its bound; pools refuse nothing at all."""
        if self.base_fee_wei is None:
            return self.suggested_wei
        return max(1, min(self.suggested_wei, max(self.base_fee_wei, limits.GAS_TIP_MAX_WEI)))

    @property
    def least_wei(self) -> int:
        """What gets into the next block, if it is not full."""
        return self.suggested_wei if self.base_fee_wei is None else self.base_fee_wei + 1


async def read_market(rpc: Rpc) -> Market:
    """What the chain asks now; `ChainUnavailable` if no endpoint says it."""
    number, time_ms, base = await rpc.request(
        "eth_getBlockByNumber", "latest", False, read=_head_of_fees
    )
    if base is None:
        price = await rpc.request("eth_gasPrice", read=answers.price)
        return Market(number, time_ms, None, price)
    try:
        tip = await rpc.request("eth_maxPriorityFeePerGas", read=answers.price)
    except ChainUnavailable:
        # Not every endpoint has that method; all have the sum of both.
        tip = max(0, await rpc.request("eth_gasPrice", read=answers.price) - base)
    return Market(number, time_ms, base, tip)


def _head_of_fees(answer: object) -> tuple[int, int, int | None]:
    """Number, time and base fee of a block; None: a chain without EIP-1559."""
    found = answers.fields(answer)
    base = found.get("baseFeePerGas")
    time_s = answers.quantity(found.get("timestamp"), limits.CHAIN_NUMBER_MAX // 1000)
    number = answers.number(found.get("number"))
    return number, time_s * 1000, None if base is None else answers.price(base)


def offer(market: Market, cap_wei: int) -> Fees:
    """The first offer; `FeesTooHigh` if the cap does not reach the base fee."""
    if market.base_fee_wei is None:
        if market.suggested_wei > cap_wei:
            raise _too_high(market.suggested_wei, cap_wei)
        return Fees(market.suggested_wei, market.suggested_wei, legacy=True)
    room = cap_wei - market.base_fee_wei
    if room < 1:
        raise _too_high(market.base_fee_wei, cap_wei)
    tip = min(market.tip_wei, room)
    return Fees(min(BASE_FEE_TIMES * market.base_fee_wei + tip, cap_wei), tip)


def raised(old: Fees, market: Market, cap_wei: int) -> Fees | None:
    """An offer that takes the place of an old one: what is asked now, and enough over the old one.

    None: the cap leaves no room for it, or does not reach the base fee.
    """
    try:
        fresh = offer(market, cap_wei)
    except FeesTooHigh:
        return None
    if old.legacy:
        price = min(max(fresh.most_wei, _more(old.most_wei, RAISE_THOUSANDTHS)), cap_wei)
        enough = price >= _more(old.most_wei, RAISE_LEAST_THOUSANDTHS)
        return Fees(price, price, legacy=True) if enough else None
    most = min(max(fresh.most_wei, _more(old.most_wei, RAISE_THOUSANDTHS)), cap_wei)
    tip = min(max(fresh.tip_wei, _more(old.tip_wei, RAISE_THOUSANDTHS)), most)
    enough = most >= _more(old.most_wei, RAISE_LEAST_THOUSANDTHS)
    return (
        Fees(most, tip) if enough and tip >= _more(old.tip_wei, RAISE_LEAST_THOUSANDTHS) else None
    )


def _more(wei: int, thousandths: int) -> int:
    """So much of it, rounded up; more by one wei at least."""
    return max(wei + 1, -(-wei * thousandths // 1000))


def _too_high(asked_wei: int, cap_wei: int) -> FeesTooHigh:
    return FeesTooHigh(
        f"Gas costs {gwei_text(asked_wei)} now, and [chain] fee_max_gwei allows"
        f" {gwei_text(cap_wei)}: nothing was sent.",
        hint="Wait until it costs less, or allow more there.",
    )
