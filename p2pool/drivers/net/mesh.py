"""The gossipsub router, tuned for a pool: 3 to 10,000 members, perhaps behind one address.

The library's defaults suit open networks of strangers. Our settings, and why:

===========================  ======  ===========================================================
protocols                    1.1     js-libp2p speaks it too; 1.2 to 2.0 add nothing we use
degree, low, high            6,4,12  the specification's; forwarding costs a node 6 copies
heartbeat_interval           1 s     default 120: a mesh would hardly ever be repaired
adaptive_gossip_enabled      off     default on: takes a mesh of three for a sick one (degree below
                                     6) and stretches the heartbeat to 60 s, and with it all repair
                                     and the window in which messages are announced
scorer                       none    its weights are all 0 by default, so it judges nobody, yet it
                                     makes every node graft two more peers a second ("equally good
                                     ones") up to `high`, then prune the surplus, and so on
eclipse_protection_enabled   off     wants 3 addresses in a mesh: a pool may have one (loopback, one
                                     NAT). The chain lists the members: the roster protects us
spam_protection_enabled      off     10 a second for each peer, which 100 members exceed, and after
                                     the signatures; `gossip_intake` has bounds before them
do_px                        off     addresses come with hellos, and the peer book dials them
prune_back_off               10 s    default 60: in a star (one member with an open port, the rest
                                     behind NAT) the centre prunes every peer over `high`, and these
                                     have no other source
unsubscribe_back_off         1 s     default 10: an agent that restarts is back sooner
===========================  ======  ===========================================================

Control messages are small, and what they ask for is not: one that names the same message ten
thousand times would draw it ten thousand times. So a neighbour's are held to a rate, name our
topics alone, and draw each message once, up to a budget.

Defaults that suit us: gossip_window and gossip_history (3 and 5 heartbeats, with 1 s as in the
specification), heartbeat_initial_delay, graft_flood_threshold (10 s, not above prune_back_off), 10
IHAVE and 10 IWANT a second from each peer (two topics give 2), max_pending_messages_per_peer (100
for 30 s, fewer than a queue takes; never set 0, which means no bound). Unused here: time_to_live
(of topics that a node is not in), direct peers, px_peers_count, max_idontwant_messages, extensions
(of 1.2 and later). Of `Pubsub` these suit too: seen_ttl (120 s; envelopes older than 30 s are
refused anyway), strict_signing, max_inbound_rpc_size (1 MiB; our messages have 16 KiB),
validation_cache_ttl (which is why a verdict must not depend on the roster), and bounds on
subscriptions (we have two).
"""

import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import trio
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.utils import safe_bytes_from_hex

from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets

# A peer chooses how often it exceeds a rate: that is counted, not logged each time.
logging.getLogger("libp2p.pubsub.gossipsub").setLevel(logging.ERROR)

DEGREE, DEGREE_LOW, DEGREE_HIGH = 6, 4, 12
HEARTBEAT_INTERVAL_S = 1
PRUNE_BACK_OFF_S = 10
UNSUBSCRIBE_BACK_OFF_S = 1


