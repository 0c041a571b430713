"""Converts between keys, peer ids and multiaddrs, and checks listen addresses.

The peer id of an Ed25519 key contains the key (identity multihash), so nothing needs a look-up. The
library listens with SO_REUSEPORT: two agents of one user could listen on the same port and share
its connections at random, without an error. So we try a port with a plain socket first.
"""

import ipaddress
import socket

import psutil
import trio
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from p2pool.drivers.net.events import KnownPeer
from p2pool.model.errors import Misconfigured, PortTaken
from p2pool.model.ids import PEER_KEY_BYTES, PeerKey
from p2pool.model.limits import ADDRESSES_MAX

_EXAMPLE = "/ip4/0.0.0.0/tcp/4001"


def peer_id_of(peer_key: PeerKey) -> ID:
    """A key's libp2p peer id."""
    return ID.from_pubkey(Ed25519PublicKey.from_bytes(peer_key))


def peer_key_of(peer_id: ID) -> PeerKey | None:
    """The Ed25519 key in a peer id; None for another kind of key, which no agent has."""
    try:
        key = peer_id.extract_public_key()
    except ValueError:
        return None
    if not isinstance(key, Ed25519PublicKey):
        return None
    raw = bytes(key.to_bytes())
    return PeerKey(raw) if len(raw) == PEER_KEY_BYTES else None


def parse_full_address(text: str) -> KnownPeer:
    """`/ip4/1.2.3.4/tcp/4001/p2p/12D3...` as key and address; Misconfigured says what is wrong."""
    address, separator, name = text.partition("/p2p/")
    hint = f"Write it as {_EXAMPLE}/p2p/<peer id>."
    if not separator:
        raise Misconfigured(f"{text!r} does not end in /p2p/ and a peer id.", hint=hint)
    try:
        peer_key = peer_key_of(ID.from_base58(name))
        Multiaddr(address)
    except (ValueError, MultiaddrError) as error:
        raise Misconfigured(f"{text!r} is not a multiaddr.", hint=hint) from error
    if peer_key is None:
        raise Misconfigured(f"The peer id in {text!r} is not that of an Ed25519 key.", hint=hint)
    return KnownPeer(peer_key, (address,))


def without_peer_id(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses as the peer book keeps them; anything but a multiaddr with TCP is left out."""
    kept = []
    for text in addresses[: 2 * ADDRESSES_MAX]:
        address = text.partition("/p2p/")[0]
        if host_and_port(address) is not None:
            kept.append(address)
    return tuple(kept[:ADDRESSES_MAX])


def host_and_port(address: str) -> tuple[str, str, int] | None:
    """(`ip4`, `ip6`, `dns`..., host, port) of `/<kind>/<host>/tcp/<port>`, None for all else."""
    parts = address.split("/")
    if len(parts) != 5 or parts[0] or parts[3] != "tcp":
        return None
    kind, host, port = parts[1], parts[2], parts[4]
    if kind not in ("ip4", "ip6", "dns", "dns4", "dns6") or not port.isdecimal():
        return None
    if kind in ("ip4", "ip6"):
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            return None
        if version != int(kind[-1]):
            return None
    number = int(port)
    return (kind, host, number) if number < 65536 else None


def check_listen_addresses(addresses: tuple[str, ...]) -> tuple[Multiaddr, ...]:
    """Multiaddrs to listen on. Misconfigured: malformed. PortTaken: one is in use."""
    parsed = []
    for address in addresses:
        split = host_and_port(address)
        if split is None or split[0] not in ("ip4", "ip6"):
            raise Misconfigured(
                f"{address!r} is not an address to listen on.", hint=f"Write it as {_EXAMPLE}."
            )
        _try_to_bind(address, *split)
        parsed.append(Multiaddr(address))
    return tuple(parsed)


def _try_to_bind(address: str, kind: str, host: str, port: int) -> None:
    """Bind and release, without SO_REUSEPORT (see above)."""
    family = socket.AF_INET if kind == "ip4" else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise port_taken(address, error.strerror or str(error)) from error


def port_taken(address: str, reason: str) -> PortTaken:
    """The error for an address on which this node cannot listen."""
    split = host_and_port(address)
    return PortTaken.at(address, split[2] if split else 0, reason)


def expand_wildcards(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses that others can dial: 0.0.0.0 and :: become those of the interfaces.

    Loopback comes last, link-local addresses are left out; at most ADDRESSES_MAX.
    """
    expanded: list[str] = []
    for address in addresses:
        split = host_and_port(address)
        if split is None:
            continue
        kind, host, port = split
        if host not in ("0.0.0.0", "::"):
            expanded.append(address)
            continue
        expanded.extend(f"/{kind}/{ip}/tcp/{port}" for ip in _interface_addresses(kind))
    ordered = sorted(dict.fromkeys(expanded), key=lambda text: "/127." in text or "/::1/" in text)
    return tuple(ordered[:ADDRESSES_MAX])


def _interface_addresses(kind: str) -> list[str]:
    """Addresses of this machine's interfaces of one family, in the system's order."""
    family = socket.AF_INET if kind == "ip4" else socket.AF_INET6
    return [
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == family and not ipaddress.ip_address(entry.address).is_link_local
    ]


async def resolve(address: str) -> tuple[Multiaddr, ...]:
    """An address as addresses that TCP can dial, with names looked up. OSError: no such name."""
    split = host_and_port(address)
    if split is None:
        return ()
    kind, host, port = split
    if kind in ("ip4", "ip6"):
        return (Multiaddr(address),)
    family = {"dns4": socket.AF_INET, "dns6": socket.AF_INET6}.get(kind, socket.AF_UNSPEC)
    found = await trio.socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    texts = [
        f"/{'ip4' if entry[0] == socket.AF_INET else 'ip6'}/{entry[4][0]}/tcp/{port}"
        for entry in found
    ]
    return tuple(Multiaddr(text) for text in dict.fromkeys(texts))
