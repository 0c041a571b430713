"""What the engine's machine routes, which addresses it has, and whom it asks for names. Pure.

Intuition: an agent may run in a container, or beside an engine on another machine, so its own view
of the network says little. A helper in the network of the engine's machine reads it there; it needs
no rights, and changes nothing.

Invariants: whatever it cannot read is an error, never an empty list.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import attrs

Address = IPv4Address | IPv6Address

LOOK = (
    "/bin/busybox",
    "sh",
    "-c",
    "head -n 1500 /proc/net/route && echo == && ip -o addr && echo == && cat /etc/resolv.conf",
)
PARTS = 3
ROUTE_FIELDS = 8


@attrs.frozen
class HostView:
    """Routes without the default one, addresses without those of loopback and of links (which come
    and go with each container), and the resolvers that others than the machine itself can ask."""

    routes: tuple[IPv4Network, ...]
    addresses: frozenset[Address]
    resolvers: tuple[Address, ...]


def read_view(text: str) -> HostView:
    """From what `LOOK` writes. ValueError: it is something else."""
    parts = text.split("\n==\n")
    if len(parts) != PARTS:
        raise ValueError("it does not have three parts")
    routes, addresses, resolvers = parts
    return HostView(_routes(routes), _addresses(addresses), _resolvers(resolvers))


def _routes(text: str) -> tuple[IPv4Network, ...]:
    """The lines of /proc/net/route: addresses are hexadecimal, in the machine's order of bytes."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < ROUTE_FIELDS:
            raise ValueError(f"{line!r} is not a route")
        target, mask = (int.from_bytes(bytes.fromhex(fields[n])[::-1], "big") for n in (1, 7))
        if mask:
            found.append(IPv4Network((target & mask, mask.bit_count())))
    return tuple(found)


def _addresses(text: str) -> frozenset[Address]:
    """The lines of `ip -o addr`: a number, an interface, a family, an address with its prefix."""
    found = set()
    for line in text.splitlines():
        fields = line.split()
        place = next((n for n, word in enumerate(fields) if word in ("inet", "inet6")), None)
        if place is None:
            continue
        if place + 1 == len(fields):
            raise ValueError(f"{line!r} has no address")
        # A point-to-point interface names its peer behind: `inet 10.8.0.1 peer 10.8.0.2/32`.
        address = ip_address(fields[place + 1].partition("/")[0])
        if not address.is_loopback and not address.is_link_local:
            found.add(address)
    return frozenset(found)


def _resolvers(text: str) -> tuple[Address, ...]:
    found = []
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == ["nameserver"] and len(fields) > 1:
            address = ip_address(fields[1].partition("%")[0])
            if not address.is_loopback and address not in found:
                found.append(address)
    return tuple(found)
