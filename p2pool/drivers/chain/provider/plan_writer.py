"""A writer that sends nothing and keeps what it was to send as a plan, with bytes and costs.

For commands that have no plan of their own yet: what they would send is shown as whole as if they
had one.
"""

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import coin_text, gwei_text
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.costs import Costs, Gas, Payer, costs_of
from p2pool.drivers.chain.provider.plan import Call, Plan
from p2pool.drivers.chain.transactions.writer import DryWriter, Sent
from p2pool.model.ids import Address


@attrs.define
class PlanWriter(DryWriter):
    """As `DryWriter`, with the calls themselves."""

    calls: list[Call] = attrs.field(factory=list)

    async def send(self, to: Address, function: Function, *arguments: object) -> Sent:
        """Keep the call."""
        self.calls.append(
            Call(name=function.name, purpose="", to=to, function=function, arguments=arguments)
        )
        return await super().send(to, function, *arguments)

    @property
    def plan(self) -> Plan:
        """The calls, all of them ready."""
        return Plan(self.address, tuple(self.calls))


@attrs.frozen
class DryRun:
    """What would be sent, with its costs; `said`, a line each, and what would keep it from being
    sent."""

    costs: Costs
    said: tuple[str, ...]


async def dry_run_of(chain: PoolContracts, writer: PlanWriter, payer: Payer) -> DryRun | None:
    """What a writer was to send; None: nothing."""
    if not writer.calls:
        return None
    costs = await costs_of(chain, writer.plan, payer)
    lines = [
        f"{said}; calldata 0x{call.data.hex()}; value {call.value_wei}; gas {_gas_text(costs, gas)}"
        for said, call, gas in zip(writer.said, writer.calls, costs.gas, strict=True)
    ]
    return DryRun(costs, (*_first(costs), *lines, *_lacks(costs)))


def _gas_text(costs: Costs, gas: Gas | None) -> str:
    if gas is None or gas.units is None or gas.limit is None:
        return "unknown"
    price = costs.price_wei
    fee = "" if price is None else f", at most {coin_text(gas.limit * price, 'coin')}"
    return f"{gas.units} ({gas.basis}{fee})"


def _first(costs: Costs) -> list[str]:
    """A line about what goes before it, if anything does."""
    text = costs.earlier_text()
    return [text] if text else []


def _lacks(costs: Costs) -> list[str]:
    """A line about what keeps it from being sent, if anything does."""
    lines = []
    if costs.above_cap is not None and costs.price_wei is not None:
        lines.append(
            f"it would not be sent now: {gwei_text(costs.price_wei)} per gas are more than [chain]"
            f" fee_max_gwei allows, {gwei_text(costs.fee_max_wei)}"
        )
    if costs.missing_coin_wei:
        missing = coin_text(costs.missing_coin_wei, "coin")
        lines.append(f"{address_text(costs.plan.account)} lacks {missing} for that gas")
    if costs.refusal is not None:
        lines.append(f"it would be refused: {costs.refusal.message}")
    return lines
