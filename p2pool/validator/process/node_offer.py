"""Whether a node shows a validator all that it offers the pool.

Intuition: a challenge is about what the node tells the validator, so a node that has one card and
offers eight would tell of one. What it offers, members hear from it, and our agent tells us.

Invariants: what no agent tells now is unknown, and nothing follows; a GPU that is not well is not
offered. Whoever hears this finding has our agent's word alone, so it is never `proven`, and other
validators compare for themselves. Pure but for `Offered.of`.
Source: docs/validators.md, "What it does".
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import attrs
import trio

from p2pool.codec.json.hex import address_text
from p2pool.drivers.agent_log import get_logger
from p2pool.model.errors import P2poolError
from p2pool.model.ids import NodeId
from p2pool.model.messages.challenge import DeclineCode
from p2pool.model.validation.evidence import SignedEvidence
from p2pool.validator.challenge.outcome import Outcome
from p2pool.validator.policy.findings import WHOLE_PPM, Finding, FindingKind
from p2pool.validator.records.index_record import Record

log = get_logger(__name__)

DOMAIN = b"p2pool/offers-more/1\x00"


class TellsNodes(Protocol):
    """An agent's API, as `client.agent_client.AgentClient` speaks to it."""

    def node(self, text: str) -> dict[str, Any]:
        """One node, as `GET /v1/nodes/ID` answers."""
        ...


@attrs.frozen
class Offered:
    """One GPU that a node offers the pool."""

    uuid: str
    model: str
    memory_bytes: int

    @classmethod
    async def of(cls, agent: TellsNodes, node_id: NodeId) -> "tuple[Offered, ...] | None":
        """Those of a node that are well; None: nobody tells."""
        try:
            told = await trio.to_thread.run_sync(
                agent.node, address_text(node_id), abandon_on_cancel=True
            )
            return offered_in(told)
        except P2poolError as error:
            log.debug("no agent tells what a node offers", why=error.message)
        return None


def offered_in(told: Mapping[str, Any]) -> tuple[Offered, ...] | None:
    """The GPUs in an agent's answer; None: it has not heard what the node has."""
    try:
        hardware = told["node"]["hardware"]
        if hardware is None:
            return None
        return tuple(
            Offered(str(one["uuid"]), str(one["model"]), int(one["memory_bytes"]))
            for one in hardware["gpus"]
            if one["healthy"]
        )
    except (KeyError, TypeError, ValueError):
        return None


def shown_by(outcome: Outcome, signed: SignedEvidence | None) -> tuple[Offered, ...] | None:
    """The GPUs that a node told the validator of; None: it did not tell."""
    if signed is not None:
        works = signed.evidence.transcript.challenge.plan.devices
        return tuple(Offered(one.uuid, one.model, one.memory_bytes) for one in works)
    return () if outcome.code == DeclineCode.NO_GPUS else None


def missing_of(offered: Iterable[Offered], shown: Iterable[Offered]) -> tuple[Offered, ...]:
    """Those that are offered and were not shown as what they are offered as."""
    known = {one.uuid: one for one in shown}
    return tuple(
        one
        for one in offered
        if one.uuid not in known
        or known[one.uuid].model != one.model
        or known[one.uuid].memory_bytes < one.memory_bytes
    )


def offers_more(
    record: Record, offered: tuple[Offered, ...], shown: tuple[Offered, ...]
) -> Record | None:
    """The record of a node that offers more than it showed, beside the one of its challenge; None:
    it does not."""
    missing = missing_of(offered, shown)
    if not missing:
        return None
    found = record.finding
    return Record(
        finding=Finding(
            finding_id=hashlib.sha256(DOMAIN + found.finding_id).digest(),
            validator=found.validator,
            provider=found.provider,
            node_id=found.node_id,
            kind=FindingKind.FEWER_DEVICES,
            at_ms=found.at_ms,
            shortfall_ppm=WHOLE_PPM * len(missing) // len(offered),
        ),
        why=f"of {len(offered)} GPUs that it offers the pool it did not show {len(missing)}:"
        f" {missing[0].uuid}, {missing[0].model}",
    )
