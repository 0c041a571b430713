"""A plan as one document for programs, with all that a person is shown of it.

Invariants: the document has the same names whether it was sent, shown only, or had nothing to send;
amounts are text, because they are beyond what a reader of JSON takes for a number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain.provider.conduct import Done
from p2pool.drivers.chain.provider.costs import Basis, Costs, Gas
from p2pool.drivers.chain.provider.plan import Call, Plan, Step, Wait
from p2pool.drivers.chain.transactions.record import PendingTransaction


def would_send(plan: Plan) -> list[str]:
    """What would be sent now, a sentence each."""
    account = address_text(plan.account)
    return [f"{account} would call {one.text} at {address_text(one.to)}" for one in plan.ready]


def plan_document(
    costs: Costs,
    done: Sequence[Done],
    rest: Plan,
    dry_run: bool,
    told: Mapping[str, Any],
    *,
    asks: str | None = None,
) -> dict[str, Any]:
    """The document of a plan. `rest`: the way that is left. `asks`: the question before it."""
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
        "asks": asks,
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
