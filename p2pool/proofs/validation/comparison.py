"""What the evidence of several validators says of a node, and of the validators.

Intuition: much of what a validator says is its word alone: an answer was late, or did not come. Who
lies about it stands alone among the others; a node that answers some validators only, and others
never, shows in the same table. Two documents by one validator on one challenge prove themselves
that it says what it likes.

Invariants: each validator counts once, by its latest evidence; what is proven outweighs any number
of words, for no validator can invent it; a tie decides nothing.
Source: docs/design/validation.md, "Several validators".
"""

from collections.abc import Sequence

import attrs

from p2pool.codec.validation import evidence_digest
from p2pool.model.ids import Address
from p2pool.model.validation.evidence import PROVEN, Conclusion, Evidence, Fault
from p2pool.proofs.validation.seeds import challenge_id


@attrs.frozen
class Comparison:
    """Of one node. `conclusion`: None where the validators are as many on either side, or say
    nothing. `against`: whose conclusion is another. `unanswered`: whom the node did not answer,
    though it answered others."""

    conclusion: Conclusion | None
    proven: bool
    against: tuple[Address, ...]
    unanswered: tuple[Address, ...]


def compare(evidence: Sequence[Evidence]) -> Comparison:
    """What evidence on one node comes to; each was checked before (`wire.validation.evidence`)."""
    assert len({one.transcript.challenge.node_id for one in evidence}) <= 1
    latest: dict[Address, Evidence] = {}
    for one in sorted(evidence, key=lambda one: one.concluded_at_ms):
        latest[one.transcript.challenge.validator] = one
    said = {who: one.conclusion for who, one in latest.items()}
    proven = any(shown.fault in PROVEN for one in latest.values() for shown in one.faults)
    conclusion = Conclusion.INVALID if proven else _majority(list(said.values()))
    decided = {Conclusion.VALID, Conclusion.INVALID}
    against = [who for who, what in said.items() if what in decided and what is not conclusion]
    silent = [who for who, one in latest.items() if _unanswered(one)]
    answered = len(silent) < len(latest)
    return Comparison(
        conclusion=conclusion,
        proven=proven,
        against=tuple(sorted(against)) if conclusion is not None else (),
        unanswered=tuple(sorted(silent)) if answered else (),
    )


def contradicts_itself(first: Evidence, second: Evidence) -> bool:
    """Whether one validator made two documents of one challenge: both signed, that is proof."""
    one, other = first.transcript.challenge, second.transcript.challenge
    same = challenge_id(one) == challenge_id(other)
    return same and evidence_digest(first) != evidence_digest(second)


def _majority(said: Sequence[Conclusion]) -> Conclusion | None:
    valid, invalid = said.count(Conclusion.VALID), said.count(Conclusion.INVALID)
    if valid == invalid:
        return None
    return Conclusion.VALID if valid > invalid else Conclusion.INVALID


def _unanswered(evidence: Evidence) -> bool:
    return any(one.fault in (Fault.NO_ANSWER, Fault.DECLINED) for one in evidence.faults)
