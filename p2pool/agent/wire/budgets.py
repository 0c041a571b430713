"""What peers may say, and have verified, in a while: every bucket of the way in.

Intuition: a member has a stake, so a budget of its own is a bound on it. A guest has nothing, and
may be a thousand guests: a budget of its own bounds nobody. So guests share one budget, of which an
address, and a neighbourhood of addresses, gets a part. But then one guest could use up what all of
them have, and nobody new would be heard. So each guest has a little for sure: a hello and a few
questions, which is all that an honest one needs. How many have that at a time is bounded by the
slots of the host, how often somebody new does by the rate of connections.

Invariants: all is charged before the first signature is checked; what is refused is charged to
nobody else; members never pay for guests. Budgets are a key's, and outlive its connections.
Source: docs/design/messages.md, "What a peer may cost".
"""

from collections.abc import Iterable

from p2pool.codec.text.multiaddr import host_and_port
from p2pool.drivers.net.host.address_groups import NOWHERE, AddressGroups, groups_of
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict, TokenBuckets
from p2pool.model.ids import PeerKey

ALL = b""


def bucket(name: str) -> TokenBuckets:
    """One bucket for each peer: `<name>_PER_S` and `<name>_BURST` of the limits."""
    per_s, burst = (getattr(limits, f"{name}_{part}") for part in ("PER_S", "BURST"))
    return TokenBuckets(per_s, burst, limits.PEERS_TRACKED_MAX)


class GuestBudget:
    """What guests may cost, in checks of a signature."""

    def __init__(self) -> None:
        """Everything is left."""
        self._sure = bucket("GUEST_CHECKS_SURE")
        self._address = bucket("GUEST_CHECKS_ADDRESS")
        self._network = bucket("GUEST_CHECKS_NETWORK")
        self._all = bucket("GUEST_CHECKS_ALL")
        self._groups: BoundedDict[PeerKey, AddressGroups] = BoundedDict(limits.CONNECTIONS_MAX)

    def connected(self, peer_key: PeerKey, addresses: Iterable[str]) -> None:
        """A peer connected, from or to these addresses."""
        found = next(filter(None, map(host_and_port, addresses)), None)
        self._groups.renew(peer_key, groups_of(found[1]) if found is not None else NOWHERE)

    def disconnected(self, peer_key: PeerKey) -> None:
        """A peer is gone; what it used up stays used up."""
        self._groups.pop(peer_key, None)

    def admit(self, peer_key: PeerKey, cost: int, now_ms: int) -> bool:
        """Whether a guest may cost so much more; if so, it counts."""
        if self._sure.admit(peer_key, now_ms, cost):
            return True
        groups = self._groups.get(peer_key, NOWHERE)
        shares = (
            (self._address, groups.narrow),
            (self._network, groups.wide),
            (self._all, ALL),
        )
        if not all(share.affords(key, now_ms, cost) for share, key in shares):
            return False
        for share, key in shares:
            share.charge(key, now_ms, cost)
        return True
