"""An agent that tells of other validators' verdicts, and a validator that asks it."""

from collections.abc import Iterator
from typing import Any

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_bytes, evidence_digest
from p2pool.model.errors import NotFound, Unavailable
from p2pool.model.ids import Address, NodeId
from p2pool.model.validation.evidence import SignedEvidence
from p2pool.validator.process.others import Others
from tests.validator.harness.nodes import VALIDATOR
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

    def node(self, text: str) -> dict[str, Any]:
        """It has not heard what anybody offers."""
        return {"node": {"hardware": None}}

    def validation(self, digest: str) -> Iterator[bytes]:
        """As an agent answers."""
        self.served += 1
        if digest not in self.documents:
            raise NotFound("No member has it.")
        data = self.documents[digest]
        yield data[:1000]
        yield data[1000:]


def others_of(agent: Told, me: Address = ME) -> Others:
    """Of a validator that asks it."""
    return Others(agent, None, POOL, me)  # type: ignore[arg-type]


def node_of(signed: SignedEvidence) -> NodeId:
    """Whose it is."""
    return signed.evidence.transcript.challenge.node_id
