"""What a plan costs: gas for each step, coin for all, and what its account lacks.

Intuition: the second transaction cannot be estimated on a chain where the first has not happened.
Where an endpoint can simulate a sequence (`eth_simulateV1`), all that is ready is; the first call
is estimated besides, as its writer does. What stands behind a wait depends on what others do: its
gas is the one that such a call took on the development contracts, and is marked as that.

Invariants: a figure says where it comes from, and one that nobody knows is None, never 0. The price
and the gas are those that the account's writer offers: at most so much, since an account has to
hold what it offers. What is ready and would be refused is told before anything is sent, and so is
what the account has on its way from before.
Source: https://github.com/ethereum/execution-apis, `eth_simulateV1`.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import coin_text, tokens_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import Presence, Reading
from p2pool.drivers.chain.provider.plan import Call, Later, Plan, Step
from p2pool.drivers.chain.provider.reads import gather, reading
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.earlier import read_earlier
from p2pool.drivers.chain.transactions.fees import Market, gas_limit, offer, read_market
from p2pool.drivers.chain.transactions.journal import Journal
from p2pool.drivers.chain.transactions.record import PendingTransaction
from p2pool.drivers.chain.transactions.refusals import refusal
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, FeesTooHigh, TransactionFailed

TYPICAL_GAS: Mapping[str, int] = {
    "approve": 46_000,
    "registerProvider": 163_000,
    "increaseStake": 80_000,
    "reclaimStake": 148_000,
    "withdraw": 48_000,
    "deregisterProvider": 136_000,
    "addComputeNode": 285_000,
    "removeComputeNode": 71_000,
    "joinComputePool": 389_000,
    "leaveComputePool": 85_000,
    "changeComputePool": 330_000,
    "ejectNode": 90_000,
    "blacklistNode": 110_000,
    "blacklistProvider": 60_000,
    "purgeProvider": 100_000,
    "endComputePool": 60_000,
    "whitelistProvider": 62_000,
    "validateNode": 65_000,
    "invalidateNode": 45_000,
    "slash": 75_000,
    "submitWork": 60_000,
    "softInvalidateWork": 90_000,
    "invalidateWork": 220_000,
}
"""Gas that each function took on the development contracts, for one node."""


NEEDED_PERCENT = 130
"""What a call has to have of what it uses in the end, at most: the chain gives a fifth back
(EIP-3529), and each call within it leaves a sixty-fourth to its caller (EIP-150)."""


class Basis(StrEnum):
    """Where a figure of gas comes from."""

    SIMULATED = "simulated"
    ESTIMATED = "estimated"
    TYPICAL = "typical"
    UNKNOWN = "unknown"


@attrs.frozen
class Gas:
    """What a step uses. `needed`: what it has to have for that, before the chain gives some of it
    back; None: nobody says."""

    units: int | None
    basis: Basis
    needed: int | None = None

    @property
    def limit(self) -> int | None:
        """What the transaction may use, at most."""
        if self.units is None:
            return None
        most = self.units * NEEDED_PERCENT // 100
        return gas_limit(most if self.needed is None else self.needed)


@attrs.frozen
class Payer:
    """By what an account pays: at most so much per gas; and where it keeps what is on its way."""

    fee_max_wei: int
    journal: Journal


@attrs.frozen
class Costs:
    """What a plan costs: `gas` by step, None for a wait. `refusal`: why what is ready would be
    refused, and by which step. `earlier`: what the account has on its way and comes first. Balances
    are None where the plan takes nothing of that kind."""

    plan: Plan
    gas: tuple[Gas | None, ...]
    market: Reading[Market]
    fee_max_wei: int
    coin_wei: Reading[int]
    tokens_wei: Reading[int] | None
    refusal: TransactionFailed | None = None
    earlier: PendingTransaction | None = None

    @property
    def gas_units(self) -> int | None:
        """Of all steps; None where one is unknown."""
        return _sum(one.units for one in self.gas if one is not None)

    @property
    def price_wei(self) -> int | None:
        """The most that is offered per gas; where the cap does not reach that, what would be asked
        for. None: unknown."""
        market = self.market.value
        if market is None:
            return None
        try:
            return offer(market, self.fee_max_wei).most_wei
        except FeesTooHigh:
            return offer(market, limits.CHAIN_WORD_MAX).most_wei

    @property
    def above_cap(self) -> FeesTooHigh | None:
        """Why nothing is sent at the price of now; None: the cap allows it, or nobody knows it."""
        try:
            if self.market.value is not None:
                offer(self.market.value, self.fee_max_wei)
        except FeesTooHigh as high:
            return high
        return None

    @property
    def goes_on(self) -> bool:
        """Whether the first call is what is on its way already: it is not sent twice."""
        ready, earlier = self.plan.ready, self.earlier
        if earlier is None or not ready:
            return False
        return (ready[0].to, ready[0].data) == (earlier.call.to, earlier.call.data)

    def earlier_text(self) -> str:
        """What comes first, in a sentence; empty: nothing."""
        if self.earlier is None:
            return ""
        end = ": it is the first step, and is not sent twice." if self.goes_on else "."
        return f"{self.earlier.told()}, is in no block yet and comes first{end}"

    @property
    def fee_wei(self) -> int | None:
        """Coin for all steps, at most."""
        return self._fee_wei(self.gas)

    def _fee_wei(self, gas: Sequence[Gas | None]) -> int | None:
        price, limit = self.price_wei, _sum(one.limit for one in gas if one is not None)
        if price is None or limit is None:
            return None
        if self.earlier is not None and not self.goes_on:
            return price * limit + self.earlier.gas * max(price, self.earlier.last.fees.most_wei)
        return price * limit

    @property
    def missing_coin_wei(self) -> int | None:
        """What the account lacks for the whole way; None: unknown."""
        return self._lacks_wei(self.gas)

    def _lacks_wei(self, gas: Sequence[Gas | None]) -> int | None:
        fee_wei = self._fee_wei(gas)
        if fee_wei is None or self.coin_wei.value is None:
            return None
        return max(0, fee_wei - self.coin_wei.value)

    @property
    def missing_tokens_wei(self) -> int | None:
        """What the account lacks for the whole way; None: unknown."""
        if self.tokens_wei is None:
            return 0
        if self.tokens_wei.presence is Presence.UNKNOWN:
            return None
        return max(0, self.plan.tokens_wei - (self.tokens_wei.value or 0))

    def check(self) -> None:
        """`TransactionFailed` if it cannot be sent to its first wait, `FeesTooHigh` if that costs
        more than is allowed: nothing half done."""
        account = address_text(self.plan.account)
        if self.missing_tokens_wei:
            held = self.tokens_wei.value or 0 if self.tokens_wei is not None else 0
            raise TransactionFailed(
                f"{account} lacks {tokens_text(self.missing_tokens_wei)}: the way takes"
                f" {tokens_text(self.plan.tokens_wei)}, and it holds {tokens_text(held)}.",
                hint="Send it tokens. Nothing was sent; see the whole way with --dry-run.",
            )
        if self.above_cap is not None:
            raise self.above_cap
        if missing_wei := self._lacks_wei(self.gas[: len(self.plan.ready)]):
            raise TransactionFailed(
                f"{account} lacks {coin_text(missing_wei, 'coin')} to pay for gas.",
                hint="Send it some of the chain's own coin. Nothing was sent; see the whole way"
                " with --dry-run.",
            )
        if self.refusal is not None:
            raise self.refusal


def _sum(figures: Iterable[int | None]) -> int | None:
    """None where one is unknown."""
    total = 0
    for one in figures:
        if one is None:
            return None
        total += one
    return total


async def costs_of(chain: PoolContracts, plan: Plan, payer: Payer) -> Costs:
    """What a plan costs now."""
    account = plan.account

    async def price() -> Reading[Market]:
        return await reading(lambda: read_market(chain.rpc))

    async def earlier() -> PendingTransaction | None:
        return await read_earlier(chain.rpc, payer.journal)

    async def coin() -> Reading[int]:
        return await reading(lambda: chain.balance_wei(account))

    async def held() -> Reading[int] | None:
        if not plan.tokens_wei:
            return None
        return await reading(lambda: chain.tokens(account))

    async def gas() -> tuple[list[Gas], TransactionFailed | None]:
        return await _ready_gas(chain, plan)

    found = await gather(gas, price, coin, held, earlier)
    (ready, refused), market, coin_wei, tokens_wei, left = found
    figures = [
        ready[at] if at < len(ready) else _later_gas(step) for at, step in enumerate(plan.steps)
    ]
    return Costs(
        plan=plan,
        gas=tuple(figures),
        market=market,
        fee_max_wei=payer.fee_max_wei,
        coin_wei=coin_wei,
        tokens_wei=tokens_wei,
        refusal=refused,
        earlier=left,
    )


def _later_gas(step: Step) -> Gas | None:
    """Of a step that cannot be tried now."""
    if not isinstance(step, Call | Later):
        return None
    units = TYPICAL_GAS.get(step.function.name)
    if units is None:
        return Gas(None, Basis.UNKNOWN)
    nodes = _nodes_in(step.arguments) if isinstance(step, Call) else 1
    return Gas(units * nodes, Basis.TYPICAL)


def _nodes_in(arguments: Sequence[object]) -> int:
    return max((len(one) for one in arguments if isinstance(one, list)), default=1)


async def _ready_gas(
    chain: PoolContracts, plan: Plan
) -> tuple[list[Gas], TransactionFailed | None]:
    """Gas of the calls that are ready, and why one would be refused."""
    ready = plan.ready
    if not ready:
        return [], None
    try:
        figures, refused = await _simulated(chain, plan)
    except ChainUnavailable:
        # Not every endpoint simulates; the first call can be estimated everywhere.
        figures, refused = [_later_gas(call) or Gas(None, Basis.UNKNOWN) for call in ready], None
    if refused is not None:
        return figures, refused
    call = _request_of(plan, ready[0])
    try:
        needed = await chain.rpc.request("eth_estimateGas", call, read=answers.number)
    except Reverted as reverted:
        return figures, _refused(ready[0], reverted)
    except ChainUnavailable:
        return figures, None
    simulated = figures[0].basis is Basis.SIMULATED
    units, basis = (figures[0].units, Basis.SIMULATED) if simulated else (needed, Basis.ESTIMATED)
    return [Gas(units, basis, needed), *figures[1:]], None


async def _simulated(
    chain: PoolContracts, plan: Plan
) -> tuple[list[Gas], TransactionFailed | None]:
    """By `eth_simulateV1`; `ChainUnavailable` where no endpoint does."""
    calls = [_request_of(plan, call) for call in plan.ready]
    asked = {"blockStateCalls": [{"calls": calls}], "validation": False}
    results = await chain.rpc.request(
        "eth_simulateV1", asked, "latest", read=lambda found: _results(found, len(calls))
    )
    figures: list[Gas] = []
    for call, (units, failed) in zip(plan.ready, results, strict=True):
        if failed is not None:
            rest = [_later_gas(one) or Gas(None, Basis.UNKNOWN) for one in plan.ready]
            return figures + rest[len(figures) :], _refused(call, failed)
        figures.append(Gas(units, Basis.SIMULATED))
    return figures, None


def _refused(call: Call, reverted: Reverted) -> TransactionFailed:
    """A refusal as if it had been sent: with the revert as its cause."""
    error = refusal(call.function.name, reverted)
    error.__cause__ = reverted
    return error


def _request_of(plan: Plan, call: Call) -> dict[str, Any]:
    return {
        "from": address_text(plan.account),
        "to": address_text(call.to),
        "value": hex(call.value_wei),
        "data": "0x" + call.data.hex(),
        "input": "0x" + call.data.hex(),
    }


def _results(found: object, count: int) -> list[tuple[int, Reverted | None]]:
    """The calls of one simulated block, checked."""
    if not isinstance(found, list) or len(found) != 1:
        raise answers.Nonsense("a simulation of another number of blocks")
    calls = answers.fields(found[0]).get("calls")
    if not isinstance(calls, list) or len(calls) != count:
        raise answers.Nonsense("a simulation of another number of calls")
    return [_result(answers.fields(one)) for one in calls]


def _result(one: Mapping[str, Any]) -> tuple[int, Reverted | None]:
    units = answers.number(one.get("gasUsed"))
    if answers.quantity(one.get("status")) == 1:
        return units, None
    error = one.get("error")
    told = error if isinstance(error, dict) else {}
    data = told.get("data") or one.get("returnData")
    given = isinstance(data, str) and data.startswith("0x")
    message = answers.shown(told.get("message") or "it fails")
    return units, Reverted(message, answers.data(data) if given else b"")
