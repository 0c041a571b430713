"""What a node offers the pool, compared with what it shows: no GPU is left out unseen."""

from typing import Any

import attrs
import pytest

from p2pool.model.errors import Unavailable
from p2pool.model.ids import Address, NodeId
from p2pool.model.messages.challenge import DeclineCode
from p2pool.validator.challenge.outcome import Outcome, Unchallenged
from p2pool.validator.policy.findings import WHOLE_PPM, FindingKind
from p2pool.validator.process.challenges import record_of
from p2pool.validator.process.node_offer import Offered, offered_in, offers_more, shown_by
from p2pool.wire.validation.evidence import sign_evidence
from tests.validator.harness.nodes import VALIDATOR, SimulatedNode, challenge, claims_of

PROVIDER = Address(b"\x33" * 20)
NODE = NodeId(b"\x44" * 20)


def told(*gpus: dict[str, Any]) -> dict[str, Any]:
    """As an agent answers."""
    return {"node": {"hardware": {"gpus": list(gpus)}}}


def gpu(number: int, **changes: Any) -> dict[str, Any]:
    """A GPU in an agent's answer."""
    made = attrs.asdict(claims_of(number + 1)[number])
    return {**made, **changes}


def test_a_node_that_offers_more_than_it_shows_is_found() -> None:
    """It passes with the one card that it has, and offers four; three quarters are missing."""
    signed = sign_evidence(VALIDATOR, challenge(SimulatedNode(1)).evidence.popitem()[1])
    record = record_of(signed, PROVIDER)
    assert record.finding.kind is FindingKind.PASSED
    shown = shown_by(Outcome(NODE), signed)
    assert shown is not None
    offered = offered_in(told(*(gpu(number) for number in range(4))))
    assert offered is not None
    more = offers_more(record, offered, shown)
    assert more is not None
    assert (more.finding.kind, more.finding.proven) == (FindingKind.FEWER_DEVICES, False)
    assert more.finding.shortfall_ppm == WHOLE_PPM * 3 // 4
    assert more.finding.finding_id != record.finding.finding_id
    assert offers_more(record, offered[:1], shown) is None


@pytest.mark.parametrize("change", [{"memory_bytes": 2 * 16_384}, {"model": "Better card"}])
def test_a_card_is_shown_as_what_it_is_offered_as(change: dict[str, Any]) -> None:
    """The same card with more memory, or of another model, is another offer."""
    signed = sign_evidence(VALIDATOR, challenge(SimulatedNode(1)).evidence.popitem()[1])
    shown, offered = shown_by(Outcome(NODE), signed), offered_in(told(gpu(0, **change)))
    assert shown is not None
    assert offered is not None
    assert offers_more(record_of(signed, PROVIDER), offered, shown) is not None


def test_what_nobody_tells_is_unknown() -> None:
    """A node that was not heard, an answer of another form, a decline that says nothing of GPUs; a
    GPU that is not well is not offered, and `no_gpus` says that there is none."""
    answers: list[dict[str, Any]] = [
        {},
        {"node": {"hardware": None}},
        {"node": {"hardware": {"gpus": [{}]}}},
    ]
    for answer in answers:
        assert offered_in(answer) is None
    assert offered_in(told(gpu(0, healthy=False))) == ()
    declined = Outcome(NODE, Unchallenged.DECLINED, code=DeclineCode.LEASED)
    assert shown_by(declined, None) is None
    assert shown_by(attrs.evolve(declined, code=DeclineCode.NO_GPUS), None) == ()


async def test_an_agent_that_is_away_says_nothing_of_a_node() -> None:
    """Nothing follows from that."""

    class Away:
        """An agent that does not answer."""

        def node(self, text: str) -> dict[str, Any]:
            raise Unavailable("Nobody is here.")

    assert await Offered.of(Away(), NODE) is None
