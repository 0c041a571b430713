"""A stranger comes to the validator's conclusion by its evidence, or finds that it lies."""

from collections.abc import Callable

import attrs
import pytest

from p2pool.codec.validation import evidence_bytes, evidence_of
from p2pool.model.errors import BadSignature, Malformed, NotForUs, P2poolError, TooNew
from p2pool.model.ids import Digest
from p2pool.model.validation.evidence import (
    PROVEN,
    Conclusion,
    Evidence,
    Fault,
    ShownFault,
    Step,
    Transcript,
)
from p2pool.model.validation.transcript import Openings
from p2pool.proofs.validation.judgement import judge
from p2pool.wire.validation.evidence import (
    check_challenge,
    sign_challenge,
    sign_commitment,
    sign_evidence,
    verifies,
    verify_evidence,
)
from tests.docs.generator.validation import PLAN
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge
from tests.validator.harness.provers import FakesRows, PlainProver
from tests.wire.samples import ACCOUNT, POOL

NODE = SimulatedNode(1)


def evidence_against(prover: PlainProver) -> Evidence:
    """Of a node with this prover."""
    node = SimulatedNode(1, prover=prover)
    return challenge(node, claims=[node.claim(PLAN)]).evidence[node.node_id]


HONEST = evidence_against(PlainProver())
CHEAT = evidence_against(FakesRows(nth=3))


def changed(**parts: object) -> Evidence:
    """Honest evidence with another transcript, as a lying validator would have it."""
    transcript = attrs.evolve(HONEST.transcript, **parts)  # type: ignore[arg-type]
    return attrs.evolve(HONEST, transcript=transcript)


def test_evidence_convinces_a_stranger() -> None:
    """From its bytes alone, of both conclusions."""
    for evidence in (HONEST, CHEAT):
        signed = evidence_of(evidence_bytes(sign_evidence(VALIDATOR, evidence)))
        assert signed.evidence == evidence
        assert verify_evidence(POOL, signed).conclusion is evidence.conclusion
    assert HONEST.conclusion is Conclusion.VALID
    assert {one.fault for one in CHEAT.faults} == {Fault.WRONG_PRODUCT}


def refusal(evidence: Evidence) -> str:
    """Why a stranger takes evidence for none."""
    with pytest.raises(P2poolError) as caught:
        verify_evidence(POOL, sign_evidence(VALIDATOR, evidence))
    return caught.value.message


def test_a_validator_that_concludes_otherwise_is_found_out() -> None:
    """To praise a cheat or to blame an honest node contradicts what it shows."""
    praise = attrs.evolve(CHEAT, conclusion=Conclusion.VALID, faults=())
    blame = attrs.evolve(
        HONEST, conclusion=Conclusion.INVALID, faults=(ShownFault(Fault.WRONG_PRODUCT, 1, 0),)
    )
    assert "concludes valid; what it shows makes invalid" in refusal(praise)
    assert "concludes invalid; what it shows makes valid" in refusal(blame)


def with_row(**parts: object) -> Transcript:
    """The honest transcript with its first opened row changed."""
    openings = HONEST.transcript.openings
    first = attrs.evolve(openings.rows[0], **parts)  # type: ignore[arg-type]
    shown = Openings((first, *openings.rows[1:]), openings.blocks)
    return attrs.evolve(HONEST.transcript, openings=shown)


def test_a_validator_cannot_make_up_a_row() -> None:
    """It is not under the root that the node signed, so it proves nothing against the node."""
    entries = HONEST.transcript.openings.rows[0].entries
    for transcript in (
        with_row(entries=bytes([entries[0] ^ 1]) + entries[1:]),
        with_row(path=HONEST.transcript.openings.rows[0].path[1:]),
        with_row(path=(*HONEST.transcript.openings.rows[0].path, Digest(bytes(32)))),
        with_row(entries=entries[:-4]),
        with_row(row=(HONEST.transcript.openings.rows[0].row + 1) % 3),
        with_row(device=1),
        with_row(step=3),
        with_row(product=2),
    ):
        found = judge(transcript, verifies)
        assert {one.fault for one in found.faults} == {Fault.BAD_OPENING}
        assert not {one.fault for one in found.faults} & PROVEN


