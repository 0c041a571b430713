"""Findings, histories and budgets as tests state them."""

from typing import Any

import attrs

from p2pool.model.ids import Address, NodeId
from p2pool.validator.policy.acts import Act, ActKind, ActState, TakenAct
from p2pool.validator.policy.findings import Finding, FindingKind
from p2pool.validator.policy.history import Budget, ChainNode, History, Registry
from p2pool.validator.policy.rules import BudgetRule, Conduct, Policy, SlashRule, ValidateRule

ME, OTHER, THIRD = (Address(bytes([one] * 20)) for one in (1, 2, 3))
PROVIDER = Address(b"p" * 20)
NODE = NodeId(b"n" * 20)
NOW = 1_700_000_000_000
HOUR = 3_600_000
GAS = {
    ActKind.VALIDATE: 1,
    ActKind.INVALIDATE: 1,
    ActKind.REMOVE: 2,
    ActKind.SLASH: 2,
    ActKind.TAKE_BACK: 1,
}


def policy(**changes: Any) -> Policy:
    """One that acts at once: a single pass validates, and one validator is enough for a slash."""
    told: dict[str, Any] = {
        "policy": Conduct(dry_run=False),
        "validate": ValidateRule(passes=1, apart_s=0, passes_after_act=2),
        "slash": SlashRule(validators=1, percent_per_day_max=100),
        "budget": BudgetRule(coin_per_day="1"),
    }
    return Policy(**{**told, **changes})


def finding(kind: FindingKind, ago_ms: int = HOUR, by: Address = ME, **changes: Any) -> Finding:
    """What a validator found of the node a while ago, with an id of its own."""
    made = Finding(
        finding_id=f"{kind}/{ago_ms}/{by.hex()}".encode(),
        validator=by,
        provider=PROVIDER,
        node_id=NODE,
        kind=kind,
        at_ms=NOW - ago_ms,
    )
    return attrs.evolve(made, **changes)


def failures(kind: FindingKind, count: int) -> list[Finding]:
    """So many of them, a minute apart."""
    return [finding(kind, HOUR - 60_000 * number) for number in range(count)]


def history(registry: Registry = Registry.REGISTERED, *taken: TakenAct, **changes: Any) -> History:
    """The node of the provider, which has staked 1000."""
    told: dict[str, Any] = {
        "me": ME,
        "nodes": {NODE: ChainNode(registry, PROVIDER)},
        "stakes_wei": {PROVIDER: 1000},
        "taken": taken,
    }
    return History(**{**told, **changes})


def budget(per_day_wei: int = 1000, price_wei: int | None = 1) -> Budget:
    """Enough for all, at a price of 1."""
    return Budget(per_day_wei=per_day_wei, gas_price_wei=price_wei, gas=GAS)


def taken(kind: ActKind, state: ActState = ActState.DONE, **changes: Any) -> TakenAct:
    """An act on the node two hours ago, because of something else."""
    told: dict[str, Any] = {
        "kind": kind,
        "node_id": NODE,
        "provider": PROVIDER,
        "findings": (b"else",),
        "at_ms": NOW - 2 * HOUR,
        "reserve_wei": GAS[kind],
    }
    return TakenAct(act=Act(**{**told, **changes}), state=state, spent_wei=0)
