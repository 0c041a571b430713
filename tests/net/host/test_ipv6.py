"""A peer that comes over IPv6 comes from an address, as any other does."""

import socket

import pytest
import trio

from p2pool.drivers.net.events import PeerConnected
from p2pool.drivers.net.host.address_groups import groups_of
from p2pool.drivers.net.reachability.dial_back import ask, listening
from tests.net.harness.hosts import Node, introduce, listening_at, running, wait_members

LOOPBACK = ("/ip6/::1/tcp/0",)
ANYWHERE = ("/ip6/::/tcp/0",)


def comes_from(node: Node, peer: Node) -> tuple[str, ...]:
    """The addresses with which a peer's connection was reported."""
    events = (event for event in node.seen if isinstance(event, PeerConnected))
    return next(event.addresses for event in events if event.peer_key == peer.key)


@pytest.mark.parametrize(
    ("listen", "kind", "host"), [(LOOPBACK, "ip6", "::1"), (ANYWHERE, "ip4", "127.0.0.1")]
)
async def test_a_peer_has_the_address_that_it_comes_from(
    listen: tuple[str, ...], kind: str, host: str
) -> None:
    """Its slot, its budgets and what it names depend on that; one of IPv4 is one, on a socket of
    both too."""
    ours = (f"/{kind}/{host}/tcp/0",)
    with trio.fail_after(10):
        async with running(1, listen=listen) as one, running(2, listen=ours) as two:
            port = listening_at(one)[0].rpartition("/")[2]
            two.network.learn(one.key, (f"/{kind}/{host}/tcp/{port}",))
            await wait_members(one, two)
            assert one.network.hosts_of(two.key) == (host,)
            assert two.network.hosts_of(one.key) == (host,)
            assert [text.split("/")[2] for text in comes_from(one, two)] == [host]
            door = one.network._host.get_network().door
            assert [slot.groups for slot in door._streams] == [groups_of(host)]


async def test_a_peer_is_dialled_back_over_ipv6() -> None:
    """The host that asks is known, so whether it is reached can be told."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = free.getsockname()[1]
    with trio.fail_after(10):
        async with running(1, listen=LOOPBACK) as one, running(2, listen=LOOPBACK) as two:
            introduce(two, one)
            await wait_members(one, two)
            peer_id = one.network._host.get_id()
            async with listening((f"/ip6/::1/tcp/{port}",)) as here:
                assert await ask(two.network._host, peer_id, here, port) is True
