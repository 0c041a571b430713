"""Which addresses somebody surely has together: what a bound per address is a bound on.

Intuition: addresses cost something, but not each of them. Whoever has one IPv6 address has 2^64,
and often 2^80; whoever rents IPv4 addresses rents neighbours. So a bound stands per address, and a
wider one per network of neighbours. Whom many knocks come from is told by a broad one: what one
provider rents out lies in few of those.

Invariants: loopback is a group like any other, and so is whoever comes from no address.
Source: docs/design/messages.md, "What a peer may cost".
"""

import ipaddress

import attrs

NARROW_BITS = {4: 32, 6: 64}
WIDE_BITS = {4: 24, 6: 48}
BROAD_BITS = {4: 16, 6: 32}


@attrs.frozen
class AddressGroups:
    """`narrow`: one IPv4 address, a /64 of IPv6; `wide`: a /24, a /48; `broad`: a /16, a /32."""

    narrow: bytes
    wide: bytes
    broad: bytes


NOWHERE = AddressGroups(b"", b"", b"")
"""The groups of whoever comes from no address that we can read."""


def groups_of(host: str) -> AddressGroups:
    """The groups of a numbered host; an IPv4 address is one however it is written."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return NOWHERE
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    version, packed = address.version, address.packed
    return AddressGroups(
        *(
            bytes([version, bits[version]]) + packed[: bits[version] // 8]
            for bits in (NARROW_BITS, WIDE_BITS, BROAD_BITS)
        )
    )
