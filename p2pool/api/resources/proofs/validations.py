"""What validators say of the nodes, and the evidence behind it, which anybody can check."""

from collections.abc import AsyncGenerator
from typing import cast

import attrs
from litestar import get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from p2pool.api.http import frames
from p2pool.api.http.streams import StreamAnswer, Streams
from p2pool.api.resources.context import Meta, meta_of, port_of
from p2pool.api.resources.pages import cut
from p2pool.api.resources.parameters import (
    AfterValidation,
    ByValidator,
    EvidenceText,
    Framed,
    Limit,
    OnNode,
    WithConclusion,
)
from p2pool.codec.json.hex import address_text, unhex
from p2pool.model import limits
from p2pool.model.errors import Malformed, NotFound
from p2pool.model.ids import ADDRESS_BYTES, DIGEST_BYTES, Address, Digest, NodeId
from p2pool.model.ports.evidence import EvidenceKeeper, VerdictView

DOCUMENT = "application/vnd.p2pool.evidence+cbor"
PIECE_BYTES = 64 * 1024

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Validation:
    """The newest verdict of one validator on one node, as the validator signed it: `signature` is
    over pool, node, conclusion, time and the digest in `evidence`.

    `confirmed`: whether the chain has said since this agent's start that the account holds the
    validators' role; `evidence_here`: whether this agent keeps the evidence, which it otherwise
    asks members for; `contradicted_by`: other evidence by that validator on the same challenge.
    """

    node_id: str
    validator: str
    conclusion: str
    concluded_at_ms: int
    evidence: str
    signature: str
    confirmed: bool
    evidence_here: bool
    contradicted_by: str | None


@attrs.frozen
class ValidationsAnswer:
    """Answer of `/v1/validations`, by node and validator. `next`: the place behind which the next
    page begins, null for the last."""

    meta: Meta
    validations: tuple[Validation, ...]
    next: str | None


# --- from a view to answers ---------------------------------------------------------------------


def _validation(seen: VerdictView, keeper: EvidenceKeeper) -> Validation:
    verdict = seen.signed.verdict
    other = keeper.contradicts(verdict.evidence)
    return Validation(
        node_id=address_text(verdict.node_id),
        validator=address_text(verdict.validator),
        conclusion=verdict.conclusion.value,
        concluded_at_ms=verdict.concluded_at_ms,
        evidence=verdict.evidence.hex(),
        signature=seen.signed.signature.hex(),
        confirmed=seen.confirmed,
        evidence_here=keeper.is_here(verdict.evidence),
        contradicted_by=None if other is None else other.hex(),
    )


def _place_text(seen: VerdictView) -> str:
    node_id, validator = seen.place
    return f"{address_text(node_id)}-{address_text(validator)}"


def _place(text: str) -> tuple[NodeId, Address] | None:
    if not text:
        return None
    node_id, validator = (bytes.fromhex(part[2:]) for part in text.split("-"))
    return NodeId(node_id), Address(validator)


def _address(text: str | None, what: str) -> bytes | None:
    """A filter by an address; one that is none would let everything through."""
    if text is None:
        return None
    if (found := unhex(text, ADDRESS_BYTES)) is None:
        raise Malformed(f"{text[:64]!r} is no {what}.", hint="Write 0x and 40 hex digits.")
    return found


# --- routes -------------------------------------------------------------------------------------


@get("/v1/validations", summary="What validators say of the nodes, in pages")
async def validations(
    state: State,
    node: OnNode = None,
    validator: ByValidator = None,
    conclusion: WithConclusion = None,
    limit: Limit = limits.API_PAGE_DEFAULT,
    after: AfterValidation = "",
) -> ValidationsAnswer:
    """The newest verdict of each validator on each node, by node. No verdict: nobody that this
    agent heard has said anything, which is neither good nor bad."""
    port = port_of(state)
    view, place = port.view(), _place(after)
    named, said_by = _address(node, "node id"), _address(validator, "validator's account")

    def fits(seen: VerdictView) -> bool:
        verdict = seen.signed.verdict
        return (said_by is None or verdict.validator == said_by) and (
            conclusion is None or verdict.conclusion.value == conclusion
        )

    rows = view.verdicts.behind(place)
    if named is not None:
        of_node = view.verdicts.of_node(NodeId(named))
        rows = (one for one in of_node if place is None or one.place > place)
    found, last = cut(rows, fits, limit)
    return ValidationsAnswer(
        meta_of(view),
        tuple(_validation(seen, port.evidence) for seen in found),
        None if last is None else _place_text(last),
    )


@get(
    "/v1/validations/{digest:str}",
    summary="The evidence behind a verdict, as `p2pool verify validation` checks it",
    responses={
        200: ResponseSpec(bytes, description="CBOR", media_type=DOCUMENT, generate_examples=False)
    },
)
async def validation(state: State, digest: EvidenceText, framed: Framed = False) -> ASGIApp:
    """The document, from here or from a member that has it. If it is not whole, the connection
    breaks off; framed, the answer says why."""
    named = unhex(digest, DIGEST_BYTES)
    if named is None:
        raise NotFound(
            f"{digest[:64]!r} is no digest of evidence: 64 hex digits.",
            hint="List what there is: p2pool validation ls.",
        )
    streams = cast(Streams, state.streams)
    pieces = _pieces(port_of(state).evidence, Digest(named))
    if framed:
        return StreamAnswer(
            streams, frames.framed(pieces), frames.FRAMES, ping=None, failed=frames.failed
        )
    return StreamAnswer(streams, pieces, DOCUMENT, ping=None, failed=None)


async def _pieces(keeper: EvidenceKeeper, digest: Digest) -> AsyncGenerator[bytes, None]:
    data = await keeper.document(digest)
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]
