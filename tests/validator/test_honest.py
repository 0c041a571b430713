"""Nodes that do what they claim pass, every time, whatever their speed is within the tolerance."""

import random

from p2pool.model.validation.evidence import Conclusion
from p2pool.proofs.validation.bounds import shown
from tests.validator.harness.nodes import Card, SimulatedNode, challenge, claims_of

CHALLENGES = 100


def test_the_honest_pass_a_hundred_times_of_a_hundred() -> None:
    """Cards from a bit above the tolerance to the full data sheet, near and far, drawn anew each
    time."""
    rng = random.Random(1)
    for number in range(CHALLENGES):
        card = Card(rng.randint(450, 1000), rng.randint(650, 1000))
        node = SimulatedNode(1, cards=[card], latency_ms=rng.randint(1, 150))
        done = challenge(node, entropy=number.to_bytes(32, "big"))
        evidence = done.evidence[node.node_id]
        assert evidence.conclusion is Conclusion.VALID, (number, evidence.faults)


def test_what_is_shown_is_never_more_than_the_card_does() -> None:
    """Bounds are from below: the network's time counts against the node."""
    node = SimulatedNode(1, cards=[Card(500, 700)])
    (bound,) = shown(challenge(node).evidence[node.node_id].transcript)
    assert 0.9 * 2_560 < bound.int8_ops_per_s <= 2_560
    assert 0.9 * 5_734 < bound.memory_bytes_per_s <= 5_734
    assert bound.memory_bytes == 4_096


def test_all_cards_of_a_node_pass_at_once() -> None:
    """Two claimed, two there: both work in the same time."""
    node = SimulatedNode(1, claims=claims_of(2), cards=[Card(), Card()])
    done = challenge(node).evidence[node.node_id]
    assert done.conclusion is Conclusion.VALID
    assert {one.device for one in done.transcript.openings.rows} == {0, 1}


def test_all_nodes_of_a_provider_pass_at_once() -> None:
    """Each has a card of its own."""
    nodes = [SimulatedNode(number) for number in (1, 2, 3)]
    done = challenge(*nodes)
    assert {one.conclusion for one in done.evidence.values()} == {Conclusion.VALID}
    assert len(done.evidence) == 3
