"""Each way to claim what is not there, and by what it is found."""

import attrs
import pytest

from p2pool.model.errors import NotForUs
from p2pool.model.ids import Digest
from p2pool.model.validation.evidence import PROVEN, Conclusion, Evidence, Fault
from p2pool.model.validation.transcript import Openings, SignedCommitment
from p2pool.proofs.validation.seeds import check_addressed
from p2pool.validator.challenge import rounds
from p2pool.validator.challenge.plan import plan_for, relay_slack_ms
from p2pool.wire.validation.evidence import sign_commitment
from tests.validator.harness.nodes import (
    SIZES,
    TABLE,
    Card,
    SimulatedNode,
    challenge,
    claims_of,
)
from tests.validator.harness.provers import FakesRows, Forgetful, Precomputed
from tests.wire.samples import POOL

PLAN = plan_for(claims_of(), TABLE, SIZES)


def faults(evidence: Evidence) -> set[Fault]:
    """What was found."""
    return {one.fault for one in evidence.faults}


def test_precomputation_is_found_by_the_rows() -> None:
    """A round's matrices need its nonce: what was computed before is another product."""
    node = SimulatedNode(1, prover=Precomputed())
    evidence = challenge(node).evidence[node.node_id]
    assert evidence.conclusion is Conclusion.INVALID
    assert faults(evidence) == {Fault.WRONG_PRODUCT}
    assert faults(evidence) <= PROVEN


def test_rows_made_up_are_found() -> None:
    """Every fifth row is wrong: of 24 opened, one is among them but once in two hundred times."""
    node = SimulatedNode(1, prover=FakesRows(nth=5))
    evidence = challenge(node).evidence[node.node_id]
    assert faults(evidence) == {Fault.WRONG_PRODUCT}


def test_one_card_shown_eight_times_is_too_slow() -> None:
    """All devices are asked at once, so one card has eight times the work."""
    node = SimulatedNode(1, claims=claims_of(8), cards=[Card(1000, 1000)])
    evidence = challenge(node).evidence[node.node_id]
    assert evidence.conclusion is Conclusion.INVALID
    assert Fault.SLOW_PRODUCT in faults(evidence)
    honest = SimulatedNode(2, claims=claims_of(8), cards=[Card() for _ in range(8)])
    assert challenge(honest).evidence[honest.node_id].conclusion is Conclusion.VALID


def test_one_fast_card_shown_eight_times_lacks_the_memory() -> None:
    """A card ten times as fast as it claims still holds an eighth of what eight hold."""
    node = SimulatedNode(1, claims=claims_of(8), cards=[Card(10_000, 10_000)])
    evidence = challenge(node).evidence[node.node_id]
    assert evidence.conclusion is Conclusion.INVALID
    assert Fault.SLOW_PRODUCT not in faults(evidence)
    assert {PLAN.is_scan(one.step) for one in evidence.faults} == {True}


