"""What a neighbour's gossip may cost: looked at in the order of what looking costs.

Intuition: gossip comes from two peers at once. Its *origin* signed it, and its *forwarder* handed
it to us. An origin that is a member is held to its own rate, whoever forwards it: so an honest
relay, through which a whole pool may come, is not blamed for what its origins say, and who floods
uses up his own turn alone. Keys cost nothing, so origins that we do not know are held to a rate
together, at the cost of their forwarder; and nobody honest forwards a signature that does not
verify, so who does a few times is not listened to for a while. What a forwarder repeats is the
cheapest, and is bounded by the number of messages.

Invariants: all bounds come before the first signature; an origin pays only for what it signed, so
nobody can use up another's rate; what is refused for a rate is not remembered as seen, so that it
may still come from somebody else.
Source: docs/design/messages.md, "What a peer may cost".
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import trio
from libp2p.pubsub.validators import signature_validator

from p2pool.model import limits
from p2pool.model.bounded_tables import TokenBuckets
from p2pool.model.ids import PEER_KEY_BYTES, SIGNATURE_BYTES, PeerKey
from p2pool.model.messages.registry import Channel

ED25519_ID = bytes.fromhex("002408011220")
"""The bytes before the key in a peer id of an Ed25519 key, the only kind that agents have."""

SEQUENCE_MAX_BYTES = 8


class GossipIntake:
    """Judges what neighbours hand on, for one node."""

    def __init__(
        self,
        topics: Mapping[str, Channel],
        *,
        knows_origin: Callable[[PeerKey], bool],
        check_gossip: Callable[[Channel, bytes], bool],
        counters: Counter[str],
    ) -> None:
        """`knows_origin`: whether a key is a member's; the wrong answer costs a rate, no more."""
        self._topics = topics
        self._knows_origin = knows_origin
        self._check_gossip = check_gossip
        self._counters = counters
        self._handed = TokenBuckets(
            limits.GOSSIP_PER_FORWARDER_PER_S,
            limits.GOSSIP_PER_FORWARDER_BURST,
            limits.CONNECTIONS_MAX,
        )
        self._forged = TokenBuckets(
            limits.GOSSIP_FORGED_PER_S, limits.GOSSIP_FORGED_BURST, limits.CONNECTIONS_MAX
        )
        self._unknown = TokenBuckets(
            limits.GOSSIP_UNKNOWN_PER_S, limits.GOSSIP_UNKNOWN_BURST, limits.CONNECTIONS_MAX
        )
        self._origins = TokenBuckets(
            limits.GOSSIP_PER_ORIGIN_PER_S, limits.GOSSIP_PER_ORIGIN_BURST, limits.MEMBERS_MAX
        )

    def is_heard(self, forwarder: bytes) -> bool:
        """Whether one more message of a forwarder is looked at, known or not; it counts."""
        now_ms = _now_ms()
        if self._forged.indebted(forwarder, now_ms):
            return self._refuse("forger")
        return self._handed.admit(forwarder, now_ms) or self._refuse("forwarder")

    def may_check(self, forwarder: bytes, message: Any) -> bool:
        """Whether the signatures of a message that is new may cost us what they do."""
        origin = self._origin_of(message)
        if origin is None:
            self._forged.charge(forwarder, _now_ms(), 1)
            return self._refuse("form")
        if self._knows_origin(origin):
            return not self._origins.indebted(origin, _now_ms()) or self._refuse("rate")
        cost = _cost(message)
        return self._unknown.admit(forwarder, _now_ms(), cost) or self._refuse("unknown")

    def is_signed(self, forwarder: bytes, message: Any) -> bool:
        """Whether its origin signed a message: then the origin pays, else the forwarder."""
        if not signature_validator(message):
            self._forged.charge(forwarder, _now_ms(), 1)
            return self._refuse("signature")
        origin = self._origin_of(message)
        assert origin is not None
        self._origins.charge(origin, _now_ms(), _cost(message))
        return True

    def is_passed_on(self, message: Any) -> bool:
        """Whether a signed message is one that this pool's members may have sent; it always is, or
        it never is."""
        channel = self._topics[message.topicIDs[0]]
        return self._check_gossip(channel, message.data) or self._refuse("check")

    def _origin_of(self, message: Any) -> PeerKey | None:
        """Who is said to have signed a message; None if it has not the form of ours."""
        topics, origin = message.topicIDs, message.from_id
        well_formed = (
            len(topics) == 1
            and topics[0] in self._topics
            and len(message.data) <= limits.GOSSIP_MESSAGE_MAX_BYTES
            and len(message.seqno) <= SEQUENCE_MAX_BYTES
            and len(message.signature) == SIGNATURE_BYTES
            and len(origin) == len(ED25519_ID) + PEER_KEY_BYTES
            and origin.startswith(ED25519_ID)
        )
        return PeerKey(origin[len(ED25519_ID) :]) if well_formed else None

    def _refuse(self, why: str) -> bool:
        self._counters[f"gossip_refused_{why}"] += 1
        return False


def _cost(message: Any) -> int:
    """What a message costs its budget: a long one as much as several."""
    return 1 + len(message.data) // limits.GOSSIP_COST_BYTES


def _now_ms() -> int:
    return int(trio.current_time() * 1000)
