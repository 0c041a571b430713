"""Frames of the dedicated streams on which a validator challenges a node's hardware.

Intuition: one stream is one challenge, and each frame has its turn:

    validator                              node
    ChallengeProposed ------------------->
             <------------ ChallengeAccepted | ChallengeDeclined, and the end
    ChallengeIssued --------------------->
             <---------------- CommitmentMade   (step 0: filled)
    QuestionAsked ----------------------->
             <---------------- CommitmentMade   (for each round)
    SecretRevealed ---------------------->
             <----------------- OpeningsShown   (in parts)
    VerdictTold ------------------------->      (and the end)

A node may decline at any time, and the stream ends with that. The validator is no member of the
pool: it connects as a guest whose binding ties its peer key to its account, and the node asks the
chain whether that account is a validator.

Invariants: the first frame says what the stream is for; a code that a reader does not know is a
refusal as any other; what the node signs inside a commitment is the same wherever it is read
(`p2pool.model.validation.transcript`).
Source: docs/design/validation.md, "The node's side".
"""

from enum import StrEnum
from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.field_bounds import Name, bounded
from p2pool.model.ids import ETH_SIGNATURE_BYTES, Digest
from p2pool.model.machine.hardware import Gpu
from p2pool.model.messages.registry import Channel, Message, Senders, message
from p2pool.model.validation.transcript import (
    Challenge,
    Openings,
    Question,
    SignedCommitment,
)
from p2pool.model.validation.verdict import SignedVerdict


class DeclineCode(StrEnum):
    """Why a node does not go through with a challenge."""

    LEASED = "leased"
    """A task has a GPU of it, or was just given one: ask again at `retry_at_ms`."""
    NOT_VALIDATOR = "not_validator"
    """The chain does not give the account the validators' role, at a finalized block."""
    ROLE_UNKNOWN = "role_unknown"
    """The chain does not say now whether it has the role: ask again at `retry_at_ms`."""
    BUSY = "busy"
    """Another challenge is running."""
    TOO_OFTEN = "too_often"
    """This validator, or all of them, asked more often than the owner allows."""
    NO_PROVER = "no_prover"
    """No image of a prover is allowed here that the validator accepts, or it cannot run."""
    NO_GPUS = "no_gpus"
    """The node claims none, so there is nothing to show."""
    OFF = "off"
    """The owner takes no challenges."""
    NOT_FOR_US = "not_for_us"
    """The challenge, a question or the secret is not one that this node may answer."""
    FAILED = "failed"
    """The prover did not do what it was asked; the owner reads why in the agent's log."""


@message(80, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class ChallengeProposed(Message):
    """The first frame: whether a challenge is welcome. `images`: digests of the provers' images
    that the validator accepts; empty: any that the owner allows."""

    images: Annotated[tuple[Name, ...], bounded(items=limits.CHALLENGE_IMAGES_MAX)] = ()


@message(81, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class ChallengeAccepted(Message):
    """The prover runs. `node_nonce`: of this stream; `image`: the digest of the prover's image;
    `gpus`: what the node claims and its prover sees."""

    node_nonce: Digest
    image: Name
    gpus: Annotated[tuple[Gpu, ...], bounded(items=limits.GPUS_PER_NODE_MAX)]


@message(82, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class ChallengeDeclined(Message):
    """The last frame: no challenge, or no more of it. `code`: a `DeclineCode`; `retry_at_ms`: when
    it may be another answer, by the node's clock; 0: unknown."""

    code: Name
    reason: str
    retry_at_ms: int = 0


@message(83, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class ChallengeIssued(Message):
    """The challenge: it is the question of step 0, the fill. `signature`: by the account that it
    names as the validator (`wire.validation.evidence`), so that nobody else's image and plan run
    on the node."""

    challenge: Challenge
    signature: Annotated[bytes, bounded(exact_bytes=ETH_SIGNATURE_BYTES)]


@message(84, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class CommitmentMade(Message):
    """The answer to the challenge, or to a question."""

    answer: SignedCommitment


@message(85, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class QuestionAsked(Message):
    """A round begins."""

    question: Question


@message(86, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class SecretRevealed(Message):
    """The rounds are over; rows and blocks follow from the secret."""

    secret: Digest


@message(87, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class OpeningsShown(Message):
    """A part of what was drawn, in order; `last`: there is no more."""

    openings: Openings
    last: bool


@message(88, Channel.CHALLENGE, senders=Senders.GUESTS, since=DISTRUST_LEVEL)
@attrs.frozen
class VerdictTold(Message):
    """What the validator concludes: the node hears it first. Nothing is answered."""

    verdict: SignedVerdict
