"""Who leads is proven from the chain and signatures alone; what breaks the walk is said."""

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.digests import committee_hash
from p2pool.codec.json.proofs import (
    OneAppend,
    TwoMessages,
    evidence_json,
    proof_json,
    read_evidence,
    read_proof,
)
from p2pool.model import limits
from p2pool.model.errors import BadSignature, Malformed, NotForUs, P2poolError, Refusal, Unavailable
from p2pool.model.log.certificates import BadAppend, CommitteeChain, LeaderProof
from p2pool.wire.leader_verification import LeaderVerdict, verify_leader
from tests.wire.committee import FOUNDING, A, B, C, D, change, lies, proven, vote, voters
from tests.wire.samples import NOW_MS, POOL

PROOF = proven()
LIES = lies()


def check(proof: LeaderProof = PROOF, wall_ms: int = NOW_MS + 5_000) -> LeaderVerdict:
    return verify_leader(POOL, FOUNDING, proof, wall_ms)


def with_links(*changed: object) -> LeaderProof:
    return attrs.evolve(PROOF, chain=attrs.evolve(PROOF.chain, links=tuple(changed)))  # type: ignore[arg-type]


def test_a_good_proof_says_what_it_proves_and_what_not() -> None:
    """In sentences that a person can read."""
    found = check()
    assert found.certificate.leader == A.voter
    assert found.voters == voters((A, B, C))
    assert found.votes == 2
    text = " ".join(found.sentences)
    for said in (
        "root record of epoch 1",
        "changed 2 times",
        "2 of the 3 voters",
        "5 s ago",
        "2 of the votes",
        "does not prove",
        "crash-fault",
    ):
        assert said in text


def test_a_founder_alone_needs_no_links() -> None:
    """Its own signature is the quorum."""
    from tests.wire.committee import word

    sealed = A.seal(attrs.evolve(word(A, (A,)), log_id=PROOF.log_id))
    alone = attrs.evolve(
        PROOF, chain=CommitteeChain(1, voters([A])), certificate=(sealed,), votes=()
    )
    assert "have not changed" in " ".join(check(alone).sentences)


def test_a_log_that_the_chain_did_not_found_is_refused() -> None:
    """Whoever signed it: another epoch, another founder, another store."""
    for root in (
        attrs.evolve(FOUNDING, epoch=2),
        attrs.evolve(FOUNDING, founder=B.voter.node_id),
        attrs.evolve(FOUNDING, store_id=B.voter.store_id),
    ):
        with pytest.raises(NotForUs):
            verify_leader(POOL, root, PROOF, NOW_MS)
    foreign = attrs.evolve(PROOF.chain, base=voters([D]))
    with pytest.raises(NotForUs, match="does not begin with the founder"):
        check(attrs.evolve(PROOF, chain=foreign))


def test_a_link_without_a_quorum_breaks_the_walk_and_is_told() -> None:
    """With who did not sign, and how to go on if one knows better."""
    first, second = PROOF.chain.links
    lacking = attrs.evolve(second, signatures=second.signatures[:1], given_up=True)
    broken = with_links(first, lacking)
    with pytest.raises(BadSignature, match=r"Change 2 .* is uncertified: 1 of 2") as raised:
        check(broken)
    hash_of_three = committee_hash(voters((A, B, C)))
    assert B.voter.node_id.hex() in raised.value.message
    assert hash_of_three.hex() in raised.value.message
    found = verify_leader(POOL, FOUNDING, broken, NOW_MS, hash_of_three)
    assert "you name it" in " ".join(found.sentences)
    with pytest.raises(NotForUs):
        verify_leader(POOL, FOUNDING, broken, NOW_MS, committee_hash(voters((A, D))))


def test_links_in_another_order_or_left_out_are_refused() -> None:
    """Each is over the voters before it."""
    first, second = PROOF.chain.links
    for links in ((second, first), (second,), (first,), (first, first, second)):
        with pytest.raises(Refusal):
            check(with_links(*links))