class PoolRouter(GossipSub):  # type: ignore[misc]
    """The library's router, tuned for a pool; our own messages always leave."""

    def __init__(self, counters: Counter[str]) -> None:
        """As the table above says."""
        super().__init__(
            protocols=[PROTOCOL_ID_V11],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=HEARTBEAT_INTERVAL_S,
            prune_back_off=PRUNE_BACK_OFF_S,
            unsubscribe_back_off=UNSUBSCRIBE_BACK_OFF_S,
            adaptive_gossip_enabled=False,
            eclipse_protection_enabled=False,
            spam_protection_enabled=False,
            do_px=False,
        )
        self.scorer = None
        self._pool_counters = counters
        self._control = TokenBuckets(
            limits.GOSSIP_CONTROL_PER_S, limits.GOSSIP_CONTROL_BURST, limits.CONNECTIONS_MAX
        )
        self._drawn = TokenBuckets(
            limits.GOSSIP_DRAWN_KIB_PER_S, limits.GOSSIP_DRAWN_KIB_BURST, limits.CONNECTIONS_MAX
        )

    # --- what neighbours ask for ------------------------------------------------------------------

    def admits(self, peer_id: ID, count: int) -> bool:
        """Whether a neighbour may change or ask for so much more of our gossip with it."""
        if self._control.admit(peer_id.to_bytes(), _now_ms(), count):
            return True
        self._pool_counters["gossip_refused_control"] += 1
        return False

    async def handle_rpc(self, rpc: Any, sender_peer_id: ID) -> None:
        """The control messages of gossipsub 1.1 that are about our topics."""
        control, topics = rpc.control, self.pubsub.allowed_topics
        parts = (control.ihave, control.iwant, control.graft, control.prune)
        if not self.admits(sender_peer_id, max(1, sum(map(len, parts)))):
            return
        for ihave in control.ihave:
            if ihave.topicID in topics:
                del ihave.messageIDs[limits.GOSSIP_IDS_MAX :]
                await self.handle_ihave(ihave, sender_peer_id)
        for iwant in control.iwant:
            await self.handle_iwant(iwant, sender_peer_id)
        for graft in control.graft:
            if graft.topicID in topics:
                await self.handle_graft(graft, sender_peer_id)
        for prune in control.prune:
            if prune.topicID in topics:
                await self.handle_prune(prune, sender_peer_id)

    async def emit_iwant(self, msg_ids: Sequence[bytes], to_peer: ID) -> None:
        """Ask for no more than one answer holds; the rest is announced again."""
        await super().emit_iwant(msg_ids[: limits.GOSSIP_ASKED_MAX], to_peer)

    async def handle_iwant(self, iwant_msg: Any, sender_peer_id: ID) -> None:
        """Send what a neighbour asks for: each message once, and together what one RPC holds."""
        sender, now_ms = sender_peer_id.to_bytes(), _now_ms()
        if self._drawn.indebted(sender, now_ms):
            self._pool_counters["gossip_refused_drawn"] += 1
            return
        wanted, size = [], 0
        for name in dict.fromkeys(iwant_msg.messageIDs[: limits.GOSSIP_IDS_MAX]):
            message_id = safe_bytes_from_hex(name)
            message = self.mcache.get(message_id) if message_id is not None else None
            if message is None:
                continue
            size += message.ByteSize()
            if size > limits.GOSSIP_ANSWER_MAX_BYTES:
                break
            wanted.append(name)
        if wanted:
            self._drawn.charge(sender, now_ms, 1 + size // 1024)
            await super().handle_iwant(rpc_pb2.ControlIWant(messageIDs=wanted), sender_peer_id)

    # --- to whom messages go ----------------------------------------------------------------------

    def _get_peers_to_send(
        self,
        topic_ids: Iterable[str],
        msg_forwarder: ID,
        origin: ID,
        msg_id: bytes | None = None,
    ) -> Iterable[ID]:
        """The mesh; while it is small, a message of our own goes to other subscribers too.

        A node that every peer pruned would otherwise be silent until the back-off ends: its mesh is
        empty, and the library does not announce messages to peers in back-off either.
        """
        topics = tuple(topic_ids)
        chosen = set(super()._get_peers_to_send(topics, msg_forwarder, origin, msg_id))
        if origin == self.pubsub.my_id:
            for topic in topics:
                chosen.update(self._beside_mesh(topic))
        return chosen

    def _beside_mesh(self, topic: str) -> list[ID]:
        """Subscribers outside a mesh of fewer than DEGREE_LOW, to fill it up to DEGREE."""
        mesh = self.mesh.get(topic, set())
        if len(mesh) >= self.degree_low:
            return []
        others = [p for p in self.pubsub.peer_topics.get(topic, ()) if p not in mesh]
        return random.sample(others, min(len(others), self.degree - len(mesh)))

    async def _do_px(self, px_peers: list[Any]) -> None:
        """Does nothing: the peer book decides who is dialled, not a peer that prunes us."""


def _now_ms() -> int:
    return int(trio.current_time() * 1000)
