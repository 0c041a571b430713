"""Who else found what of a node: validators' verdicts compared.

Intuition: one validator may be wrong, cut off or bought; so before stake is taken, what the others
found lately is looked at. Of each only its last word counts, and a word that a node passes is a
contradiction however many say that it fails.

Invariants: our own findings are neither agreement nor contradiction; what is inconclusive or too
old is no word at all.
"""

from collections.abc import Iterable

import attrs

from p2pool.model.ids import Address
from p2pool.validator.policy.findings import Finding, FindingKind
from p2pool.validator.policy.rules import Policy


@attrs.frozen
class Agreement:
    """Other validators, by their last word on a node: who found a failure that is slashed for, who
    found that it passes, and whom it answered at all."""

    agreeing: frozenset[Address] = frozenset()
    contradicting: frozenset[Address] = frozenset()
    answered: frozenset[Address] = frozenset()


UNANSWERED = (FindingKind.OFFLINE, FindingKind.REFUSED)


def agreement_on(
    policy: Policy, findings: Iterable[Finding], me: Address, now_ms: int
) -> Agreement:
    """What others say of the node that all these findings are of. Only a failure that is slashed
    for is agreement."""
    oldest_ms = now_ms - 1000 * policy.slash.agree_within_s
    last: dict[Address, Finding] = {}
    for one in findings:
        known = last.get(one.validator)
        counts = one.validator != me and oldest_ms <= one.at_ms <= now_ms
        if one.kind is FindingKind.INCONCLUSIVE or not counts:
            continue
        if known is None or (one.at_ms, one.finding_id) > (known.at_ms, known.finding_id):
            last[one.validator] = one
    agreeing = {
        who
        for who, one in last.items()
        if one.is_failure and policy.rules.of(one.kind).penalty_percent
    }
    passed = {who for who, one in last.items() if one.kind is FindingKind.PASSED}
    answered = {who for who, one in last.items() if one.kind not in UNANSWERED}
    return Agreement(frozenset(agreeing), frozenset(passed), frozenset(answered))