def test_a_validator_cannot_make_up_a_fingerprint() -> None:
    """The group of fingerprints is a leaf under the node's root too."""
    openings = HONEST.transcript.openings
    first = openings.blocks[0]
    for wrong in (
        attrs.evolve(first, fingerprints=bytes(len(first.fingerprints))),
        attrs.evolve(first, fingerprints=first.fingerprints[8:]),
        attrs.evolve(first, path=()),
    ):
        shown = Openings(openings.rows, (wrong, *openings.blocks[1:]))
        found = judge(attrs.evolve(HONEST.transcript, openings=shown), verifies)
        assert {one.fault for one in found.faults} == {Fault.BAD_OPENING}


def resigned(change: Callable[[Step], Step]) -> Evidence:
    """With each step changed."""
    return changed(steps=tuple(change(step) for step in HONEST.transcript.steps))


def test_a_validator_cannot_answer_in_a_nodes_place() -> None:
    """Neither with a key of its own, nor as another node, nor by leaving steps out."""
    other = SimulatedNode(2)
    by_other = resigned(
        lambda step: attrs.evolve(step, answer=sign_commitment(other.key, step.answer.commitment))
    )
    assert "did not sign the answer of step 0" in refusal(by_other)
    steps = HONEST.transcript.steps
    assert "2 of 3 steps" in refusal(changed(steps=steps[:-1]))
    assert "does not follow" in refusal(changed(steps=(steps[0], steps[2], steps[1])))
    assert "peer key" in refusal(attrs.evolve(HONEST, binding=other.binding))
    theirs = attrs.evolve(HONEST.binding, node_id=other.node_id)
    assert "did not sign this binding" in refusal(attrs.evolve(HONEST, binding=theirs))


def test_a_validator_cannot_choose_what_is_opened() -> None:
    """Its secret was fixed before the node's first word, and the draw follows from both."""
    assert "secret" in refusal(changed(secret=Digest(bytes(32))))
    rows = HONEST.transcript.openings.rows
    fewer = attrs.evolve(HONEST.transcript, openings=Openings(rows[1:]))
    assert judge(fewer, verifies).faults == (ShownFault(Fault.BAD_OPENING, 3, 0),)


def test_times_are_the_validators_word_and_said_to_be() -> None:
    """Whoever reads `slow` has to trust the validator, or to compare it with others."""
    slow = tuple(attrs.evolve(step, elapsed_ms=60_001) for step in HONEST.transcript.steps)
    found = judge(attrs.evolve(HONEST.transcript, steps=slow), verifies)
    assert [one.fault for one in found.faults] == [
        Fault.SLOW_FILL, Fault.SLOW_PRODUCT, Fault.SLOW_MEMORY,
    ]  # fmt: skip
    assert not {one.fault for one in found.faults} & PROVEN


@pytest.mark.parametrize(
    "ended",
    [
        ShownFault(Fault.WRONG_PRODUCT, 3, 0),
        ShownFault(Fault.NO_ANSWER, 1),
        ShownFault(Fault.NO_ANSWER, 3, 0),
        ShownFault(Fault.SLOW_FILL, 3),
    ],
)
def test_a_challenge_ends_early_only_by_what_a_validator_can_see(ended: ShownFault) -> None:
    """What is to be proven cannot be said instead."""
    assert "no challenge ends" in refusal(changed(ended=ended))


def test_evidence_is_of_one_pool_and_by_the_validator_that_it_names() -> None:
    """Another account, or another pool, makes it nobody's."""
    with pytest.raises(BadSignature):
        verify_evidence(POOL, sign_evidence(ACCOUNT, HONEST))
    with pytest.raises(NotForUs):
        verify_evidence(attrs.evolve(POOL, pool_id=2), sign_evidence(VALIDATOR, HONEST))
    asked = HONEST.transcript.challenge
    check_challenge(asked, sign_challenge(VALIDATOR, asked))
    with pytest.raises(BadSignature):
        check_challenge(asked, sign_challenge(ACCOUNT, asked))


def test_a_document_has_one_form() -> None:
    """Whatever byte is another, it is no evidence, or not what the validator signed."""
    data = evidence_bytes(sign_evidence(VALIDATOR, HONEST))
    for at in range(0, len(data), len(data) // 37):
        wrong = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(P2poolError):
            verify_evidence(POOL, evidence_of(wrong))
    with pytest.raises(Malformed):
        evidence_of(b"\x80")
    with pytest.raises(TooNew):
        evidence_of(data.replace(b"p2pool validation\x01", b"p2pool validation\x02"))
