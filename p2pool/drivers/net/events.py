"""The network's configuration and its events: plain values, no libp2p in here.

Frames and gossip are opaque bytes: `wire` seals and opens envelopes, the network never does.
Importing this module costs nothing; importing `p2pool.drivers.net.network` costs libp2p's 2.5 s.
"""

import attrs

from p2pool.model.ids import PEER_KEY_BYTES, PeerKey
from p2pool.model.messages.registry import DECLARATIONS, Channel, Senders
from p2pool.model.states import Standing

PERMITTED: dict[Standing, frozenset[Channel]] = {
    Standing.MEMBER: frozenset(Channel) - {Channel.HELLO},
    Standing.GUEST: frozenset(
        declared.channel for declared in DECLARATIONS.values() if declared.senders is Senders.GUESTS
    ),
    Standing.REFUSED: frozenset(),
}
"""The channels that a standing opens, in both directions: those of messages that it may send.
Hello is open to all."""

BYSTANDER_CHANNELS = PERMITTED[Standing.GUEST]
"""All channels of a node without gossip (a bootstrap node), whatever a peer's standing."""


@attrs.frozen
class KnownPeer:
    """A peer as the peer book keeps it: multiaddrs without their `/p2p/...` end."""

    peer_key: PeerKey
    addresses: tuple[str, ...]


@attrs.frozen
class NetConfig:
    """How to build a host. `seed` is the 32-byte Ed25519 seed of the peer key.

    `listen` are multiaddrs (`/ip4/0.0.0.0/tcp/4001`; port 0: any free one). `bootstrap` are full
    multiaddrs ending in `/p2p/<peer id>`; `peers`: the peers that the pool knew last time;
    `announce`: where others reach this node, if not where it listens. Without `gossip` the node
    takes part in hello and query only. `random_seed` seeds the jitter of redials.
    """

    seed: bytes = attrs.field(repr=False)
    listen: tuple[str, ...]
    beat_topic: str = ""
    announce_topic: str = ""
    gossip: bool = True
    bootstrap: tuple[str, ...] = ()
    announce: tuple[str, ...] = ()
    peers: tuple[KnownPeer, ...] = ()
    random_seed: int = 0

    def __attrs_post_init__(self) -> None:
        """A wrong length or a missing topic is our own bug: configuration is checked earlier."""
        assert len(self.seed) == PEER_KEY_BYTES, "an Ed25519 seed has 32 bytes"
        assert not self.gossip or (self.beat_topic and self.announce_topic), "topics needed"


@attrs.frozen
class PeerConnected:
    """The first connection to a peer is up; Noise authenticated it as this key.

    `addresses` is where this connection comes from or went to; the peer does not listen on an
    inbound connection's port.
    """

    peer_key: PeerKey
    addresses: tuple[str, ...]
    outbound: bool


@attrs.frozen
class PeerDisconnected:
    """The last connection to a peer is gone; its standing is forgotten."""

    peer_key: PeerKey


@attrs.frozen
class FrameReceived:
    """One frame of a stream: HELLO from anybody, other channels as the standing permits."""

    peer_key: PeerKey
    channel: Channel
    data: bytes


@attrs.frozen
class GossipReceived:
    """One gossip message that passed `check_gossip`; its envelope names the sender."""

    channel: Channel
    data: bytes


NetEvent = PeerConnected | PeerDisconnected | FrameReceived | GossipReceived
"""Everything that `Network.events` yields."""
