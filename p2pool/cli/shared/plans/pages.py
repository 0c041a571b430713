"""How a plan is written: step by step for people, and as one document for programs.

Invariants: the document has the same names whether it was sent, shown only, or had nothing to send;
amounts are text, because they are beyond what a reader of JSON takes for a number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from p2pool.cli.shared.output import write_json, write_line
from p2pool.cli.shared.plans.stake_words import StakeQuestion
from p2pool.cli.shared.tables import write_pairs
from p2pool.codec.json.hex import address_text
from p2pool.codec.text.amounts import gwei_text
from p2pool.drivers.chain.provider.conduct import Done
from p2pool.drivers.chain.provider.costs import Basis, Costs, Gas
from p2pool.drivers.chain.provider.plan import Call, Later, Plan, Step, Wait
from p2pool.drivers.chain.provider.texts import amount_or_unknown, coin_text, tokens
from p2pool.drivers.chain.transactions.record import PendingTransaction


def would_send(plan: Plan) -> list[str]:
    """What would be sent now, a sentence each."""
    account = address_text(plan.account)
    return [f"{account} would call {one.text} at {address_text(one.to)}" for one in plan.ready]


# --- for programs -------------------------------------------------------------------------------


def plan_document(
    costs: Costs,
    done: Sequence[Done],
    rest: Plan,
    dry_run: bool,
    told: Mapping[str, Any],
    *,
    question: StakeQuestion | None = None,
) -> dict[str, Any]:
    """The document of a plan. `rest`: the way that is left. `question`: stake that nobody
    allowed."""
    plan = costs.plan
    steps = [_step_document(costs, at, step, done) for at, step in enumerate(plan.steps)]
    wait = rest.waits
    return {
        "dry_run": dry_run,
        **told,
        "account": address_text(plan.account),
        "would_send": would_send(plan) if dry_run else [],
        "transaction": done[-1].sent.transaction_hash if done else None,
        "steps": steps,
        "gas": costs.gas_units,
        "gas_price_wei": _text(costs.price_wei),
        "fee_max_wei": str(costs.fee_max_wei),
        "fee_wei": _text(costs.fee_wei),
        "earlier": None if costs.earlier is None else _earlier_document(costs.earlier, costs),
        "tokens_wei": str(plan.tokens_wei),
        "missing": {
            "coin_wei": _text(costs.missing_coin_wei),
            "tokens_wei": _text(costs.missing_tokens_wei),
        },
        "refusal": _refusal(costs),
        "asks": None if question is None else question.text(),
        "waits_for": None if wait is None else _wait_document(wait),
        "notes": list(plan.notes),
    }


def _refusal(costs: Costs) -> str | None:
    refused = costs.refusal or costs.above_cap
    return None if refused is None else refused.message


def _earlier_document(earlier: PendingTransaction, costs: Costs) -> dict[str, Any]:
    call = earlier.call
    return {
        "name": call.what,
        "transaction": earlier.last.hash,
        "nonce": earlier.nonce,
        "to": None if call.to is None else address_text(call.to),
        "calldata": "0x" + call.data.hex(),
        "gas_limit": earlier.gas,
        "gas_price_wei": str(earlier.last.fees.most_wei),
        "is_first_step": costs.goes_on,
    }


def _text(wei: int | None) -> str | None:
    return None if wei is None else str(wei)


def _step_document(costs: Costs, at: int, step: Step, done: Sequence[Done]) -> dict[str, Any]:
    if isinstance(step, Wait):
        return {"kind": "wait", **_wait_document(step)}
    gas = costs.gas[at] or Gas(None, Basis.UNKNOWN)
    sent = done[at].sent if at < len(done) else None
    known = isinstance(step, Call)
    return {
        "kind": "transaction" if known else "later",
        "name": step.name,
        "purpose": step.purpose,
        "lacks": "" if isinstance(step, Call) else step.lacks,
        "ready": at < len(costs.plan.ready),
        "to": address_text(step.to),
        "contract": step.function.contract,
        "function": step.function.signature,
        "calldata": "0x" + step.data.hex() if isinstance(step, Call) else None,
        "value_wei": str(step.value_wei) if isinstance(step, Call) else "0",
        "tokens_wei": str(step.tokens_wei) if isinstance(step, Call) else "0",
        "gas": gas.units,
        "gas_limit": gas.limit,
        "gas_from": str(gas.basis),
        "transaction": sent.transaction_hash if sent is not None else None,
        "block_number": sent.block_number if sent is not None else None,
        "gas_used": sent.gas_used if sent is not None else None,
    }


def _wait_document(wait: Wait) -> dict[str, Any]:
    return {
        "name": wait.name,
        "finding": wait.finding,
        "waiting_on": wait.whom,
        "command": wait.command,
        "until_s": wait.until_s,
    }


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
        pairs.append(("tokens", f"{tokens(costs.plan.tokens_wei)}; it holds {held}"))
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
