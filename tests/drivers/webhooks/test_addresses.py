"""Nothing is sent to an address that is not of the public internet, however it is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.webhooks.addresses import is_private


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:1::1",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "not an address",
        "",
    ],
)
def test_private_addresses(address: str) -> None:
    """Loopback, a site's, a link's, a cloud's metadata, IPv4 inside IPv6, and what is none."""
    assert is_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "172.32.0.1", "100.63.255.255", "2606:4700::1111"])
def test_public_addresses(address: str) -> None:
    """Those beside them are the public internet's."""
    assert not is_private(address)


@given(st.ip_addresses(v=4))
def test_no_form_of_ipv6_opens_what_ipv4_has_not(address: object) -> None:
    """An address of IPv4 that is private stays so inside IPv6."""
    if is_private(str(address)):
        assert is_private(f"::ffff:{address}")
        assert is_private(f"64:ff9b::{address}")
        assert is_private(f"::{address}")
