"""A writer that sends nothing and keeps what it was to send as a plan, with bytes and costs.

For commands that have no plan of their own yet: what they would send is shown as whole as if they
had one.
"""

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import coin_text
from p2pool.drivers.chain.abi import Function
from p2pool.drivers.chain.contracts import PoolContracts
from p2pool.drivers.chain.provider.costs import Costs, Gas, costs_of
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


async def whole_sentences(chain: PoolContracts, writer: PlanWriter) -> list[str]:
    """What would be sent, a line each: the call, its bytes, its value and its gas."""
    if not writer.calls:
        return []
    costs = await costs_of(chain, writer.plan)
    return [
        f"{said}; calldata 0x{call.data.hex()}; value {call.value_wei}; gas {_gas_text(costs, gas)}"
        for said, call, gas in zip(writer.said, writer.calls, costs.gas, strict=True)
    ] + _lacks(costs)


def _gas_text(costs: Costs, gas: Gas | None) -> str:
    if gas is None or gas.units is None:
        return "unknown"
    price = costs.price_wei.value
    fee = "" if price is None else f", {coin_text(gas.units * price, 'coin')}"
    return f"{gas.units} ({gas.basis}{fee})"


def _lacks(costs: Costs) -> list[str]:
    """A line about what keeps it from being sent, if anything does."""
    lines = []
    if costs.missing_coin_wei:
        missing = coin_text(costs.missing_coin_wei, "coin")
        lines.append(f"{address_text(costs.plan.account)} lacks {missing} for that gas")
    if costs.refusal is not None:
        lines.append(f"it would be refused: {costs.refusal.message}")
    return lines
