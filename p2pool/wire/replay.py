"""Decides which verified messages are new: sequence windows for each peer key and channel.

Intuition: gossip arrives late, twice and out of order, so it gets a sliding window (as IPsec, RFC
4303, 3.4.3): numbers below it are refused, numbers inside it are accepted once. A stream is
ordered, so each frame's number must exceed the last. Gaps are no fault: one counter of the sender
serves all its streams of a channel, and whoever needs a frame that a full queue dropped sends it
again (Raft, orders, reports). A restarted agent begins again from 0 under a larger incarnation; a
smaller one is a replay. Unless the larger one is ahead of the time: then it is of a run whose clock
was ahead, and once that one is silent, an agent that began later (on a wiped disk) is heard again.

Senders count per channel. State objects are pure: time comes as an argument, and a refused message
changes nothing. A full table forgets the peer heard longest ago; the clock check then still bounds
replays.
"""

from collections.abc import Mapping

import attrs

from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import Stale
from p2pool.model.ids import PeerKey
from p2pool.model.messages.registry import Channel, Header, Verified
from p2pool.proofs.incarnations import began_ahead, is_later_run

WIDTHS: Mapping[Channel, int] = {
    Channel.BEAT: limits.GOSSIP_REPLAY_WINDOW,
    Channel.ANNOUNCE: limits.GOSSIP_REPLAY_WINDOW,
    Channel.HELLO: limits.GOSSIP_REPLAY_WINDOW,
    # Requests to many peers are in flight at once and finish in any order.
    Channel.QUERY: limits.QUERY_REPLAY_WINDOW,
}
"""Channels with a window, and its width; on the others numbers only grow."""

CLOCK_CHECKED = frozenset({Channel.BEAT, Channel.ANNOUNCE, Channel.QUERY})
"""Channels on which a sender's clock must agree with ours. Raft must work with any clock, and a
hello tells peers whose clocks differ that they do."""


@attrs.define
class Window:
    """Sliding window: the `highest` number seen, and a bit for each of the `width` up to it."""

    width: int
    highest: int = -1
    seen: int = 0

    def accept(self, sequence: int) -> None:
        """Take a number once; `Stale` if it was seen, or is too old to know."""
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
    """Ordered streams: each frame's number exceeds the last."""

    last: int = -1

    def accept(self, sequence: int) -> None:
        """Take the next frame; `Stale` if it is a repetition or an older one."""
        if sequence <= self.last:
            raise Stale(f"Frame {sequence} after frame {self.last}.")
        self.last = sequence


@attrs.define
class _Peer:
    """The state of one peer key. `heard_ms`: when its last message came, by our wall clock."""

    incarnation: int
    heard_ms: int = 0
    sequences: dict[Channel, Window | StreamSequence] = attrs.Factory(dict)


@attrs.define
class ReplayGuard:
    """Windows for all peers; one object per agent (each log stream has a guard of its own)."""

    peers_max: int = limits.PEERS_TRACKED_MAX
    _peers: BoundedDict[PeerKey, _Peer] = attrs.Factory(
        lambda self: BoundedDict(self.peers_max), takes_self=True
    )

    def accept(self, verified: Verified, now_ms: int, *, relayed: bool = False) -> None:
        """Take a message that is new; `Stale` (the sender's fault, or a replay) otherwise.

        `now_ms`: our wall clock. `relayed`: a peer passed on an old heartbeat, whose age says
        nothing about its sender's clock.
        """
        header, channel = verified.header, verified.channel
        if channel in CLOCK_CHECKED and not relayed:
            check_clock(header, now_ms)
        peer = self._peers.get(header.peer_key)
        ahead = relayed and began_ahead(header.incarnation, now_ms)
        if ahead and (peer is None or header.incarnation != peer.incarnation):
            raise Stale(f"From incarnation {header.incarnation}, which is ahead of our clock.")
        if peer is not None and is_later_run(header, peer.incarnation, peer.heard_ms, now_ms):
            peer = None
        if peer is not None and header.incarnation < peer.incarnation:
            raise Stale(
                f"From incarnation {header.incarnation}, but {peer.incarnation} was heard before.",
                hint="The sender restarted since, or two agents share its key.",
            )
        if peer is None or header.incarnation > peer.incarnation:
            peer = _Peer(header.incarnation)
        _sequence(peer, channel).accept(header.sequence)
        peer.heard_ms = now_ms
        self._peers.renew(header.peer_key, peer)

    def incarnation(self, peer_key: PeerKey) -> int | None:
        """The latest incarnation heard from a peer key, or None."""
        peer = self._peers.get(peer_key)
        return peer.incarnation if peer else None

    def __len__(self) -> int:
        """The number of tracked peer keys."""
        return len(self._peers)


def _sequence(peer: _Peer, channel: Channel) -> Window | StreamSequence:
    """The peer's sequence on a channel, created at its first message."""
    if channel not in peer.sequences:
        width = WIDTHS.get(channel)
        peer.sequences[channel] = StreamSequence() if width is None else Window(width)
    return peer.sequences[channel]


def clock_differs(verified: Verified, now_ms: int) -> bool:
    """Whether the clock check refuses a message."""
    offset_ms = verified.header.sent_at_ms - now_ms
    return verified.channel in CLOCK_CHECKED and abs(offset_ms) > limits.CLOCK_SKEW_MAX_MS


def check_clock(header: Header, now_ms: int) -> None:
    """`Stale` if a message was sent too far in our past or future."""
    offset_ms = header.sent_at_ms - now_ms
    if abs(offset_ms) > limits.CLOCK_SKEW_MAX_MS:
        side = "ahead of" if offset_ms > 0 else "behind"
        raise Stale(
            f"Sent {abs(offset_ms)} ms {side} our clock; {limits.CLOCK_SKEW_MAX_MS} at most.",
            hint="One of the two clocks is wrong, or the message is a replay.",
        )
