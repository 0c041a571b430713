"""A verdict is its evidence without the megabytes: signed once, checked by anybody, in one form."""

from typing import Any

import attrs
import pytest

from p2pool.codec.cbor.structs import encode_struct
from p2pool.codec.validation import (
    document_challenge,
    document_digest,
    evidence_bytes,
    evidence_digest,
)
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs
from p2pool.model.ids import NodeId
from p2pool.model.messages.verdicts import VerdictOffered, VerdictsAnnounced
from p2pool.model.validation.evidence import Conclusion
from p2pool.wire.validation.evidence import sign_evidence
from p2pool.wire.validation.verdict import VerdictCache, check_verdict, verdict_of
from tests.docs.generator.validation import PLAN
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge
from tests.wire.samples import NOW_MS, POOL
from tests.wire.validation.verdicts import address_of, sign, validator, verdict_by

NODE = SimulatedNode(1)
EVIDENCE = challenge(NODE, claims=[NODE.claim(PLAN)]).evidence[NODE.node_id]
SIGNED = sign_evidence(VALIDATOR, EVIDENCE)
DOCUMENT = evidence_bytes(SIGNED)


def test_who_signs_evidence_has_signed_its_verdict() -> None:
    """With all that it says, the digest that names the document among it."""
    said = verdict_of(SIGNED)
    check_verdict(POOL, said)
    assert said.verdict.validator == address_of(VALIDATOR)
    assert said.verdict.node_id == NODE.node_id
    assert said.verdict.conclusion is Conclusion.VALID
    assert said.verdict.evidence == evidence_digest(EVIDENCE) == document_digest(DOCUMENT)


@pytest.mark.parametrize(
    "part",
    [
        {"conclusion": Conclusion.INVALID},
        {"node_id": NodeId(bytes(20))},
        {"concluded_at_ms": NOW_MS + 1_000},
        {"evidence": bytes(32)},
        {"validator": address_of(validator(2))},
    ],
)
def test_no_word_of_it_can_be_changed(part: dict[str, Any]) -> None:
    """Then another account signed it, as far as anybody can tell."""
    said = verdict_of(SIGNED)
    with pytest.raises(BadSignature):
        check_verdict(POOL, attrs.evolve(said, verdict=attrs.evolve(said.verdict, **part)))


def test_a_verdict_has_one_form_and_one_pool() -> None:
    """What the signature does not cover cannot differ, or one verdict would be a thousand."""
    said = verdict_of(SIGNED)
    finer = attrs.evolve(said.verdict, concluded_at_ms=said.verdict.concluded_at_ms + 1)
    with pytest.raises(Malformed, match="whole second"):
        check_verdict(POOL, attrs.evolve(said, verdict=finer))
    with pytest.raises(NotForUs):
        check_verdict(attrs.evolve(POOL, pool_id=2), said)


def test_a_document_is_taken_by_its_hash_alone() -> None:
    """Any byte of it changes the digest, or it is no document; its challenge is read without the
    rest."""
    assert document_challenge(DOCUMENT) == EVIDENCE.transcript.challenge
    for at in (30, 200, len(DOCUMENT) // 2, len(DOCUMENT) - 80):
        wrong = DOCUMENT[:at] + bytes([DOCUMENT[at] ^ 1]) + DOCUMENT[at + 1 :]
        assert document_digest(wrong) != document_digest(DOCUMENT)
    for bad in (b"", DOCUMENT[1:], b"\x83" + DOCUMENT[1:40], b"{}"):
        with pytest.raises(Malformed):
            document_digest(bad)
    for cut in (40, 60, 300):
        with pytest.raises(Malformed):
            document_challenge(DOCUMENT[:cut])


def test_the_longest_verdict_fits_its_bound() -> None:
    """So a message of gossip holds as many as it may."""
    pool = attrs.evolve(POOL, chain_id=2**53, pool_id=2**63)
    at_ms = limits.LOG_NUMBER_MAX
    longest = verdict_by(
        validator(1), NODE.node_id, at_ms, pool=pool, conclusion=Conclusion.INCONCLUSIVE
    )
    assert len(encode_struct(longest)) <= limits.VERDICT_MAX_BYTES


def test_each_is_checked_once() -> None:
    """A forged one too."""
    good = verdict_by(validator(1), NODE.node_id)
    bad = sign(validator(2), good.verdict)
    cache = VerdictCache(POOL)
    message = VerdictsAnnounced((good, bad))
    assert cache.unknown_in(message) == 2
    assert [cache.is_good(one) for one in message.verdicts] == [True, False]
    assert cache.unknown_in(message) == 0
    assert cache.unknown_in(VerdictOffered(1, good)) == 0
