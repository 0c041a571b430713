"""The rules of one copy's network namespace, as text for `nft`. Pure.

Intuition: a copy is a stranger's program in its provider's network. It may talk to the copies of
its own task, to the resolver, and to the public internet; not to the machine under it, nor to that
machine's other tasks, its neighbours, or the metadata service of a cloud. The rules stand in the
copy's own namespace, where it has no right to change them, and nothing is changed on the host.

Invariants: the rules are replaced in one step, so no moment is without them. What the owner opens
never opens the networks of other tasks, and the machine itself only by the word `host`. A copy can
be reached by its own task and at the ports that it publishes.
Source: RFC 6890 and the IANA special-purpose registries; nft(8).
"""

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_network,
)

import attrs

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

TABLE = "p2pool"
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""What `private` opens: the networks of a site."""
BLOCKED4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",  # Also the metadata services of clouds.
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
BLOCKED6 = (
    "::/3",  # All but 2000::/3, the part of the public internet: loopback, IPv4 in other forms,
    "4000::/2",  # translators, the networks of a site and of a link, groups.
    "8000::/1",
    "2001::/23",  # Tunnels and other protocols.
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
)
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
NEIGHBOURS = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert"
NUMBER_OF = {"tcp": TCP, "udp": UDP}


@attrs.frozen(kw_only=True)
class Reach:
    """What a copy's rules follow from. `ranges`: those of all tasks' networks. `opened`: what the
    owner lets tasks reach beside the public internet. `published`: ports inside, with `tcp` or
    `udp`."""

    subnet: IPv4Network
    gateway: IPv4Address
    ranges: tuple[IPv4Network, ...]
    host: frozenset[Address]
    resolvers: tuple[Address, ...] = ()
    opened: tuple[Network, ...] = ()
    host_opened: bool = False
    published: tuple[tuple[int, str], ...] = ()


def ruleset(reach: Reach) -> str:
    """The whole table, which replaces an earlier one."""
    lines = [
        f"table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"table inet {TABLE} {{",
        "chain refuse {",
        f"meta l4proto {TCP} reject with tcp reset",
        "reject with icmpx admin-prohibited",
        "}",
        "chain output {",
        "type filter hook output priority filter; policy accept;",
        *_output(reach),
        "}",
        "chain input {",
        "type filter hook input priority filter; policy drop;",
        *_input(reach),
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _output(reach: Reach) -> list[str]:
    machine = [*reach.host, reach.gateway]
    return [
        'oifname "lo" accept',
        "ct state established accept",
        f"ct state related meta l4proto {{ {ICMP}, {ICMP6} }} accept",
        *_each(reach.resolvers, f"meta l4proto {{ {TCP}, {UDP} }} th dport 53 accept"),
        *_each(machine if reach.host_opened else (), "accept"),
        *_each([reach.gateway, reach.subnet.broadcast_address], "jump refuse"),
        *_each([reach.subnet], "accept"),
        *_each(reach.ranges, "jump refuse"),
        *_each(reach.host, "jump refuse"),
        *_each(reach.opened, "accept"),
        f"icmpv6 type {{ {NEIGHBOURS} }} accept",
        *_each([IPv4Network(one) for one in BLOCKED4], "jump refuse"),
        *_each([IPv6Network(one) for one in BLOCKED6], "jump refuse"),
    ]


def _input(reach: Reach) -> list[str]:
    lines = [
        'iifname "lo" accept',
        "ct state established accept",
        f"ct state related meta l4proto {{ {ICMP}, {ICMP6} }} accept",
        f"icmpv6 type {{ {NEIGHBOURS} }} accept",
    ]
    # The engine's own proxy for published ports speaks from the gateway's address.
    lines += [
        f"meta l4proto {NUMBER_OF[protocol]} th dport {port} accept"
        for port, protocol in sorted(reach.published)
    ]
    lines += [
        f"ip saddr {reach.gateway} drop",
        f"ip saddr {reach.subnet} accept",
    ]
    return lines


def _each(targets: Iterable[Address | Network], verdict: str) -> list[str]:
    """One rule for all destinations of a family. nft takes no sets with overlapping parts."""
    networks = [ip_network(one) for one in targets]
    four = collapse_addresses([one for one in networks if isinstance(one, IPv4Network)])
    six = collapse_addresses([one for one in networks if isinstance(one, IPv6Network)])
    return [
        f"{family} daddr {{ {', '.join(found)} }} {verdict}"
        for family, found in (
            ("ip", [str(one) for one in four]),
            ("ip6", [str(one) for one in six]),
        )
        if found
    ]
