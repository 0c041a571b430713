"""What a plan costs: gas for each step, coin for all, and what its account lacks.

Intuition: the second transaction cannot be estimated on a chain where the first has not happened.
Where an endpoint can simulate a sequence (`eth_simulateV1`), all that is ready is; else the first
call is estimated. What stands behind a wait depends on what others do: its gas is the one that such
a call took on the development contracts, and is marked as that.

Invariants: a figure says where it comes from, and one that nobody knows is None, never 0. What is
ready and would be refused is told before anything is sent.
Source: https://github.com/ethereum/execution-apis, `eth_simulateV1`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.facts import Presence, Reading
from p2pool.drivers.chain.provider.plan import Call, Later, Plan, Step
from p2pool.drivers.chain.provider.reads import gather, reading
from p2pool.drivers.chain.provider.texts import coin_text, tokens
from p2pool.drivers.chain.rpc import Reverted
from p2pool.drivers.chain.transactions.refusals import refusal
from p2pool.model.errors import ChainUnavailable, TransactionFailed

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


class Basis(StrEnum):
    """Where a figure of gas comes from."""

    SIMULATED = "simulated"
    ESTIMATED = "estimated"
    TYPICAL = "typical"
    UNKNOWN = "unknown"


@attrs.frozen
class Gas:
    """What a step uses."""

    units: int | None
    basis: Basis


@attrs.frozen
class Costs:
    """What a plan costs: `gas` by step, None for a wait. `refusal`: why what is ready would be
    refused, and by which step. Balances are None where the plan takes nothing of that kind."""

    plan: Plan
    gas: tuple[Gas | None, ...]
    price_wei: Reading[int]
    coin_wei: Reading[int]
    tokens_wei: Reading[int] | None
    refusal: TransactionFailed | None = None

    @property
    def gas_units(self) -> int | None:
        """Of all steps; None where one is unknown."""
        figures = [one.units for one in self.gas if one is not None]
        known = [one for one in figures if one is not None]
        return sum(known) if len(known) == len(figures) else None

    @property
    def fee_wei(self) -> int | None:
        """Coin for all steps, at the price of now."""
        price, units = self.price_wei.value, self.gas_units
        return None if price is None or units is None else price * units

    @property
    def missing_coin_wei(self) -> int | None:
        """What the account lacks for the whole way; None: unknown."""
        if self.fee_wei is None or self.coin_wei.value is None:
            return None
        return max(0, self.fee_wei - self.coin_wei.value)

    @property
    def missing_tokens_wei(self) -> int | None:
        """What the account lacks for the whole way; None: unknown."""
        if self.tokens_wei is None:
            return 0
        if self.tokens_wei.presence is Presence.UNKNOWN:
            return None
        return max(0, self.plan.tokens_wei - (self.tokens_wei.value or 0))

    def check(self) -> None:
        """`TransactionFailed` if it cannot be sent to its first wait: nothing half done."""
        account = address_text(self.plan.account)
        if self.missing_tokens_wei:
            held = self.tokens_wei.value or 0 if self.tokens_wei is not None else 0
            raise TransactionFailed(
                f"{account} lacks {tokens(self.missing_tokens_wei)}: the way takes"
                f" {tokens(self.plan.tokens_wei)}, and it holds {tokens(held)}.",
                hint="Send it tokens. Nothing was sent; see the whole way with --dry-run.",
            )
        if self.missing_coin_wei:
            raise TransactionFailed(
                f"{account} lacks {coin_text(self.missing_coin_wei, 'coin')} to pay for gas.",
                hint="Send it some of the chain's own coin. Nothing was sent; see the whole way"
                " with --dry-run.",
            )
        if self.refusal is not None:
            raise self.refusal


async def costs_of(chain: PoolContracts, plan: Plan) -> Costs:
    """What a plan costs now."""
    account = plan.account

    async def price() -> Reading[int]:
        ask = chain.rpc.request
        return await reading(lambda: ask("eth_gasPrice", read=answers.price))

    async def coin() -> Reading[int]:
        return await reading(lambda: chain.balance_wei(account))

    async def held() -> Reading[int] | None:
        if not plan.tokens_wei:
            return None
        return await reading(lambda: chain.tokens(account))

    async def gas() -> tuple[list[Gas], TransactionFailed | None]:
        return await _ready_gas(chain, plan)

    (ready, refused), price_wei, coin_wei, tokens_wei = await gather(gas, price, coin, held)
    figures = [
        ready[at] if at < len(ready) else _later_gas(step) for at, step in enumerate(plan.steps)
    ]
    return Costs(
        plan=plan,
        gas=tuple(figures),
        price_wei=price_wei,
        coin_wei=coin_wei,
        tokens_wei=tokens_wei,
        refusal=refused,
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
        return await _simulated(chain, plan)
    except ChainUnavailable:
        pass  # Not every endpoint simulates; the first call can be estimated everywhere.
    later = [_later_gas(call) or Gas(None, Basis.UNKNOWN) for call in ready]
    call = _request_of(plan, ready[0])
    try:
        units = await chain.rpc.request("eth_estimateGas", call, read=answers.number)
    except Reverted as reverted:
        return later, _refused(ready[0], reverted)
    except ChainUnavailable:
        return later, None
    return [Gas(units, Basis.ESTIMATED), *later[1:]], None


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