def test_a_made_up_link_is_refused() -> None:
    """Voters whom nobody before them has signed."""
    first, second = PROOF.chain.links
    said = attrs.evolve(change(D, (A, B), (C, D), second.index), log_id=PROOF.log_id)
    with pytest.raises(Refusal):
        check(
            with_links(
                first,
                attrs.evolve(
                    second, voters=voters((C, D)), signatures=(D.seal(said), D.seal(said))
                ),
            )
        )


def test_dropped_links_need_a_committee_that_is_trusted() -> None:
    """There is no way back to the root any more."""
    first, second = PROOF.chain.links
    cut = attrs.evolve(PROOF, chain=CommitteeChain(1, first.voters, (second,), 1))
    with pytest.raises(BadSignature, match="no longer keeps"):
        check(cut)
    verify_leader(POOL, FOUNDING, cut, NOW_MS, committee_hash(first.voters))


def test_too_old_or_without_a_certificate_may_be_asked_again() -> None:
    """That is no refusal: exit code 5."""
    with pytest.raises(Unavailable, match="no leader certificate"):
        check(attrs.evolve(PROOF, certificate=(), votes=()))
    old_ms = NOW_MS + limits.CERTIFICATE_LIFETIME_MS + limits.CLOCK_SKEW_MAX_MS + 1
    with pytest.raises(Unavailable, match="old"):
        check(wall_ms=old_ms)


def test_bad_votes_are_told_and_do_not_matter() -> None:
    """The certificate is the proof; the votes are more than is needed."""
    wrong = D.seal(attrs.evolve(vote(D, A), log_id=PROOF.log_id))
    found = check(attrs.evolve(PROOF, votes=(*PROOF.votes, wrong)))
    assert found.votes == 0
    assert "are not shown" in " ".join(found.sentences)


# --- the form -------------------------------------------------------------------------------------


def test_a_proof_survives_json() -> None:
    """What the API says is what the command checks."""
    assert read_proof(json.loads(json.dumps(proof_json(PROOF)))) == PROOF


@given(data=st.data())
def test_no_change_of_a_byte_is_still_a_proof_of_something_else(data: st.DataObject) -> None:
    """Any one hex digit of the answer changed: refused, or the same leader of the same term."""
    text = json.dumps(proof_json(PROOF))
    digits = [i for i, one in enumerate(text) if one in "0123456789abcdef"]
    at = data.draw(st.sampled_from(digits))
    other = data.draw(st.sampled_from("0123456789abcdef"))
    try:
        value = json.loads(text[:at] + other + text[at + 1 :])
    except ValueError:
        return
    try:
        found = check(read_proof(value))
    except P2poolError:
        return
    assert (found.certificate.leader, found.certificate.term) == (A.voter, 5)


@pytest.mark.parametrize("value", [None, [], "x", {}, {"log_id": "00"}, {"log_id": 5}])
def test_what_is_no_proof_is_refused(value: object) -> None:
    """Nothing that an agent can say raises anything but a refusal."""
    with pytest.raises(Malformed):
        read_proof(value)
    with pytest.raises(Malformed):
        read_evidence(value)


@pytest.mark.parametrize("kind", LIES)
def test_evidence_survives_json(kind: str) -> None:
    """With the pool that it is of, and all that it takes to check it."""
    proof = LIES[kind]
    read = read_evidence(json.loads(json.dumps(evidence_json(POOL, proof))))
    if isinstance(proof, BadAppend):
        assert read == OneAppend(POOL, proof.frame, proof.word, proof.committee)
    else:
        assert read == TwoMessages(POOL, proof.first, proof.second)


@pytest.mark.parametrize(
    "changed",
    [{"append": "0"}, {"append": None}, {"append": "00" * 13_000}, {"word": 5}, {"committee": {}},
     {"committee": [{}]}, {"committee": [{"node_id": "0x00"}] * 99}],
)  # fmt: skip
def test_an_append_that_is_no_proof_is_refused(changed: dict[str, object]) -> None:
    """Whatever stands in its fields."""
    value = evidence_json(POOL, LIES["takeover"])
    with pytest.raises(Malformed):
        read_evidence(value | changed)
