"""What becomes of a validation: verdicts among members, and evidence by its digest.

Intuition: a verdict is small and goes to everybody by gossip; evidence has megabytes and goes to
whoever asks for it, on a stream of its own. A validator is no member, so it offers its verdict to
any member, which passes it on once it has checked it. An offer of evidence is answered twice:
before its parts, whether they are wanted, and after them, whether they are kept.

Invariants: a verdict carries its own proof, so it matters to nobody who passed it on; what one
message may carry of them is bounded before a signature is checked. The parts of a document come in
order, the last one with `last`, and no more bytes than were stated come.
Source: docs/design/validation.md, "What becomes of a verdict".
"""

from enum import StrEnum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.field_bounds import Name, bounded
from p2pool.model.ids import Digest
from p2pool.model.messages.registry import Channel, Message, Senders, message
from p2pool.model.validation.verdict import SignedVerdict


class VerdictCode(StrEnum):
    """Why a verdict, or a document of evidence, is not kept, or not here."""

    NOT_MEMBER = "not_member"
    """The node that it is about is in no pool, as far as the answering node can tell."""
    OLD = "old"
    """It was concluded too long ago to count."""
    NOT_YET = "not_yet"
    """Its time is ahead of the answering node's clock."""
    OLDER = "older"
    """A newer one by this validator on this node is known."""
    NOT_VALIDATOR = "not_validator"
    """The chain does not give the account the validators' role, at a finalized block."""
    ROLE_UNKNOWN = "role_unknown"
    """No endpoint says whether it does: offer it again later."""
    BUSY = "busy"
    """Too much was said by this validator, or asked by this peer, in a short time."""
    NO_VERDICT = "no_verdict"
    """Of evidence: the answering node does not hold the verdict that names it: offer that first."""
    STRANGER = "stranger"
    """Of evidence: neither the validator of its verdict brings it, nor a member of the pool."""
    KNOWN = "known"
    """Of evidence: it is here already."""
    NOT_HERE = "not_here"
    """Of evidence: the answering node has none of that digest."""
    NO_ROOM = "no_room"
    """Of evidence: it is larger than what is kept, or newer documents take all the room."""
    OTHER_DIGEST = "other_digest"
    """Of evidence: the bytes are not those that the verdict names."""


@message(90, Channel.QUERY, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class VerdictOffered(Message):
    """Asks a member to keep a verdict and to pass it on: a validator its own."""

    request: int
    verdict: SignedVerdict


@message(91, Channel.QUERY, senders=Senders.GUESTS, since=DISTRUST_LEVEL, answers=(VerdictOffered,))
@attrs.frozen
class VerdictAnswered(Message):
    """Whether it is kept. `code`: a `VerdictCode` if not, else empty."""

    request: int
    kept: bool
    code: Name


@message(92, Channel.ANNOUNCE, senders=Senders.GOSSIP, since=DISTRUST_LEVEL)
@attrs.frozen
class VerdictsAnnounced(Message):
    """Verdicts that are new to a member, or that it repeats in turn, for those who missed them."""

    verdicts: Annotated[tuple[SignedVerdict, ...], bounded(items=limits.VERDICTS_PER_GOSSIP_MAX)]


@message(93, Channel.CHALLENGE, since=DISTRUST_LEVEL)
@attrs.frozen
class EvidenceRequested(Message):
    """The only frame of a stream that asks for a document of evidence, by the digest that its
    verdict names. `EvidenceAnswered` with its size follows, then the parts."""

    evidence: Digest


@message(94, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class EvidencePart(Message):
    """The next bytes of a document (`codec.validation.evidence_bytes`)."""

    data: Annotated[bytes, bounded(bytes=limits.EVIDENCE_PART_MAX_BYTES)] = attrs.field(repr=False)
    last: bool


@message(95, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class EvidenceOffered(Message):
    """The first frame of a stream that brings a document: whose, and of how many bytes. The parts
    follow the first `EvidenceAnswered` that wants them."""

    verdict: SignedVerdict
    size_bytes: Annotated[int, bounded(number=limits.EVIDENCE_DOCUMENT_MAX_BYTES)]


@message(96, Channel.CHALLENGE, since=DISTRUST_LEVEL)
@attrs.frozen
class EvidenceAnswered(Message):
    """To a request: whether the document is here, and its size. To an offer: whether the parts are
    wanted; after the last one, whether the document is kept. `code`: a `VerdictCode` if not."""

    accepted: bool
    size_bytes: Annotated[int, bounded(number=limits.EVIDENCE_DOCUMENT_MAX_BYTES)]
    code: Name
