"""Opens the sealed messages inside a message, once at entry, so that the core needs no curves.

Certificates, votes and proofs travel as the sealed messages that their signers made, so anybody may
hand them on. The agent opens them here and gives them to the core with the message. The same ones
come again and again, so a cache keeps up to `limits.ENCLOSED_CACHED_MAX` of them.
"""

from collections.abc import Iterator

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Refusal
from p2pool.model.ids import PoolRef
from p2pool.model.messages.certificates import (
    BadAppendProven,
    CertificatesAnswered,
    EquivocationProven,
)
from p2pool.model.messages.gossip import Announcement
from p2pool.model.messages.queries import DuplicateShown, StateAnswered, StoreSeenAnswered
from p2pool.model.messages.raft import SnapshotSent, VoteRequested
from p2pool.model.messages.registry import Message, Verified
from p2pool.model.messages.work import Order
from p2pool.wire.envelope import open_sealed


def enclosed_in(message: Message) -> tuple[bytes, ...]:
    """The sealed messages inside a message, in its order: certificates before votes, and
    the links of a chain, or a history, last."""
    if isinstance(message, Order | SnapshotSent | StateAnswered):
        return message.certificate
    if isinstance(message, CertificatesAnswered):
        links = (sealed for link in message.chain.links for sealed in link.signatures)
        return (*message.certificate, *message.votes, *links)
    if isinstance(message, Announcement):
        return (*message.certificate, *message.votes, *message.proof)
    if isinstance(message, StoreSeenAnswered | DuplicateShown | VoteRequested):
        return message.shown
    if isinstance(message, EquivocationProven):
        return (message.first, message.second)
    if isinstance(message, BadAppendProven):
        return (message.frame, message.word)
    return ()


def largest_in(message: Message) -> int:
    """The longest sealed message allowed inside a message: signatures are short, but a relayed
    heartbeat may be as long as any heartbeat, and an append longer than a signature."""
    if isinstance(message, BadAppendProven):
        return limits.BAD_APPEND_MAX_BYTES
    if isinstance(message, StoreSeenAnswered | DuplicateShown):
        return limits.GOSSIP_MESSAGE_MAX_BYTES
    return limits.SEALED_SIGNATURE_MAX_BYTES


def open_one(
    pool: PoolRef, sealed: bytes, max_bytes: int = limits.SEALED_SIGNATURE_MAX_BYTES
) -> Verified | None:
    """The message in an envelope of any channel, or None if it is invalid for this pool."""
    try:
        return open_sealed(sealed, pool, max_bytes=max_bytes)
    except Refusal:
        return None


@attrs.define
class EnclosedCache:
    """Opens sealed messages for one pool and caches them; not thread-safe."""

    pool: PoolRef
    most: int = limits.ENCLOSED_CACHED_MAX
    _known: BoundedDict[bytes, Verified | None] = attrs.Factory(
        lambda self: BoundedDict(self.most), takes_self=True
    )

    def open(
        self, sealed: bytes, max_bytes: int = limits.SEALED_SIGNATURE_MAX_BYTES
    ) -> Verified | None:
        """The message in these bytes, or None if they are invalid."""
        if len(sealed) > max_bytes:
            return None
        if sealed in self._known:
            self._known.move_to_end(sealed)
            return self._known[sealed]
        found = self._known[sealed] = open_one(self.pool, sealed, max_bytes)
        return found

    def enclosed_in(self, message: Message) -> tuple[Verified | None, ...]:
        """`open` of each sealed message inside a message, in its order."""
        most = largest_in(message)
        return tuple(self.open(sealed, most) for sealed in enclosed_in(message))

    def by_turns(self, message: Message) -> Iterator[None]:
        """Open what is new inside a message, with a pause after every few: then `enclosed_in` has
        nothing left to check."""
        most, checked = largest_in(message), 0
        for sealed in enclosed_in(message):
            if sealed in self._known:
                continue
            self.open(sealed, most)
            checked += 1
            if not checked % limits.CHECKS_PER_TURN_MAX:
                yield

    def unknown_in(self, message: Message) -> int:
        """How many sealed messages inside a message would have to be checked."""
        return sum(sealed not in self._known for sealed in enclosed_in(message))

    def __len__(self) -> int:
        """The number of cached messages."""
        return len(self._known)
