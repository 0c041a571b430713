"""The rules, as the kernel applies them: in a namespace of the test's own, against a plain oracle.

A datagram that a rule refuses fails at once on the sender's side; others go to a link that nobody
reads. So hundreds of addresses are tried within a moment.
"""

import errno
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pool.dev.engine.namespaces import Namespaces
from p2pool.drivers.containers.docker.networks.egress_filter import Address, Reach, ruleset
from p2pool.model.errors import Misconfigured
from tests.containers.docker.isolation.world import inside

SUBNET = IPv4Network("10.213.0.8/29")
RANGES = (IPv4Network("10.213.0.0/16"), IPv4Network("23.0.0.0/24"))
HOST = frozenset(ip_address(one) for one in ("192.168.5.2", "8.8.4.4", "2a00:1::1"))
NEAR = (
    *("10.213.0.8", "10.213.0.9", "10.213.0.10", "10.213.0.14", "10.213.0.15", "10.213.0.16"),
    *("192.168.5.2", "192.168.5.3", "192.168.6.1", "8.8.4.4", "8.8.8.8", "23.0.0.1", "23.0.1.1"),
    *("169.254.169.254", "169.254.169.253", "100.100.100.200", "100.63.255.255", "100.128.0.0"),
    *("0.0.0.1", "1.0.0.0", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0"),
    *("223.255.255.255", "224.0.0.1", "255.255.255.255", "198.17.255.255", "198.20.0.0"),
    *(
        "2a00:1::1",
        "2a00:1::2",
        "fd00:ec2::254",
        "fe80::5",
        "2002:a00:1::",
        "2001:0:1::",
        "ff02::1",
    ),
    *("64:ff9b::a00:1", "::ffff:10.0.0.1", "::a00:1", "2001:200::1", "2606:4700::1111"),
)

BY_RULES = (errno.EPERM, errno.EACCES, errno.EHOSTUNREACH, errno.ECONNREFUSED)
REFUSED = (*BY_RULES, errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
"""The last three by the kernel itself, before any rule: it knows no way to such a place."""


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespaces]:
    """A namespace with routes to everywhere."""
    if shutil.which("nft") is None:
        pytest.skip("apt-get install -y nftables")
    try:
        made = Namespaces.create()
    except Misconfigured as error:
        pytest.skip(str(error))
    inside(made, "ip", "link", "add", "c0", "type", "veth", "peer", "name", "c1")
    inside(made, "ip", "addr", "add", "10.213.0.10/29", "brd", "+", "dev", "c0")
    inside(made, "ip", "link", "set", "c0", "up")
    inside(made, "ip", "link", "set", "c1", "up")
    inside(made, "ip", "route", "add", "default", "via", "10.213.0.9")
    inside(made, "ip", "neigh", "add", "10.213.0.9", "lladdr", "02:00:00:00:00:01", "dev", "c0")
    inside(made, "ip", "-6", "addr", "add", "2a00:2::2/64", "dev", "c0", "nodad")
    inside(made, "ip", "-6", "route", "add", "default", "dev", "c0")
    yield made
    made.close()


def write(namespace: Namespaces, reach: Reach) -> None:
    """Put the rules in place."""
    enter = ["nsenter", "-t", str(namespace.holder), "-n", "nft", "-f", "-"]
    ran = subprocess.run(enter, input=ruleset(reach), text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr


@attrs.frozen
class Inside:
    """A socket for datagrams of each family, in the namespace, and the number of its link."""

    sockets: Mapping[int, socket.socket]
    link: int

    def passes(self, address: Address, port: int = 99) -> bool:
        """Whether a datagram to there is let out."""
        at = (str(address), port)
        try:
            if address.version == 4:
                self.sockets[4].sendto(b"x", at)
            else:
                near = address.is_link_local or address.is_multicast
                self.sockets[6].sendto(b"x", (*at, 0, self.link if near else 0))
        except OSError as error:
            if error.errno not in REFUSED:
                raise
            return False
        return True


@contextmanager
def standing_in(namespace: Namespaces) -> Iterator[Inside]:
    """Sockets inside, for the length of a block."""
    with namespace.entered():
        made = {
            4: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            6: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        }
        link = socket.if_nametoindex("c0")
    made[4].setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    for one in made.values():
        one.setblocking(False)
    try:
        yield Inside(made, link)
    finally:
        for one in made.values():
            one.close()


def expected(address: Address, opened: tuple[str, ...], host_opened: bool) -> bool:
    """What the owner was promised, without a rule in sight."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return expected(address.ipv4_mapped, opened, host_opened)
    gateway = SUBNET[1]
    if address in HOST or address == gateway:
        return host_opened
    if address == SUBNET.broadcast_address:
        return False
    if address in SUBNET:
        return True
    if any(address in one for one in RANGES):
        return False
    if any(address in ip_network(one) for one in opened):
        return True
    if isinstance(address, IPv4Address):
        special = ("100.64.0.0/10", "192.88.99.0/24", "192.0.0.0/24")
        shared = any(address in ip_network(one) for one in special)
        return address.is_global and not address.is_multicast and not shared
    tunnel = address in ip_network("2002::/16") or address in ip_network("3fff::/20")
    return address in ip_network("2000::/3") and address.is_global and not tunnel


addresses = st.one_of(
    st.sampled_from(NEAR).map(ip_address),
    st.integers(0, 2**32 - 1).map(ip_address),
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
)
openings = st.lists(
    st.sampled_from(("192.168.5.0/24", "10.0.0.0/8", "fc00::/7", "169.254.169.254/32")), unique=True
).map(tuple)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(places=st.lists(addresses, min_size=20, max_size=60), opened=openings, host=st.booleans())
def test_the_kernel_lets_out_what_was_promised(
    namespace: Namespaces, places: list[Address], opened: tuple[str, ...], host: bool
) -> None:
    """Of any addresses, whatever the owner opened."""
    reach = Reach(
        subnet=SUBNET,
        gateway=SUBNET[1],
        ranges=RANGES,
        host=HOST,
        opened=tuple(ip_network(one) for one in opened),
        host_opened=host,
    )
    write(namespace, reach)
    with standing_in(namespace) as copy:
        for one in (*places, *(ip_address(near) for near in NEAR)):
            mapped = one.ipv4_mapped if isinstance(one, IPv6Address) else None
            own = mapped or one
            if own == ip_address("10.213.0.10") or own.is_loopback or own.is_unspecified:
                continue  # The copy itself.
            assert copy.passes(one) == expected(one, opened, host), one


def test_a_resolver_is_asked_for_names_alone(namespace: Namespaces) -> None:
    """Also one at a private address, at the machine's own, or where a cloud keeps its metadata."""
    servers = ("10.0.0.2", "192.168.5.2", "169.254.169.254", "10.213.0.9")
    resolvers = tuple(ip_address(one) for one in servers)
    made = Reach(subnet=SUBNET, gateway=SUBNET[1], ranges=RANGES, host=HOST, resolvers=resolvers)
    write(namespace, made)
    with standing_in(namespace) as copy:
        for one in resolvers:
            assert copy.passes(one, 53)
            assert not copy.passes(one, 80)


def test_a_machine_with_many_addresses_has_rules_of_a_size() -> None:
    """They are handed to nft as one argument, of which the kernel takes 128 KiB."""
    host = frozenset(IPv4Address(0x17000000 + 2 * number) for number in range(4000))
    text = ruleset(Reach(subnet=SUBNET, gateway=SUBNET[1], ranges=RANGES, host=host))
    assert len(text) < 128 * 1024
