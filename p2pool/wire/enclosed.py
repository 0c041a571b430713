"""Sealed messages inside a message: opened once at entry, for a core that has no curves.

Certificates, votes and proofs travel as the sealed messages that their signers made, so anybody may
hand them on. The agent opens them here and gives them to the core beside the message; the same ones
come again and again, so what was opened is remembered, as many as `limits.ENCLOSED_CACHED_MAX`.
"""

from collections import OrderedDict

import attrs

from p2pool.model import limits
from p2pool.model.certificates import CertificatesAnswered, EquivocationProven
from p2pool.model.errors import Refusal
from p2pool.model.gossip import Announcement
from p2pool.model.ids import PoolRef
from p2pool.model.messages import Message, Verified
from p2pool.model.work import Order
from p2pool.wire.envelope import open_sealed


def enclosed_in(message: Message) -> tuple[bytes, ...]:
    """The sealed messages inside a message, in its order: certificates before votes."""
    if isinstance(message, Order):
        return message.certificate
    if isinstance(message, Announcement | CertificatesAnswered):
        return (*message.certificate, *message.votes)
    if isinstance(message, EquivocationProven):
        return (message.first, message.second)
    return ()


def open_one(pool: PoolRef, sealed: bytes) -> Verified | None:
    """The message in an envelope of any channel, or None where it is no good for this pool."""
    try:
        return open_sealed(sealed, pool, max_bytes=limits.SEALED_SIGNATURE_MAX_BYTES)
    except Refusal:
        return None


@attrs.define
class EnclosedCache:
    """Opens sealed messages for one pool and remembers them; not for use by several threads."""

    pool: PoolRef
    most: int = limits.ENCLOSED_CACHED_MAX
    _known: "OrderedDict[bytes, Verified | None]" = attrs.Factory(OrderedDict)

    def open(self, sealed: bytes) -> Verified | None:
        """The message in these bytes, or None where they are no good."""
        if sealed in self._known:
            self._known.move_to_end(sealed)
            return self._known[sealed]
        found = self._known[sealed] = open_one(self.pool, sealed)
        while len(self._known) > self.most:
            self._known.popitem(last=False)
        return found

    def enclosed_in(self, message: Message) -> tuple[Verified | None, ...]:
        """`open` of each sealed message inside a message, in its order."""
        return tuple(self.open(sealed) for sealed in enclosed_in(message))

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)
