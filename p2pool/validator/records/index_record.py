"""The form of the index of findings: a line for each, as the journal of acts has them.

Invariant: a line is one of `journal.checked_lines`, so the same finding has the same bytes;
anything else is `Malformed`.
"""

import attrs

from p2pool.model.errors import Malformed
from p2pool.model.ids import DIGEST_BYTES, NodeId
from p2pool.validator.journal.checked_lines import (
    address_in,
    line_of,
    number_in,
    text_in,
    told_by,
)
from p2pool.validator.policy.findings import WHOLE_PPM, Finding, FindingKind


@attrs.frozen(kw_only=True)
class Record:
    """What was found, and why in a sentence. `document_bytes`: of the evidence, whose digest is the
    finding's id; 0: there is none, since the node was never challenged."""

    finding: Finding
    why: str = ""
    document_bytes: int = 0


def record_line(record: Record) -> bytes:
    """A record as a line."""
    found = record.finding
    return line_of(
        {
            "finding_id": found.finding_id.hex(),
            "validator": "0x" + found.validator.hex(),
            "provider": "0x" + found.provider.hex(),
            "node": "0x" + found.node_id.hex(),
            "kind": found.kind.value,
            "at_ms": found.at_ms,
            "shortfall_ppm": found.shortfall_ppm,
            "proven": found.proven,
            "why": record.why,
            "document_bytes": record.document_bytes,
        }
    )


def read_record(line: bytes) -> Record:
    """What `record_line` wrote; `Malformed` for anything else."""
    told = told_by(line)
    try:
        finding_id = bytes.fromhex(text_in(told["finding_id"]))
        if len(finding_id) != DIGEST_BYTES:
            raise ValueError("a finding's id is no digest")
        if type(told["proven"]) is not bool or number_in(told["shortfall_ppm"]) > WHOLE_PPM:
            raise ValueError("a finding is none")
        finding = Finding(
            finding_id=finding_id,
            validator=address_in(told["validator"]),
            provider=address_in(told["provider"]),
            node_id=NodeId(address_in(told["node"])),
            kind=FindingKind(told["kind"]),
            at_ms=number_in(told["at_ms"]),
            shortfall_ppm=told["shortfall_ppm"],
            proven=told["proven"],
        )
        return Record(
            finding=finding,
            why=text_in(told["why"]),
            document_bytes=number_in(told["document_bytes"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Malformed(f"{type(error).__name__}: {error}"[:200]) from error
