"""What can never be dialled is known as that, with a reason that a person can act on."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.codec.text.multiaddr import full_address, host_and_port, split_peer, undialable
from p2pool.codec.text.peer_id import peer_id
from p2pool.model.errors import Malformed
from p2pool.model.ids import PeerKey

KEY = PeerKey(b"k" * 32)
PEER = peer_id(KEY)

DIALABLE = (
    *("/ip4/203.0.113.7/tcp/4001", "/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/65535"),
    *("/ip6/2001:db8::1/tcp/4001", "/ip6/::1/tcp/4001", "/dns/pool.example/tcp/4001"),
    *("/dns4/a.example./tcp/1", "/dns6/localhost/tcp/1", "/dns/xn--nxasmq6b/tcp/4001"),
)
UNDIALABLE = {
    "": "form",
    "4001": "form",
    "/ip4/203.0.113.7": "form",
    "/ip4/203.0.113.7/tcp/4001/": "form",
    "/ip4/203.0.113.7/tcp/0": "port 0",
    "/ip4/203.0.113.7/tcp/00": "port 0",
    "/ip4/203.0.113.7/tcp/65536": "form",
    "/ip4/203.0.113.7/tcp/٤": "form",
    "/ip4/0.0.0.0/tcp/4001": "names no machine",
    "/ip6/::/tcp/4001": "names no machine",
    "/ip4/0.0.0.7/tcp/4001": "names no machine",
    "/ip6/::ffff:0.0.0.0/tcp/4001": "names no machine",
    "/ip6/::ffff:224.0.0.1/tcp/4001": "not the address of one machine",
    "/ip6/::ffff:255.255.255.255/tcp/4001": "not the address of one machine",
    "/ip4/224.0.0.1/tcp/4001": "not the address of one machine",
    "/ip4/255.255.255.255/tcp/4001": "not the address of one machine",
    "/ip6/ff02::1/tcp/4001": "not the address of one machine",
    "/ip6/fe80::1/tcp/4001": "needs an interface",
    "/ip6/fe80::1%eth0/tcp/4001": "form",
    "/ip4/::1/tcp/4001": "form",
    "/ip4/203.0.113.7/udp/4001/quic-v1": "UDP or QUIC",
    "/ip4/203.0.113.7/tcp/4001/ws": "no websockets",
    "/ip4/203.0.113.7/tcp/443/tls/ws": "TCP",
    "/dns4/pool.example/tcp/443/wss": "no websockets",
    "/dnsaddr/bootstrap.libp2p.io": "/dns/HOST/tcp/PORT",
    "/dns//tcp/4001": "form",
    "/dns/-a.example/tcp/4001": "form",
    "/dns/a b/tcp/4001": "form",
    "/dns/" + "a." * 200 + "b/tcp/1": "form",
    "/onion3/abc:80": "TCP",
    "/ip4/203.0.113.7/tcp/4001/p2p-circuit": "relay",
    "/ip4/" + "1" * 5000 + "/tcp/1": "too long",
}


@pytest.mark.parametrize("text", DIALABLE)
def test_what_can_be_dialled_passes_with_and_without_its_peer(text: str) -> None:
    """Names, numbers of both kinds, private ones too: a pool may live in one network."""
    assert undialable(text) is None
    assert split_peer(text) == (text, None)
    assert full_address(f"{text}/p2p/{PEER}") == (text, KEY)


@pytest.mark.parametrize(("text", "why"), UNDIALABLE.items())
def test_what_cannot_is_refused_with_the_reason(text: str, why: str) -> None:
    """Whether or not it names a peer."""
    for written in (text, f"{text}/p2p/{PEER}"):
        with pytest.raises(Malformed, match=why):
            full_address(written)


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("", "does not end in /p2p/"),
        ("/p2p/", "Not the peer id"),
        ("/p2p/Qm123", "Not the peer id"),
        ("/p2p/0OIl", "not base58"),
        (f"/p2p/ {PEER}", "white space|not base58"),
        (f"/p2p/{PEER}/p2p-circuit/p2p/{PEER}", "relay"),
        (f"/p2p/{PEER}/", "follows the peer id"),
        (f"/p2p/{PEER}/p2p/{PEER}", "follows the peer id"),
    ],
)
def test_a_peer_that_is_none_or_that_more_follows_is_refused(end: str, why: str) -> None:
    """A relayed address names its peer last, and a relay first."""
    with pytest.raises(Malformed, match=why):
        full_address("/ip4/203.0.113.7/tcp/4001" + end)


@given(st.text(alphabet="/ip46dnstcp0123:.abf\0é ", max_size=60) | st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    """And what passes has a host and a port."""
    with suppress(Malformed):
        address, _ = split_peer(text)
        assert host_and_port(address) is not None
