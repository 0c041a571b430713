"""Seals what this agent sends."""

import attrs
from nacl.signing import SigningKey

from p2pool.model.ids import NodeId, PeerKey, PoolRef
from p2pool.model.messages.registry import Channel, Header, Message, Verified, channel_of
from p2pool.model.timing import Now
from p2pool.wire.envelope import seal


@attrs.define
class Sealer:
    """Seals this agent's messages, with one sequence counter per channel."""

    pool: PoolRef
    node_id: NodeId
    peer_key: PeerKey
    incarnation: int
    signing_key: SigningKey = attrs.field(repr=False)
    sequences: dict[Channel, int] = attrs.field(factory=dict)

    def seal(self, message: Message, now: Now) -> tuple[Channel, bytes]:
        """A message's channel and sealed bytes. `Malformed`: it exceeds its own bounds."""
        made = self.sealed(message, now)
        return made.channel, made.sealed

    def sealed(self, message: Message, now: Now) -> Verified:
        """A message as its receiver would have it: sealed, and opened."""
        channel = channel_of(type(message))
        number = self.sequences.get(channel, 0)
        self.sequences[channel] = number + 1
        header = Header(
            node_id=self.node_id,
            peer_key=self.peer_key,
            incarnation=self.incarnation,
            sequence=number,
            sent_at_ms=now.wall_ms,
        )
        data = seal(message, header, self.pool, self.signing_key)
        return Verified(header, channel, message, data)
