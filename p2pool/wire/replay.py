"""Which verified messages are new: windows of sequence numbers for each peer key and channel.

Intuition: gossip arrives late, twice and out of order, so it gets a sliding window (as IPsec, RFC
4303, 3.4.3): below it is refused, inside it once. A stream is ordered, so there each frame lies
above the last. Gaps are no fault: one counter of the sender serves all its streams of a channel,
and a frame that a full queue dropped is sent anew by whoever needs it (Raft, orders, reports). A
restarted agent begins again from 0 under a larger incarnation; a smaller one is a replay.

Senders count per channel. State objects are pure: time comes as an argument, and nothing is
changed when a message is refused. The table forgets the peer heard longest ago when it is full:
the clock check then still bounds what can be replayed.
"""

from collections.abc import Mapping

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Stale
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel, Header, Verified

WIDTHS: Mapping[Channel, int] = {
    Channel.BEAT: limits.GOSSIP_REPLAY_WINDOW,
    Channel.ANNOUNCE: limits.GOSSIP_REPLAY_WINDOW,
    Channel.HELLO: limits.GOSSIP_REPLAY_WINDOW,
    # Requests to many peers are under way at once and finish in any order.
    Channel.QUERY: limits.QUERY_REPLAY_WINDOW,
}
"""Channels with a window, and how wide it is; on the others numbers only grow."""

CLOCK_CHECKED = frozenset({Channel.BEAT, Channel.ANNOUNCE, Channel.QUERY})
"""Channels on which a sender's clock must agree with ours. Raft must work with any clock, and a
hello tells those whose clocks differ that they do."""


@attrs.define
class Window:
    """Sliding window: `highest` seen, and a bit for each of the `width` numbers up to it."""

    width: int
    highest: int = -1
    seen: int = 0

    def accept(self, sequence: int) -> None:
        """Take a number once; `Stale` when it was seen, or is too old to know."""
        if sequence > self.highest:
            mask = (1 << self.width) - 1
            shift = min(sequence - self.highest, self.width)
            self.seen = ((self.seen << shift) | 1) & mask
            self.highest = sequence
            return
        age = self.highest - sequence
        if age >= self.width:
            raise Stale(f"Message {sequence} is older than the last {self.width}.")
        if self.seen >> age & 1:
            raise Stale(f"Message {sequence} was received before.")
        self.seen |= 1 << age


@attrs.define
class StreamSequence:
    """Ordered streams: each frame lies above the last."""

    last: int = -1

    def accept(self, sequence: int) -> None:
        """Take the next frame; `Stale` when it is a repetition or an older one."""
        if sequence <= self.last:
            raise Stale(f"Frame {sequence} after frame {self.last}.")
        self.last = sequence


@attrs.define
class _Peer:
    """What was seen of one peer key."""

    incarnation: int
    sequences: dict[Channel, Window | StreamSequence] = attrs.Factory(dict)


@attrs.define
class ReplayGuard:
    """Windows for all peers; one object for each agent (log streams have a guard each)."""

    peers_max: int = limits.PEERS_TRACKED_MAX
    _peers: BoundedDict[PeerKey, _Peer] = attrs.Factory(
        lambda self: BoundedDict(self.peers_max), takes_self=True
    )

    def accept(self, verified: Verified, now_ms: int, *, relayed: bool = False) -> None:
        """Take a message that is new; `Stale` (the sender's fault, or a replay) otherwise.

        `now_ms`: our wall clock. `relayed`: an old heartbeat passed on by a peer, whose age says
        nothing about its sender's clock.
        """
        header, channel = verified.header, verified.channel
        if channel in CLOCK_CHECKED and not relayed:
            check_clock(header, now_ms)
        peer = self._peers.get(header.peer_key)
        if peer is not None and header.incarnation < peer.incarnation:
            raise Stale(
                f"Of incarnation {header.incarnation}, and {peer.incarnation} was heard.",
                hint="The sender restarted since, or two agents share its key.",
            )
        if peer is None or header.incarnation > peer.incarnation:
            peer = _Peer(header.incarnation)
        _sequence(peer, channel).accept(header.sequence)
        self._peers.renew(header.peer_key, peer)

    def incarnation(self, peer_key: PeerKey) -> int | None:
        """The incarnation last heard of a peer key, or None."""
        peer = self._peers.get(peer_key)
        return peer.incarnation if peer else None

    def __len__(self) -> int:
        """How many peer keys are tracked."""
        return len(self._peers)


def _sequence(peer: _Peer, channel: Channel) -> Window | StreamSequence:
    """The peer's sequence on a channel, made at its first message."""
    if channel not in peer.sequences:
        width = WIDTHS.get(channel)
        peer.sequences[channel] = StreamSequence() if width is None else Window(width)
    return peer.sequences[channel]


def clock_differs(verified: Verified, now_ms: int) -> bool:
    """Whether a message is refused for its clock."""
    offset_ms = verified.header.sent_at_ms - now_ms
    return verified.channel in CLOCK_CHECKED and abs(offset_ms) > limits.CLOCK_SKEW_MAX_MS


def check_clock(header: Header, now_ms: int) -> None:
    """`Stale` when a message was sent too far in our past or future."""
    offset_ms = header.sent_at_ms - now_ms
    if abs(offset_ms) > limits.CLOCK_SKEW_MAX_MS:
        side = "ahead of" if offset_ms > 0 else "behind"
        raise Stale(
            f"Sent {abs(offset_ms)} ms {side} our clock; {limits.CLOCK_SKEW_MAX_MS} at most.",
            hint="One of the two clocks is wrong, or the message is a replay.",
        )
