"""The rounds go in order, end for each node by itself, and wait for nobody without an end."""

import attrs
import pytest

from p2pool.model.errors import NotAllowed, NotFound
from p2pool.model.validation.evidence import Conclusion, Fault, ShownFault
from p2pool.proofs.validation.answers import check_claims, positions_in
from p2pool.validator.challenge import rounds
from p2pool.validator.challenge.plan import plan_for
from tests.validator.harness.nodes import (
    SIZES,
    TABLE,
    Challenged,
    SimulatedNode,
    challenge,
    claims_of,
)


def kinds(done: Challenged, node: SimulatedNode) -> list[str]:
    """What was sent to a node, by name, in order."""
    return [type(e).__name__ for _, e in done.sent if e.node_id == node.node_id]


def test_the_secret_leaves_after_the_last_root() -> None:
    """A node that knew it before could choose what is opened."""
    node = SimulatedNode(1)
    assert kinds(challenge(node), node) == [
        "OpenChannel", "SendChallenge", "Ask", "Ask", "Ask", "Ask", "Reveal", "Ended",
    ]  # fmt: skip


def test_all_nodes_are_asked_in_the_same_moment() -> None:
    """The next question waits for the slowest answer, so nobody has time for two."""
    nodes = [SimulatedNode(1, latency_ms=10), SimulatedNode(2, latency_ms=190)]
    done = challenge(*nodes)
    asked: dict[int, set[int]] = {}
    for at_ms, effect in done.sent:
        if isinstance(effect, rounds.Ask):
            asked.setdefault(effect.question.step, set()).add(at_ms)
    assert sorted(asked) == [1, 2, 3, 4]
    assert all(len(times) == 1 for times in asked.values())


def test_no_two_questions_have_a_nonce_in_common() -> None:
    """Neither of two nodes, nor of two rounds, nor of two challenges."""
    nodes = [SimulatedNode(1), SimulatedNode(2)]
    first, second = challenge(*nodes), challenge(*nodes, entropy=bytes([7]) * 32)
    nonces = [
        effect.question.nonce
        for _, effect in (*first.sent, *second.sent)
        if isinstance(effect, rounds.Ask)
    ]
    assert len(set(nonces)) == len(nonces) == 16


@pytest.mark.parametrize("lost_at", range(5))
def test_who_falls_silent_is_given_up_and_the_others_go_on(lost_at: int) -> None:
    """A lost answer ends one node's challenge, with what it showed until then."""
    silent, other = SimulatedNode(1), SimulatedNode(2)
    count = 0

    def lose(said: rounds.Input) -> rounds.Input | None:
        nonlocal count
        if isinstance(said, rounds.Committed) and said.node_id == silent.node_id:
            count += 1
            return None if count > lost_at else said
        return said

    done = challenge(silent, other, tap=lose)
    evidence = done.evidence[silent.node_id]
    assert evidence.faults[-1] == ShownFault(Fault.NO_ANSWER, lost_at)
    assert len(evidence.transcript.steps) == lost_at
    assert done.evidence[other.node_id].conclusion is Conclusion.VALID


def test_who_never_opens_a_channel_was_never_challenged() -> None:
    """There is no evidence against a node that is offline, only the validator's word."""
    silent, other = SimulatedNode(1), SimulatedNode(2)
    opened = rounds.ChannelOpened

    def lose(said: rounds.Input) -> rounds.Input | None:
        gone = isinstance(said, opened) and said.node_id == silent.node_id
        return None if gone else said

    done = challenge(silent, other, tap=lose)
    assert done.ended[silent.node_id].transcript is None
    assert done.evidence[other.node_id].conclusion is Conclusion.VALID


def test_a_node_that_declines_is_not_blamed() -> None:
    """Leased GPUs are never challenged: that says nothing of the claim."""
    node = SimulatedNode(1)

    def decline(said: rounds.Input) -> rounds.Input:
        return rounds.Declined(said.node_id) if isinstance(said, rounds.Committed) else said

    evidence = challenge(node, tap=decline).evidence[node.node_id]
    assert evidence.conclusion is Conclusion.INCONCLUSIVE
    assert evidence.faults == (ShownFault(Fault.DECLINED, 0),)


def test_a_plan_asks_no_more_than_is_claimed() -> None:
    """A node refuses a plan for GPUs, or memory, that it does not have: nobody wears it out."""
    claims = claims_of(2)
    plan = plan_for(claims, TABLE, SIZES)
    check_claims(plan, claims)
    for gpus in (claims[:1], claims_of(2, memory_bytes=1024)):
        with pytest.raises(NotAllowed):
            check_claims(plan, gpus)
    twice = attrs.evolve(plan, devices=(plan.devices[0], plan.devices[0]))
    with pytest.raises(NotAllowed):
        check_claims(twice, claims)


def test_devices_are_found_by_their_uuid() -> None:
    """The prover may list them in another order than the node claims them."""
    plan = plan_for(claims_of(2), TABLE, SIZES)
    assert positions_in(plan, ["GPU-1", "other", "GPU-0"]) == (2, 0)
    with pytest.raises(NotFound, match="GPU-1"):
        positions_in(plan, ["GPU-0"])