@pytest.mark.parametrize("held_permille", [500, 800, 900])
def test_smaller_memory_is_found_by_time(held_permille: int) -> None:
    """What is not held is derived anew in each pass, and that takes longer than a round."""
    card = Card(memory_bytes=16_384 * held_permille // 1000)
    node = SimulatedNode(1, cards=[card])
    evidence = challenge(node).evidence[node.node_id]
    assert evidence.conclusion is Conclusion.INVALID
    assert {PLAN.is_scan(one.step) for one in evidence.faults} == {True}


def test_memory_made_up_is_found_by_its_blocks() -> None:
    """Who answers in time with fingerprints of nothing signs what is wrong."""
    node = SimulatedNode(1, prover=Forgetful(held_permille=700))
    evidence = challenge(node).evidence[node.node_id]
    assert faults(evidence) == {Fault.WRONG_MEMORY}
    assert faults(evidence) <= PROVEN


def test_two_nodes_of_a_provider_with_one_card_are_found_when_asked_at_once() -> None:
    """One after the other both would pass; together, no more pass than there are cards."""
    card = Card(700, 1000)
    nodes = [SimulatedNode(1, cards=[card]), SimulatedNode(2, cards=[card])]
    one_by_one = [challenge(node).evidence[node.node_id] for node in nodes]
    assert {one.conclusion for one in one_by_one} == {Conclusion.VALID}
    card.free_ms = 0
    at_once = [one.conclusion for one in challenge(*nodes).evidence.values()]
    assert sorted(at_once) == [Conclusion.INVALID, Conclusion.VALID]


def test_an_answer_of_an_earlier_challenge_is_refused() -> None:
    """Its commitment names another challenge, which had other nonces."""
    kept: list[rounds.Input] = []

    def keep(said: rounds.Input) -> rounds.Input:
        if isinstance(said, rounds.Committed):
            kept.append(said)
        return said

    node = SimulatedNode(1)
    assert challenge(node, tap=keep).evidence[node.node_id].conclusion is Conclusion.VALID
    again = iter(kept)
    done = challenge(
        node,
        entropy=bytes([6]) * 32,
        tap=lambda said: next(again) if isinstance(said, rounds.Committed) else said,
    )
    evidence = done.evidence[node.node_id]
    assert faults(evidence) == {Fault.BAD_ANSWER}
    assert "another challenge" in done.ended[node.node_id].reason


def test_an_answer_to_an_earlier_question_is_refused() -> None:
    """Within a challenge too each commitment names its step and the one before it."""
    node = SimulatedNode(1)
    first: list[SignedCommitment] = []

    def repeat(signed: SignedCommitment) -> SignedCommitment:
        first.append(signed)
        return first[0]

    node.change = repeat
    done = challenge(node)
    assert faults(done.evidence[node.node_id]) == {Fault.BAD_ANSWER}
    assert "does not follow" in done.ended[node.node_id].reason


def test_an_answer_to_a_question_that_was_not_asked_is_refused() -> None:
    """A nonce of the node's own choice, with a good signature, is no answer."""
    node = SimulatedNode(1)

    def chosen(signed: SignedCommitment) -> SignedCommitment:
        changed = attrs.evolve(signed.commitment, nonce=Digest(bytes(32)))
        return sign_commitment(node.key, changed)

    node.change = chosen
    done = challenge(node)
    assert faults(done.evidence[node.node_id]) == {Fault.BAD_ANSWER}
    assert "another question" in done.ended[node.node_id].reason


def test_answers_of_another_peer_key_are_refused() -> None:
    """A second machine of the provider cannot sign for the first."""
    node, other = SimulatedNode(1), SimulatedNode(2)
    node.change = lambda signed: sign_commitment(other.key, signed.commitment)
    done = challenge(node)
    assert faults(done.evidence[node.node_id]) == {Fault.BAD_ANSWER}
    assert "did not sign" in done.ended[node.node_id].reason


def test_a_channel_of_another_peer_key_is_no_channel() -> None:
    """The challenge is for the key that the node is bound to, whoever answers the call."""
    node, other = SimulatedNode(1), SimulatedNode(2)

    def swap(said: rounds.Input) -> rounds.Input:
        if isinstance(said, rounds.ChannelOpened):
            return attrs.evolve(said, peer_key=other.peer_key)
        return said

    done = challenge(node, tap=swap)
    assert done.ended[node.node_id].transcript is None
    assert "Another peer key" in done.ended[node.node_id].reason


def test_an_honest_agent_computes_for_nobody_else() -> None:
    """It takes a challenge only to itself, on the connection that it drew a nonce for."""
    node, other = SimulatedNode(1), SimulatedNode(2)
    asked = challenge(node).challenges[node.node_id]
    nonce = asked.node_nonce
    check_addressed(asked, POOL, node.node_id, node.peer_key, nonce)
    for pool, node_id, key, drawn in (
        (attrs.evolve(POOL, pool_id=POOL.pool_id + 1), node.node_id, node.peer_key, nonce),
        (POOL, other.node_id, node.peer_key, nonce),
        (POOL, node.node_id, other.peer_key, nonce),
        (POOL, node.node_id, node.peer_key, Digest(bytes(32))),
    ):
        with pytest.raises(NotForUs):
            check_addressed(asked, pool, node_id, key, drawn)


def test_a_relay_may_add_what_the_plan_says_and_no_more() -> None:
    """Whoever relays to a card that does all of its data sheet passes, up to a latency that is
    known: this is the limit of what times can show."""
    slack_ms = relay_slack_ms(PLAN, TABLE)
    near = SimulatedNode(1, cards=[Card(1000, 1000)], latency_ms=slack_ms - 10)
    assert challenge(near).evidence[near.node_id].conclusion is Conclusion.VALID
    far = SimulatedNode(2, cards=[Card(1000, 1000)], latency_ms=slack_ms + 10)
    assert faults(challenge(far).evidence[far.node_id]) == {Fault.SLOW_MEMORY}


def test_openings_that_were_not_drawn_are_no_openings() -> None:
    """A node does not choose what it shows, and leaves nothing out."""
    node = SimulatedNode(1)

    def leave_out(said: rounds.Input) -> rounds.Input:
        if isinstance(said, rounds.Opened):
            return rounds.Opened(said.node_id, Openings(said.openings.rows[1:]))
        return said

    evidence = challenge(node, tap=leave_out).evidence[node.node_id]
    assert faults(evidence) == {Fault.BAD_OPENING}
    assert not faults(evidence) & PROVEN
