"""Seals what a validator says, and opens what it is told: by its peer key, as its account's node.

Invariants: numbers of one channel only grow; what is opened was sealed by the peer at the other end
and is new.
"""

import time

import attrs
from nacl.signing import SigningKey

from p2pool.model import limits
from p2pool.model.ids import NodeId, PeerKey, PoolRef
from p2pool.model.messages.registry import Channel, Header, Message, Verified, channel_of
from p2pool.wire.envelope import max_bytes, open_sealed, seal
from p2pool.wire.replay import ReplayGuard


def wall_ms() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


@attrs.define
class Sealer:
    """One run of a validator on a pool. `node_id`: its account, under which it says hello;
    `incarnation`: when the run began."""

    pool: PoolRef
    node_id: NodeId
    signing_key: SigningKey = attrs.field(repr=False)
    incarnation: int = attrs.field(factory=wall_ms)
    sequences: dict[Channel, int] = attrs.field(factory=dict)
    guard: ReplayGuard = attrs.field(factory=ReplayGuard)

    @property
    def peer_key(self) -> PeerKey:
        """By whose key it is sealed."""
        return PeerKey(bytes(self.signing_key.verify_key))

    def seal(self, message: Message) -> tuple[Channel, bytes]:
        """A message's channel and sealed bytes."""
        channel = channel_of(type(message))
        number = self.sequences.get(channel, 0)
        self.sequences[channel] = number + 1
        header = Header(
            node_id=self.node_id,
            peer_key=self.peer_key,
            incarnation=self.incarnation,
            sequence=number,
            sent_at_ms=wall_ms(),
        )
        return channel, seal(message, header, self.pool, self.signing_key)

    def opened(self, channel: Channel, peer_key: PeerKey, data: bytes) -> Verified:
        """A frame of a channel that has one stream each way; a `Refusal` for what is not sealed by
        this peer, or not new."""
        verified = self.opened_once(channel, peer_key, data)
        self.guard.accept(verified, wall_ms())
        return verified

    def opened_once(self, channel: Channel, peer_key: PeerKey, data: bytes) -> Verified:
        """A frame of a stream of its own, whose reader looks after its order."""
        most = min(max_bytes(channel), limits.STREAM_FRAME_MAX_BYTES)
        return open_sealed(data, self.pool, max_bytes=most, channel=channel, signer=peer_key)
