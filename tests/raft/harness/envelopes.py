"""Envelopes without curves: what a participant sealed is what was kept under the same bytes."""

import attrs

from p2pool.model.log.raft import Voter
from p2pool.model.messages.raft import VoteRequested
from p2pool.model.messages.registry import Channel, Header, Message, Verified


@attrs.define
class Envelopes:
    """All that were sealed in one story."""

    sealed: dict[bytes, Verified] = attrs.field(factory=dict)

    def seal(self, by: Voter, message: Message) -> bytes:
        """The envelope of a message by a participant."""
        name = b"sealed %d" % len(self.sealed)
        header = Header(by.node_id, by.peer_key, 0, 0, 0)
        self.sealed[name] = Verified(header, Channel.RAFT, message, name)
        return name

    def shown(self, message: Message) -> tuple[Verified | None, ...]:
        """What a candidate shows, opened."""
        if not isinstance(message, VoteRequested):
            return ()
        return tuple(self.sealed.get(one) for one in message.shown)
