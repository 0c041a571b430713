"""What other validators found: only what holds up counts, and nobody is believed."""

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_bytes, evidence_digest
from p2pool.drivers.chain.provider.facts import Reading
from p2pool.model import limits
from p2pool.model.errors import NotFound, Unavailable
from p2pool.model.ids import Address, NodeId
from p2pool.model.validation.evidence import SignedEvidence
from p2pool.validator.policy.findings import FindingKind
from p2pool.validator.process import others as module
from p2pool.validator.process.others import Others
from p2pool.wire.validation.evidence import sign_evidence
from tests.validator.harness.nodes import VALIDATOR, Card, SimulatedNode, challenge
from tests.wire.samples import POOL

ME = Address(b"\x01" * 20)
THEM = Address(bytes.fromhex(VALIDATOR.address[2:]))
PROVIDER = Address(b"\x33" * 20)


@attrs.define
class Told:
    """An agent that tells of these documents; `silent`: it does not answer."""

    documents: dict[str, bytes] = attrs.field(factory=dict)
    rows: list[dict[str, Any]] = attrs.field(factory=list)
    silent: bool = False
    served: int = 0

    def tells(self, signed: SignedEvidence, data: bytes | None = None, **changes: Any) -> None:
        """Have it tell of a verdict, with its document or other bytes."""
        challenged = signed.evidence.transcript.challenge
        digest = evidence_digest(signed.evidence).hex()
        row = {
            "node_id": address_text(challenged.node_id),
            "validator": address_text(challenged.validator),
            "evidence": digest,
        }
        self.rows.append({**row, **changes})
        self.documents[digest] = evidence_bytes(signed) if data is None else data

    def validations(self, node_id: str | None = None) -> list[dict[str, Any]]:
        """As an agent answers."""
        if self.silent:
            raise Unavailable("Nobody is here.")
        return [one for one in self.rows if one["node_id"] == node_id]

    def validation(self, digest: str) -> Iterator[bytes]:
        """As an agent answers."""
        self.served += 1
        if digest not in self.documents:
            raise NotFound("No member has it.")
        data = self.documents[digest]
        yield data[:1000]
        yield data[1000:]


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


def others_of(agent: Told, me: Address = ME) -> Others:
    """Of a validator that asks it."""
    return Others(agent, None, POOL, me)  # type: ignore[arg-type]


def node_of(signed: SignedEvidence) -> NodeId:
    """Whose it is."""
    return signed.evidence.transcript.challenge.node_id


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
