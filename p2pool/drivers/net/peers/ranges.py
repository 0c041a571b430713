"""Ranges of addresses that mean another machine elsewhere: whether a named one may be dialled.

Intuition: 10.0.0.1 is a different machine in each network, and 127.0.0.1 is always oneself. Whoever
names such an address from outside makes this machine dial into its own network, for somebody who
cannot reach it. In a pool of one local network, or of one machine, they are all there is.

Invariants: a global address may be dialled; one of a range that means something else elsewhere only
if this node has an address of that range itself, and a connection within that range is where the
name came from, or its whole pool is local: it has no global address, and nobody that it is
connected with is elsewhere. Addresses that the operator gave are not asked about. A node that
listens nowhere has the ranges in which it reached whom the operator gave.
"""

import ipaddress
from collections.abc import Callable, Iterable

import attrs

from p2pool.codec.text.multiaddr import host_and_port, is_public
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.ids import PeerKey

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address

LOCAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "198.18.0.0/15",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::1/128",
            "::/96",
            "64:ff9b:1::/48",
            "fe80::/10",
            "fec0::/10",
            "fc00::/7",
            "ff00::/8",
        ),
    )
)
"""This machine, loopback, link-local, private, shared between a provider's customers, kept for the
use of networks, and of no single machine. Source: IANA's registries of special-purpose addresses.
"""

IPV4_GROUP_BYTES, IPV6_GROUP_BYTES = 2, 4
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def range_of(host: str) -> str | None:
    """The local range that an address is of; None for a global one, or for a name."""
    try:
        ip = _inner(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None
    return next((str(net) for net in LOCAL if ip.version == net.version and ip in net), None)


def _inner(ip: Ip) -> Ip:
    """The address of IPv4 that one of IPv6 stands for, if it does."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in NAT64:
        return ipaddress.IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour or ip


def group_of(host: str) -> bytes:
    """Whose addresses a host's is likely among: a /16 of IPv4 or a /32 of IPv6, or a local range as
    a whole."""
    local = range_of(host)
    if local is not None:
        return local.encode()
    ip = _inner(ipaddress.ip_address(host.partition("%")[0]))
    return ip.packed[: IPV4_GROUP_BYTES if ip.version == 4 else IPV6_GROUP_BYTES]


def ranges_of(addresses: Iterable[str]) -> frozenset[str]:
    """The local ranges of multiaddrs."""
    hosts = (found[1] for text in addresses if (found := _split(text)) is not None)
    return frozenset(filter(None, map(range_of, hosts)))


def _split(text: str) -> tuple[str, str, int] | None:
    return host_and_port(text.partition("/p2p/")[0])


@attrs.define
class Neighbourhood:
    """What this node may dial. `here`: its own addresses, or where the operator sent it if it has
    none; `hosts`: those of all its connections; `given`: whether the operator gave a peer's."""

    here: Callable[[], tuple[str, ...]]
    hosts: Callable[[], Iterable[str]]
    given: Callable[[PeerKey], bool]
    _near: BoundedDict[PeerKey, frozenset[str]] = attrs.field(
        factory=lambda: BoundedDict(limits.PEER_BOOK_MAX)
    )

    def named(self, peer_key: PeerKey, by: PeerKey, hosts: Iterable[str]) -> None:
        """Addresses of a peer were named over a connection with one of these hosts; by a node that
        the operator gave, as if from within our own ranges."""
        near = frozenset(filter(None, map(range_of, hosts)))
        ranges = ranges_of(self.here()) if self.given(by) else near
        if ranges:
            self._near.renew(peer_key, self._near.get(peer_key, frozenset()) | ranges)

    def may_dial(self, peer_key: PeerKey, target: str) -> bool:
        """Whether to dial a peer at an address, names looked up."""
        found = _split(target)
        local = range_of(found[1]) if found is not None else None
        if local is None or self.given(peer_key):
            return True
        here = self.here()
        if local not in ranges_of(here):
            return False
        near = local in self._near.get(peer_key, frozenset())
        return near or not (any(map(is_public, here)) or None in map(range_of, self.hosts()))
