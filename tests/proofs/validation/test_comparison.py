"""Several validators' evidence on one node shows who stands alone, and whom the node avoids."""

import attrs

from p2pool.model.ids import Address
from p2pool.model.validation.evidence import Conclusion, Evidence, Fault, ShownFault
from p2pool.proofs.validation.comparison import compare, contradicts_itself
from tests.docs.generator.validation import PLAN
from tests.validator.harness.nodes import SimulatedNode, challenge
from tests.validator.harness.provers import PlainProver

A, B, C = (Address(bytes([number]) * 20) for number in (1, 2, 3))


def evidence_against(prover: PlainProver) -> Evidence:
    """Of a node with this prover."""
    node = SimulatedNode(1, prover=prover)
    return challenge(node, claims=[node.claim(PLAN)]).evidence[node.node_id]


HONEST = evidence_against(PlainProver())


def said(who: Address, *faults: Fault, at_ms: int = 0) -> Evidence:
    """What a validator says of the node."""
    transcript = HONEST.transcript
    asked = attrs.evolve(transcript.challenge, validator=who)
    excused = set(faults) == {Fault.DECLINED}
    told = Conclusion.INCONCLUSIVE if excused else Conclusion.INVALID
    return attrs.evolve(
        HONEST,
        transcript=attrs.evolve(transcript, challenge=asked),
        conclusion=told if faults else Conclusion.VALID,
        faults=tuple(ShownFault(fault, 1) for fault in faults),
        concluded_at_ms=at_ms,
    )


def test_a_validator_that_lies_about_times_stands_alone() -> None:
    """Nobody else saw the node late."""
    found = compare([said(A), said(B), said(C, Fault.SLOW_PRODUCT)])
    assert found.conclusion is Conclusion.VALID
    assert found.against == (C,)


def test_a_node_that_refuses_some_validators_is_seen() -> None:
    """It answers two, and never the third."""
    for fault in (Fault.NO_ANSWER, Fault.DECLINED):
        found = compare([said(A), said(B), said(C, fault)])
        assert found.unanswered == (C,)
    gone = [said(who, Fault.NO_ANSWER) for who in (A, B, C)]
    assert compare(gone).unanswered == ()
    assert compare(gone).conclusion is Conclusion.INVALID


def test_what_is_proven_outweighs_what_is_said() -> None:
    """One wrong row under the node's own root is enough, whatever others drew."""
    found = compare([said(A), said(B), said(C, Fault.WRONG_PRODUCT)])
    assert (found.conclusion, found.proven) == (Conclusion.INVALID, True)
    assert found.against == (A, B)


def test_each_validator_counts_once_by_its_latest_word() -> None:
    """A validator does not become three by asking three times."""
    many = [said(C, Fault.SLOW_MEMORY, at_ms=number) for number in range(3)]
    assert compare([said(A), said(B), *many]).conclusion is Conclusion.VALID
    assert compare([said(A, Fault.SLOW_FILL, at_ms=1), said(A, at_ms=2)]).against == ()


def test_a_tie_decides_nothing() -> None:
    """And nobody is against what was not decided."""
    found = compare([said(A), said(B, Fault.SLOW_FILL)])
    assert (found.conclusion, found.against) == (None, ())
    assert compare([]).conclusion is None


def test_two_documents_of_one_challenge_prove_a_contradiction() -> None:
    """A validator that was offline repeats its word; it does not make another one."""
    other = attrs.evolve(HONEST, concluded_at_ms=HONEST.concluded_at_ms + 1)
    assert contradicts_itself(HONEST, other)
    assert not contradicts_itself(HONEST, HONEST)
    assert not contradicts_itself(HONEST, said(A))
