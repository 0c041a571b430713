"""Converts between keys, peer ids and multiaddrs, and checks listen addresses.

The peer id of an Ed25519 key contains the key (identity multihash), so nothing needs a look-up. The
library listens with SO_REUSEPORT: two agents of one user could listen on the same port and share
its connections at random, without an error. So we try a port with a plain socket first.
"""

import ipaddress
import re
import socket

import psutil
import trio
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from p2pool.codec.text.multiaddr import (
    full_address,
    host_and_port,
    is_public,
    listening,
    split_peer,
)
from p2pool.drivers.net.events import KnownPeer
from p2pool.model.errors import Malformed, Misconfigured, PortTaken
from p2pool.model.ids import PEER_KEY_BYTES, PeerKey
from p2pool.model.limits import ADDRESSES_MAX

_EXAMPLE = "/ip4/0.0.0.0/tcp/4001"
OWN_BRIDGES = re.compile(
    r"(docker|veth|virbr|podman|cni|lxcbr|lxdbr|flannel|cali)|br-[0-9a-f]{12}$"
)
"""How interfaces are named that lead to containers and virtual machines of this machine alone."""


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
    try:
        address, peer_key = full_address(text)
    except Malformed as error:
        raise Misconfigured(error.message, hint=error.hint) from error
    return KnownPeer(peer_key, (address,))


def announced(addresses: tuple[str, ...], peer_key: PeerKey) -> tuple[str, ...]:
    """Addresses to announce, each with our peer id. Misconfigured: one that can never be dialled,
    or that names another peer, to whom nobody would get through."""
    told = []
    for text in addresses:
        try:
            address, named = split_peer(text)
        except Malformed as error:
            raise Misconfigured(f"[network] announce: {error.message}", hint=error.hint) from error
        if named not in (None, peer_key):
            raise Misconfigured(
                f"[network] announce names another peer than this one: {text}.",
                hint=f"This one is {peer_id_of(peer_key)}; the /p2p/ end may be left out.",
            )
        told.append(f"{address}/p2p/{peer_id_of(peer_key)}")
    return tuple(dict.fromkeys(told))


def dialable_of(peer_key: PeerKey, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """A peer's addresses as the peer book keeps them, without those that can never be dialled, and
    those that name another peer."""
    kept = []
    for text in addresses[: 2 * ADDRESSES_MAX]:
        try:
            address, named = split_peer(text)
        except Malformed:
            continue
        if named in (None, peer_key):
            kept.append(address)
    return tuple(dict.fromkeys(kept))[:ADDRESSES_MAX]


def check_listen_addresses(addresses: tuple[str, ...]) -> tuple[Multiaddr, ...]:
    """Multiaddrs to listen on. Misconfigured: malformed. PortTaken: one is in use."""
    parsed = []
    for address in addresses:
        split = listening(address)
        if split is None:
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

    Public ones come first; at most ADDRESSES_MAX.
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
    ordered = sorted(dict.fromkeys(expanded), key=lambda text: not is_public(text))
    return tuple(ordered[:ADDRESSES_MAX])


def _interface_addresses(kind: str) -> list[str]:
    """Addresses of this machine's interfaces of one family, in the system's order.

    Loopback, link-local addresses and the bridges of containers mean another machine, or none,
    elsewhere: they are left out, loopback unless there is nothing else.
    """
    family = socket.AF_INET if kind == "ip4" else socket.AF_INET6
    states = psutil.net_if_stats()
    found = [
        ipaddress.ip_address(entry.address)
        for name, entries in psutil.net_if_addrs().items()
        if not OWN_BRIDGES.match(name) and (name not in states or states[name].isup)
        for entry in entries
        if entry.family == family and "%" not in entry.address
    ]
    usable = [ip for ip in found if not (ip.is_link_local or ip.is_loopback)]
    return [str(ip) for ip in usable or [ip for ip in found if ip.is_loopback]]


def is_numbered(address: str) -> bool:
    """Whether an address is dialled without looking anything up."""
    split = host_and_port(address)
    return split is not None and split[0] in ("ip4", "ip6")


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
