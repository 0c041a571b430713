"""Which addresses a node dials that somebody named: none in its own network from outside."""

import pytest
import trio

from p2pool.drivers.net.peers.ranges import Neighbourhood, group_of, range_of
from p2pool.model.ids import PeerKey
from tests.net.harness.hosts import running

KEY, GIVEN = PeerKey(b"k" * 32), PeerKey(b"g" * 32)
PUBLIC, LAN, LOOPBACK = "/ip4/8.8.8.8/tcp/1", "/ip4/192.168.1.7/tcp/1", "/ip4/127.0.0.1/tcp/1"


def at(*here: str, hosts: tuple[str, ...] = ()) -> Neighbourhood:
    """A node with these addresses, connected with these hosts."""
    return Neighbourhood(lambda: here, lambda: hosts, lambda peer_key: peer_key == GIVEN)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2",
        "10.1.2.3",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "::7f00:1",
        "192.0.0.8",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "64:ff9b:1::a00:1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_a_local_address_is_dialled_by_nobody_elsewhere(host: str) -> None:
    """However it is written, and where else the asker is; 0.0.0.0 is this machine to Linux, and a
    name may stand for it."""
    assert range_of(host) is not None
    kind = "ip6" if ":" in host else "ip4"
    assert not at(PUBLIC).may_dial(KEY, f"/{kind}/{host}/tcp/1")


def test_a_global_address_or_one_of_the_operator_is_dialled() -> None:
    """Wherever we are."""
    assert at(LAN).may_dial(KEY, PUBLIC)
    assert at(PUBLIC).may_dial(GIVEN, LAN)


def test_a_pool_of_one_network_dials_within_it() -> None:
    """And nowhere else: a node of the local network names no service of this machine."""
    assert at("/ip4/192.168.3.4/tcp/9").may_dial(KEY, LAN)
    assert not at(LAN).may_dial(KEY, LOOPBACK)
    assert at(LOOPBACK).may_dial(KEY, LOOPBACK)
    assert not at(LAN).may_dial(KEY, "/ip4/10.0.0.1/tcp/1")


def test_behind_a_nat_nobody_elsewhere_names_a_neighbour() -> None:
    """Without a global address of its own a node may be at home, in a pool of the whole world."""
    assert at(LAN, hosts=("192.168.1.4",)).may_dial(KEY, LAN)
    assert not at(LAN, hosts=("192.168.1.4", "8.8.8.8")).may_dial(KEY, LAN)


def test_who_is_reached_from_elsewhere_too_goes_by_where_the_name_came_from() -> None:
    """A neighbour may name neighbours; from outside only a node that the operator gave may."""
    ours = at(PUBLIC, LAN)
    assert not ours.may_dial(KEY, LAN)
    ours.named(KEY, KEY, ("203.0.113.9",))
    assert not ours.may_dial(KEY, LAN)
    ours.named(KEY, KEY, ("192.168.1.200",))
    assert ours.may_dial(KEY, LAN)
    other = PeerKey(b"o" * 32)
    ours.named(other, GIVEN, ("203.0.113.9",))
    assert ours.may_dial(other, LAN)
    assert not ours.may_dial(other, LOOPBACK)


def test_a_group_of_addresses_is_what_one_customer_may_well_have() -> None:
    """And a local range as a whole."""
    assert group_of("8.8.4.4") == group_of("8.8.200.1") != group_of("8.9.4.4")
    assert group_of("2001:db8:1::1") == group_of("2001:db8:2::1") != group_of("2001:db9::1")
    assert group_of("10.0.0.1") == group_of("10.200.0.1") != group_of("192.168.0.1")
    assert group_of("::ffff:8.8.4.4") == group_of("8.8.4.4")


async def test_who_listens_nowhere_is_where_its_operator_sent_it() -> None:
    """A guest of a pool of one network, as validators are, dials whom the node names that it was
    given, and finds it."""
    with trio.fail_after(30):
        async with running(1) as given, running(2) as named:
            bootstrap = given.network.addresses()
            async with running(3, listen=(), bootstrap=bootstrap) as guest:
                await guest.wait(lambda: guest.network.standing(given.key) is not None)
                guest.network.learn(named.key, named.network.addresses(), given.key)
                await guest.wait(lambda: guest.network.standing(named.key) is not None)
