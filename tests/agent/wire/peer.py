"""Somebody who sends to an agent."""

from eth_account import Account
from nacl.signing import SigningKey

from p2pool.agent.wire.ingress import Ingress
from p2pool.agent.wire.sealer import Sealer
from p2pool.model.ids import Address, Digest, NodeId, PeerKey, PoolRef, StateDigest, StoreId
from p2pool.model.messages.gossip import Announcement, Hello
from p2pool.model.messages.registry import Channel
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.timing import Now
from p2pool.wire.binding import make_binding

POOL = PoolRef(31337, Address(b"\x11" * 20), 1)
NOW = Now(1_000, 1_700_000_000_000)
NOW_S = NOW.wall_ms // 1000


class Peer:
    """Somebody who sends."""

    def __init__(self, number: int, pool: PoolRef = POOL) -> None:
        self.account = Account.from_key(bytes([number]) * 32)
        self.key = SigningKey(bytes([number]) * 32)
        self.node_id = NodeId(bytes.fromhex(self.account.address[2:]))
        self.peer_key = PeerKey(bytes(self.key.verify_key))
        self.sealer = Sealer(pool, self.node_id, self.peer_key, 5, self.key)
        self.pool = pool

    def binding(self) -> PeerBinding:
        return make_binding(self.pool, self.account, self.key, NOW_S - 10)

    def hello(self) -> bytes:
        message = Hello("1", self.binding(), StoreId(b"s" * 16), ())
        return self.sealer.seal(message, NOW)[1]

    def announcement(self, now: Now = NOW) -> bytes:
        message = Announcement(Digest(b"l" * 32), 1, 2, 3, StateDigest(b"\x01" * 33))
        return self.sealer.seal(message, now)[1]


def met(gate: Ingress, peer: Peer) -> None:
    """The peer has said hello."""
    assert gate.frame(Channel.HELLO, peer.peer_key, peer.hello(), NOW)
