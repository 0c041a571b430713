"""How a plan is written for people, step by step; `plan_documents` has it for programs.

Invariants: what is shown is the plan that is sent, with the most that it costs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from p2pool.cli.shared.output import write_json, write_line
from p2pool.cli.shared.plans.stake_words import StakeQuestion
from p2pool.cli.shared.tables import write_pairs
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import amount_or_unknown, coin_text, gwei_text, tokens_text
from p2pool.drivers.chain.provider.conduct import Done
from p2pool.drivers.chain.provider.costs import Costs, Gas
from p2pool.drivers.chain.provider.plan import Call, Later, Plan, Step, Wait

# --- for people ---------------------------------------------------------------------------------


def write_plan(costs: Costs, question: StakeQuestion | None = None) -> None:
    """Write the whole way, as a dry run shows it."""
    plan = costs.plan
    if costs.earlier is not None:
        write_line(costs.earlier_text())
    if not plan.steps:
        click.echo("Nothing to send.")
    for at, step in enumerate(plan.steps):
        _write_step(at + 1, step, costs.gas[at], costs)
    _write_notes(plan)
    if not plan.steps or all(isinstance(step, Wait) for step in plan.steps):
        return
    write_pairs(_totals(costs))
    if costs.above_cap is not None:
        write_line(f"It would not be sent now: {costs.above_cap}")
    if costs.refusal is not None:
        write_line(f"It would be refused: {costs.refusal}")
    if question is not None:
        write_line(f"It would ask first: {question.text()}")


def _write_step(number: int, step: Step, gas: Gas | None, costs: Costs) -> None:
    if isinstance(step, Wait):
        click.echo(f"{number}. wait for {step.whom}: {step.finding}")
        write_pairs([("   run", step.command)] if step.command else [])
        return
    click.echo(f"{number}. {step.name}: {step.purpose}")
    pairs = [("   to", f"{address_text(step.to)} ({step.function.contract})")]
    if isinstance(step, Call):
        pairs.append(("   call", step.text.partition(".")[2]))
        pairs.append(("   calldata", "0x" + step.data.hex()))
        pairs.append(("   value", str(step.value_wei)))
    else:
        pairs.append(("   calldata", f"known once it has {step.lacks}"))
    if gas is not None:
        pairs.append(("   gas", _gas_text(gas, costs)))
    write_pairs(pairs)


def _gas_text(gas: Gas, costs: Costs) -> str:
    if gas.units is None or gas.limit is None:
        return "unknown"
    price = costs.price_wei
    fee = f", at most {coin_text(gas.limit * price, 'coin')}" if price is not None else ""
    return f"{gas.units} ({gas.basis}){fee}"


def _totals(costs: Costs) -> list[tuple[str, str]]:
    pairs = [("account", address_text(costs.plan.account))]
    held = amount_or_unknown(costs.coin_wei.value, "coin")
    pairs.append(("fees", f"at most {amount_or_unknown(costs.fee_wei, 'coin')}; it holds {held}"))
    price = "unknown" if costs.price_wei is None else f"at most {gwei_text(costs.price_wei)}"
    cap = gwei_text(costs.fee_max_wei)
    pairs.append(("price", f"{price} per gas; [chain] fee_max_gwei allows {cap}"))
    if costs.tokens_wei is not None:
        held = amount_or_unknown(costs.tokens_wei.value)
        pairs.append(("tokens", f"{tokens_text(costs.plan.tokens_wei)}; it holds {held}"))
    lacks = [
        amount_or_unknown(wei, unit)
        for wei, unit in (
            (costs.missing_coin_wei, "coin"),
            (costs.missing_tokens_wei, "tokens"),
        )
        if wei != 0
    ]
    pairs.append(("missing", " and ".join(lacks) or "nothing"))
    return pairs


def write_done(one: Done) -> None:
    """Write a call that is in a block, at once: whoever interrupts has seen what was sent."""
    sent = one.sent
    write_line(
        f"{one.call.name}: {one.call.purpose} Transaction {sent.transaction_hash},"
        f" {sent.gas_used} gas."
    )


def write_rest(done: Sequence[Done], rest: Plan) -> None:
    """Write what is left of the way."""
    if not done:
        click.echo("Nothing to send." if not rest.steps else "Nothing can be sent yet.")
    _write_notes(rest)
    lacks = [step for step in rest.steps if not isinstance(step, Call)][:1]
    if lacks and isinstance(lacks[0], Later):
        click.echo(f"It lacks {lacks[0].lacks}: {lacks[0].purpose}", err=True)
    wait = rest.waits
    if wait is None or (lacks and lacks[0] is not wait):
        return
    click.echo(f"It waits for {wait.whom}: {wait.finding}.", err=True)
    if wait.command:
        click.echo(f"They run: {wait.command}", err=True)


def _write_notes(plan: Plan) -> None:
    for note in plan.notes:
        write_line(note)


def write_document(document: Mapping[str, Any]) -> None:
    """Write the document."""
    write_json("transaction", document)
