"""An errand: a command makes a plan, shows it or sends it, and says what is left of the way.

Invariants: one plan is made, priced and sent; the dry run shows the same one. What is missing for
it, of coin or tokens, is told before the first transaction, and so is what would be refused. No
stake is sent that nobody allowed.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from p2pool.cli.documents import note_warning
from p2pool.cli.shared.chain import Sender
from p2pool.cli.shared.plans.stake_words import (
    NOTHING_SAID,
    StakeQuestion,
    StakeWord,
    stake_question,
)

if TYPE_CHECKING:
    from p2pool.drivers.chain.contracts import PoolContracts
    from p2pool.drivers.chain.provider.conduct import Done
    from p2pool.drivers.chain.provider.costs import Costs
    from p2pool.drivers.chain.provider.plan import Plan
    from p2pool.drivers.chain.transactions.writer import Writer
    from p2pool.model.ids import Address

MakePlan = Callable[["PoolContracts", "Address"], Awaitable["Plan"]]


@attrs.frozen
class Outcome:
    """What an errand found and did."""

    costs: "Costs"
    done: "Sequence[Done]"
    rest: "Plan"
    question: StakeQuestion | None = None


def run_errand(
    sender: Sender,
    make: MakePlan,
    told: dict[str, Any],
    *,
    yes: bool | None = None,
    stake: StakeWord = NOTHING_SAID,
) -> Outcome:
    """Carry an errand out and write what became of it. `told`: what the document says besides.
    `yes`: None where nothing needs a person's yes. `stake`: what its owner said of that."""
    from p2pool.cli.plan_documents import plan_document
    from p2pool.cli.shared.plans import pages

    asks = yes is False and not sender.dry_run
    if sender.as_json and asks:
        raise click.UsageError("--json cannot ask: add --yes.")

    async def act(chain: "PoolContracts", writer: "Writer") -> Outcome:
        return await _act(sender, make, (asks, stake), chain, writer)

    outcome, _ = sender.run(act)
    if sender.as_json:
        pages.write_document(
            plan_document(
                outcome.costs,
                outcome.done,
                outcome.rest,
                sender.dry_run,
                told,
                asks=None if outcome.question is None else outcome.question.text(),
            )
        )
    elif sender.dry_run:
        pages.write_plan(outcome.costs, outcome.question)
    else:
        pages.write_rest(outcome.done, outcome.rest)
    return outcome


async def _act(
    sender: Sender,
    make: MakePlan,
    words: tuple[bool, StakeWord],
    chain: "PoolContracts",
    writer: "Writer",
) -> Outcome:
    from p2pool.cli.shared.plans import pages
    from p2pool.drivers.chain.provider.conduct import Done, send_ready
    from p2pool.drivers.chain.provider.costs import costs_of

    plan = await make(chain, writer.address)
    costs = await costs_of(chain, plan, sender.payer(writer.address))
    asks, word = words
    calls = plan.calls if sender.dry_run else plan.ready
    question = stake_question(calls, plan.account, sender.chain_config.id, word)
    if sender.dry_run or not plan.ready:
        return Outcome(costs, (), plan, question)
    costs.check()
    if question is not None and sender.as_json:
        raise question.refusal()
    if question is not None or (asks and any(call.asks for call in plan.ready)):
        _ask(plan, costs, question)

    def told(one: Done) -> None:
        if sender.as_json:
            # The error of a later one carries it.
            note_sent.append(f"{one.call.name} was sent: {one.sent.transaction_hash}")
        else:
            pages.write_done(one)

    note_sent: list[str] = []
    try:
        done = await send_ready(plan, writer, told)
    except BaseException:
        for text in note_sent:
            note_warning(text)
        raise
    return Outcome(costs, done, await _rest(plan, make, chain))


def _ask(plan: "Plan", costs: "Costs", question: StakeQuestion | None) -> None:
    """Have a person say yes, with all that is sent and what it takes in view."""
    from p2pool.codec.text.amounts import amount_or_unknown

    for call in plan.ready:
        click.echo(f"{call.name}: {call.purpose}")
    if question is not None:
        click.echo(question.text())
        click.echo(f"Fees for the whole way: {amount_or_unknown(costs.fee_wei, 'coin')} at most.")
    click.confirm("Send this?", abort=True)


async def _rest(plan: "Plan", make: MakePlan, chain: "PoolContracts") -> "Plan":
    """What is left of the way. A date is read anew, because it counts from the block that has
    it."""
    from p2pool.drivers.chain.provider.plan import Wait

    rest = attrs.evolve(plan, steps=plan.steps[len(plan.ready) :])
    dated = any(isinstance(step, Wait) and step.until_s for step in rest.steps)
    return await make(chain, plan.account) if dated else rest
