"""What other validators found: only what holds up counts, and nobody is believed."""

from typing import Any

import attrs
import pytest

from p2pool.codec.validation import evidence_bytes
from p2pool.drivers.chain.provider.facts import Reading
from p2pool.model import limits
from p2pool.model.ids import Address
from p2pool.model.validation.evidence import SignedEvidence
from p2pool.validator.policy.findings import FindingKind
from p2pool.validator.process import others as module
from p2pool.wire.validation.evidence import sign_evidence
from tests.validator.harness.nodes import VALIDATOR, Card, SimulatedNode, challenge
from tests.validator.process.told import PROVIDER, THEM, Told, node_of, others_of


@pytest.fixture(scope="module")
def documents() -> dict[str, SignedEvidence]:
    """Evidence on one honest node and on one that is slow."""
    honest = challenge(SimulatedNode(1)).evidence
    slow = challenge(SimulatedNode(1, cards=[Card(product_permille=200)])).evidence
    found = {"honest": honest, "slow": slow}
    return {name: sign_evidence(VALIDATOR, *one.values()) for name, one in found.items()}


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> dict[Address, Reading[bool]]:
    """Who holds the role; nobody else does."""
    held = {THEM: Reading.of(True)}

    async def holds(chain: object, account: Address, role: object, block: object) -> Reading[bool]:
        assert block == "finalized"
        return held.get(account, Reading[bool].absent())

    monkeypatch.setattr(module, "holds_role", holds)
    return held


async def test_a_verdict_counts_once_its_document_holds_up(
    documents: dict[str, SignedEvidence], roles: dict[Address, Reading[bool]]
) -> None:
    """It is a finding of its validator, and is fetched once."""
    agent = Told()
    agent.tells(documents["slow"])
    node_id, others = node_of(documents["slow"]), others_of(agent)
    assert await others.look({node_id: PROVIDER}) == {node_id}
    (finding,) = others.found.values()
    assert (finding.validator, finding.kind) == (THEM, FindingKind.LATE)
    assert finding.provider == PROVIDER
    assert await others.look({node_id: PROVIDER}) == set()
    assert agent.served == 1
    # Who is none of those that failed here is not asked about, and forgotten.
    assert await others.look({}) == set()
    assert others.found == {}
    # What was forgotten counts again, once the node fails again.
    assert await others.look({node_id: PROVIDER}) == {node_id}
    assert len(others.found) == 1


async def test_it_is_known_whether_others_were_heard(
    documents: dict[str, SignedEvidence],
    roles: dict[Address, Reading[bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An agent that is away, a chain that does not say, and a look that had no room for more, leave
    it unknown whether others contradict us; a document that nobody has does not."""
    node_id, agent = node_of(documents["slow"]), Told(silent=True)
    agent.tells(documents["slow"])
    others, nodes = others_of(agent), {node_id: PROVIDER}
    await others.look(nodes)
    assert others.heard == set()
    agent.silent = False
    roles[THEM] = Reading[bool].unknown("nobody answers")
    await others.look(nodes)
    assert others.heard == set()
    roles[THEM] = Reading.of(True)
    monkeypatch.setattr(limits, "VALIDATOR_OTHERS_PER_LOOK", 0)
    await others.look(nodes)
    assert others.heard == set()
    monkeypatch.undo()
    monkeypatch.setattr(module, "holds_role", _holds)
    kept, agent.documents = agent.documents, {}
    await others.look(nodes)
    assert others.heard == {node_id}
    agent.documents = kept
    assert await others.look(nodes) == {node_id}
    agent.silent = True
    await others.look(nodes)
    assert others.heard == set()


async def _holds(chain: object, account: Address, role: object, block: object) -> Reading[bool]:
    return Reading.of(True)


async def test_what_does_not_hold_up_counts_for_nothing(
    documents: dict[str, SignedEvidence], roles: dict[Address, Reading[bool]]
) -> None:
    """Another document, another signer, no document's bytes, an account without the role, our own,
    and a row that is none."""
    good, other = documents["slow"], documents["honest"]
    stranger = "0x" + "77" * 20
    cases: list[dict[str, Any]] = [
        {"data": evidence_bytes(other)},
        {"data": b"no evidence"},
        {"data": evidence_bytes(attrs.evolve(good, signature=bytes(65)))},
        {"validator": stranger},
        {"evidence": "no digest"},
        {"validator": None},
    ]
    node_id = node_of(good)
    for case in cases:
        agent = Told()
        agent.tells(good, **case)
        others = others_of(agent)
        assert await others.look({node_id: PROVIDER}) == set(), case
        assert others.found == {}
    agent = Told()
    agent.tells(good)
    assert await others_of(agent, me=THEM).look({node_id: PROVIDER}) == set()
    assert agent.served == 0


async def test_what_cannot_be_had_now_is_asked_for_again(
    documents: dict[str, SignedEvidence], roles: dict[Address, Reading[bool]]
) -> None:
    """An agent that is away, a document that no member has, a chain that does not say."""
    good = documents["slow"]
    node_id, agent = node_of(good), Told(silent=True)
    agent.tells(good)
    others = others_of(agent)
    nodes = {node_id: PROVIDER}
    assert await others.look(nodes) == set()
    agent.silent = False
    kept, agent.documents = agent.documents, {}
    assert await others.look(nodes) == set()
    agent.documents = kept
    roles[THEM] = Reading[bool].unknown("nobody answers")
    assert await others.look(nodes) == set()
    roles[THEM] = Reading.of(True)
    assert await others.look(nodes) == {node_id}


async def test_a_look_is_bounded(
    documents: dict[str, SignedEvidence],
    roles: dict[Address, Reading[bool]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many verdicts there are, few documents are checked at a time."""
    monkeypatch.setattr(limits, "VALIDATOR_OTHERS_PER_LOOK", 2)
    good, agent = documents["slow"], Told()
    agent.tells(good)
    first = agent.rows[0]
    agent.rows = [{**first, "evidence": bytes([n]).hex() * 32} for n in range(9)] + [first]
    agent.documents |= {row["evidence"]: b"nothing" for row in agent.rows[:-1]}
    others, nodes = others_of(agent), {node_of(good): PROVIDER}
    looks = 0
    while not await others.look(nodes):
        looks += 1
        assert agent.served == 2 * looks
    assert looks == 4
