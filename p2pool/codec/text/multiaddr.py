"""The addresses that agents dial: TCP on a host that is named or numbered, and nothing else.

A multiaddr can say much more than this program can dial: QUIC, websockets, relays, records of names
to look up. Such an address is refused with the reason where a person writes it, and dropped and
counted where a peer says it: kept, it would be an address that nobody ever dials.
Source: the multiaddr specification (multiformats/multiaddr), "Protocols".
"""

import ipaddress
import re

from p2pool.codec.text.peer_id import peer_key_of
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.model.ids import PeerKey

EXAMPLE = "/ip4/203.0.113.7/tcp/4001"
HINT = f"Write it as {EXAMPLE}/p2p/<peer id>."
PEER = "/p2p/"
NAMES = ("dns", "dns4", "dns6")
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_BEYOND = {
    "p2p-circuit": "it goes through a relay, which p2pool does not use",
    "dnsaddr": "p2pool looks up no /dnsaddr records: write /dns/HOST/tcp/PORT",
    **dict.fromkeys(("quic", "quic-v1", "udp"), "p2pool speaks TCP, not UDP or QUIC"),
    **dict.fromkeys(("ws", "wss", "http", "https"), "p2pool speaks plain TCP, no websockets"),
    **dict.fromkeys(("tls", "noise", "webrtc", "webrtc-direct", "webtransport"), "it is not TCP"),
    **dict.fromkeys(("onion", "onion3", "garlic64", "unix"), "p2pool speaks TCP alone"),
}


def host_and_port(address: str) -> tuple[str, str, int] | None:
    """(`ip4`, `ip6`, `dns`..., host, port) of `/<kind>/<host>/tcp/<port>`, None for all else."""
    parts = address.split("/")
    if len(parts) != 5 or parts[0] or parts[3] != "tcp" or not _PORT.fullmatch(parts[4]):
        return None
    kind, host, port = parts[1], parts[2], int(parts[4])
    if port > limits.PORT_MAX or not (_is_name(host) if kind in NAMES else _is_ip(kind, host)):
        return None
    return kind, host, port


def listening(address: str) -> tuple[str, str, int] | None:
    """The same of an address to listen on, which is a number and no name."""
    found = host_and_port(address)
    return None if found is None or found[0] in NAMES else found


def undialable(address: str) -> str | None:
    """Why an address, without its peer, can never be dialled; None if it can."""
    if len(address.encode(errors="replace")) > limits.TEXT_MAX_BYTES:
        return "it is too long"
    found = host_and_port(address)
    if found is None:
        words = address.split("/")[1:]
        beyond = (_BEYOND[word] for word in words if word in _BEYOND)
        return next(beyond, f"it is not of the form {EXAMPLE}")
    kind, host, port = found
    if port == 0:
        return "port 0 is none"
    if kind in NAMES:
        return None
    ip = ipaddress.ip_address(host)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_unspecified or (ip.version == 4 and ip.packed[0] == 0):
        return f"{host} names no machine"
    if ip.is_multicast or ip.packed == b"\xff" * 4:
        return f"{host} is not the address of one machine"
    if ip.version == 6 and ip.is_link_local:
        return f"{host} needs an interface, which an address cannot name"
    return None


def split_peer(text: str) -> tuple[str, PeerKey | None]:
    """An address and the key of the peer that it names, if it does; `Malformed` says what is
    wrong with either."""
    address, named, name = text.partition(PEER)
    why = undialable(address)
    if why is None and (named and "/" in name):
        why = _BEYOND["p2p-circuit"] if "p2p-circuit" in name else "something follows the peer id"
    if why is not None:
        raise Malformed(f"{_shown(text)} can never be dialled: {why}.", hint=HINT)
    if not named:
        return address, None
    try:
        return address, peer_key_of(name)
    except Malformed as error:
        raise Malformed(f"{_shown(text)}: {error.message}", hint=error.hint) from error


def full_address(text: str) -> tuple[str, PeerKey]:
    """An address and its peer's key; `Malformed` says what is wrong or missing."""
    address, peer_key = split_peer(text)
    if peer_key is None:
        raise Malformed(
            f"{_shown(text)} does not end in /p2p/ and a peer id.",
            hint=HINT,
        )
    return address, peer_key


def is_public(address: str) -> bool:
    """Whether machines elsewhere may reach an address: a name, or a global one."""
    found = host_and_port(address.partition(PEER)[0])
    if found is None:
        return False
    return found[0] in NAMES or ipaddress.ip_address(found[1]).is_global


def _is_ip(kind: str, host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    # `%eth0`, which Python takes, is a name of this machine's alone.
    return kind == f"ip{ip.version}" and "%" not in host


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= limits.HOST_NAME_MAX_BYTES and all(map(_LABEL.fullmatch, labels))


def _shown(text: str) -> str:
    cut = text[: limits.REFUSAL_TEXT_MAX_BYTES]
    return repr("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut))
