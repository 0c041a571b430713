"""The network of the engine's machine, read from what its kernel and its tools write."""

from ipaddress import IPv4Network, ip_address

import pytest

from p2pool.drivers.containers.docker.networks.host_view import read_view

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t0000D50A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
ADDRESSES = r"""1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever
1: lo    inet6 ::1/128 scope host \       valid_lft forever preferred_lft forever
2: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\    valid_lft forever
2: eth0    inet6 fe80::1/64 scope link \       valid_lft forever preferred_lft forever
5: tun0    inet 10.8.0.1 peer 10.8.0.2/32 scope global tun0\       valid_lft forever
6: vxlan@eth0    inet 100.64.0.1/32 scope global vxlan\       valid_lft forever
"""
NAMES = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver fe80::2%eth0\n"


def test_routes_addresses_and_resolvers_are_read() -> None:
    """Without the default route, loopback, and a resolver that only the machine itself can ask."""
    view = read_view("\n==\n".join((ROUTES.rstrip(), ADDRESSES.rstrip(), NAMES)))
    assert view.routes == (IPv4Network("192.0.2.0/24"), IPv4Network("10.213.0.0/16"))
    named = ("192.0.2.2", "10.8.0.1", "100.64.0.1")
    assert view.addresses == {ip_address(one) for one in named}
    assert view.resolvers == (ip_address("10.0.0.2"), ip_address("fe80::2"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ROUTES,
        f"{ROUTES}\n==\n",
        "head: no such file\nno\n==\nx\n==\ny",
        f"{ROUTES}eth0\tzz\t0\t0\t0\t0\t0\tzz\n==\n{ADDRESSES}\n==\n{NAMES}",
        f"{ROUTES}\n==\n2: eth0 inet nonsense\n==\n{NAMES}",
        f"{ROUTES}\n==\n{ADDRESSES}\n==\nnameserver nonsense",
    ],
)
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    """Never an empty view, under which everything would be free and open."""
    with pytest.raises(ValueError):
        read_view(text)
