"""Messages about the secrets of tasks: blobs of ciphertext, and data keys sealed to nodes.

A blob names nobody's rights: whoever has it can open it only with a data key, and each copy of that
is sealed to one node. Which node another one seals to, the receiver of the question decides from
its own replica of the log (`core.secrets.key_exchange`).
Source: docs/design/secrets.md.
"""

from typing import Annotated

import attrs

from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.field_bounds import bounded
from p2pool.model.ids import AllocationId, Digest
from p2pool.model.messages.registry import Channel, Message, message
from p2pool.model.tasks.secrets import SealedKey

BlobBytes = Annotated[bytes, bounded(bytes=limits.SECRET_BLOB_MAX_BYTES)]
"""A blob as it is stored; empty where there is none."""


@message(73, Channel.QUERY, since=DISTRUST_LEVEL)
@attrs.frozen
class SecretBlobOffered(Message):
    """Asks a peer to keep a blob: a leader its voters, before it proposes the request that names
    it; whoever took that request from its signer, the leader."""

    request: int
    digest: Digest
    blob: BlobBytes = attrs.field(repr=False)


@message(74, Channel.QUERY, since=DISTRUST_LEVEL, answers=(SecretBlobOffered,))
@attrs.frozen
class SecretBlobHeld(Message):
    """Whether it is on the answering node's disk, and if not, why not."""

    request: int
    digest: Digest
    held: bool
    reason: str


@message(75, Channel.QUERY, since=DISTRUST_LEVEL)
@attrs.frozen
class SecretBlobRequested(Message):
    """Asks a peer for a blob."""

    request: int
    digest: Digest


@message(76, Channel.QUERY, since=DISTRUST_LEVEL, answers=(SecretBlobRequested,))
@attrs.frozen
class SecretBlobAnswered(Message):
    """The blob, empty if the answering node does not hold it."""

    request: int
    digest: Digest
    blob: BlobBytes = attrs.field(repr=False)


@message(77, Channel.QUERY, since=DISTRUST_LEVEL)
@attrs.frozen
class SecretKeyRequested(Message):
    """A node that was assigned a copy asks one that runs the task for the data key of its blob."""

    request: int
    allocation: AllocationId
    attempt: int
    digest: Digest


@message(78, Channel.QUERY, since=DISTRUST_LEVEL, answers=(SecretKeyRequested,))
@attrs.frozen
class SecretKeyAnswered(Message):
    """The data key, sealed to the node that asked; or why there is none from here (yet)."""

    request: int
    digest: Digest
    key: SealedKey | None
    reason: str
