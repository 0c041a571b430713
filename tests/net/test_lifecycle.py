"""Connections on real hosts: coming back, going on without bootstrap, breaking, shutting down."""

import socket
from contextlib import suppress

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.rsa import create_new_key_pair as create_rsa_key_pair
from libp2p.network.exceptions import SwarmException
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

from p2pool.codec.text.multiaddr import host_and_port
from p2pool.drivers.net.events import FrameReceived, KnownPeer
from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.drivers.net.peers.addresses import dialable_of, peer_id_of
from p2pool.model.errors import Misconfigured, PortTaken
from p2pool.model.limits import SHUTDOWN_DEADLINE_MS
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import (
    Node,
    echo_lines,
    everyone_is_a_member,
    introduce,
    listening_at,
    running,
    wait_members,
)


async def test_addresses_tell_the_real_port_and_the_peer() -> None:
    """Port 0 becomes the port that was taken; the wildcard becomes addresses of interfaces."""
    with trio.fail_after(30):
        async with running(1) as one, running(2, listen=("/ip4/0.0.0.0/tcp/0",)) as two:
            (address,) = one.network.addresses()
            raw, _, name = address.partition("/p2p/")
            split = host_and_port(raw)
            assert split is not None
            assert split[2] > 0
            assert name == str(peer_id_of(one.key))
            assert not any("0.0.0.0" in text for text in two.network.addresses())


async def test_a_taken_port_is_said() -> None:
    """A foreign socket, or another agent of ours, at the port: PortTaken, with what to do."""
    with trio.fail_after(30), socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        node = Node(1, everyone_is_a_member, listen=(f"/ip4/127.0.0.1/tcp/{port}",))
        with pytest.raises(PortTaken, match=rf"Cannot listen on /ip4/127.0.0.1/tcp/{port}.*port 0"):
            async with node.network.running():
                pytest.fail("it listened")
        async with running(2) as two:
            # The library listens with SO_REUSEPORT, with which a second agent would be no error.
            again = Node(3, everyone_is_a_member, listen=listening_at(two))
            with pytest.raises(PortTaken):
                async with again.network.running():
                    pytest.fail("it listened")


@pytest.mark.parametrize("listen", ["", "127.0.0.1:4001", "/ip4/300.1.1.1/tcp/1", "/ip4/0.0.0.0"])
async def test_a_bad_address_is_said(listen: str) -> None:
    """What is no address to listen at is the operator's mistake, shown with an example."""
    node = Node(1, everyone_is_a_member, listen=(listen,))
    with pytest.raises(Misconfigured, match=r"Write it as /ip4/0\.0\.0\.0/tcp/4001"):
        async with node.network.running():
            pytest.fail("it listened")


async def test_a_peer_that_restarts_with_its_key_and_port_is_found_again() -> None:
    """Whoever knew it dials it, both greet again, and frames flow."""
    with trio.fail_after(60):
        async with running(1) as one:
            async with running(2) as two:
                introduce(one, two)
                await wait_members(one, two)
                where = listening_at(two)
            await one.wait(lambda: one.comings(two) == ["+", "-"])
            async with running(2, listen=where) as two:
                await wait_members(one, two)
                assert two.network.send(one.key, Channel.WORK, b"I am back")
                await one.wait(lambda: one.frames(Channel.WORK, two) == [b"I am back"])
                assert one.comings(two) == ["+", "-", "+"]


async def test_known_peers_connect_with_the_bootstrap_node_gone() -> None:
    """A peer's address of last time is enough to get back in, though no bootstrap node answers."""
    with trio.fail_after(60):
        async with running(1) as one:
            async with running(9, gossip=False) as bootstrap:
                there = bootstrap.network.addresses()
                async with running(2, bootstrap=there) as two:
                    await wait_members(two, bootstrap)
                    two.network.learn(one.key, one.network.addresses())
                    await wait_members(one, two)
                    known = (KnownPeer(one.key, dialable_of(one.key, one.network.addresses())),)
            async with running(2, bootstrap=there, peers=known) as two:
                await wait_members(one, two)
                await two.wait(lambda: two.network.counters["dials_failed"] > 0)


async def test_two_that_dial_each_other_at_once_are_one_peer() -> None:
    """Simultaneous dials give one coming, and one going."""
    with trio.fail_after(60):
        async with running(1) as one:
            async with running(2) as two:
                introduce(one, two)
                introduce(two, one)
                await wait_members(one, two)
                for number in range(20):
                    one.network.send(two.key, Channel.RAFT, b"%d" % number)
                await two.wait(lambda: len(two.frames(Channel.RAFT, one)) == 20)
                assert one.comings(two) == ["+"]
                assert two.comings(one) == ["+"]
            await one.wait(lambda: one.comings(two) == ["+", "-"])


async def test_a_peer_that_dialled_us_is_not_dialled_back() -> None:
    """Where it listens is learnt from its hello, while it is connected already."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            introduce(two, one)
            two.network.send(one.key, Channel.RAFT, b"after a while")
            await one.wait(lambda: one.frames(Channel.RAFT, two) != [])
            assert two.network.counters["dials_connected"] == 0
            assert two.network._book.addresses(one.key) != ()


async def test_a_false_address_does_not_keep_a_peer_away() -> None:
    """Addresses where nobody, or somebody else, listens are passed over."""
    with trio.fail_after(60), socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"/ip4/127.0.0.1/tcp/{closed.getsockname()[1]}"
        async with running(1) as one, running(2) as two, running(3) as three:
            two.network.learn(three.key, ("no address", nobody, *listening_at(one)))
            await two.wait(lambda: two.network.counters["dials_failed"] > 0)
            two.network.learn(three.key, three.network.addresses())
            await wait_members(two, three)
            assert two.network.connected() == (three.key,)


async def test_a_remote_that_resets_streams_harms_nothing() -> None:
    """Streams reset before, in the middle of and after a frame: the connection stays."""
    with trio.fail_after(60):
        async with running(1) as one, running(2, accept_logs=echo_lines) as two:
            introduce(one, two)
            await wait_members(one, two)
            host = one.network._host
            for written in (b"", b"\xff", b"\x40half of it", b"\x01a"):
                for channel in (Channel.RAFT, Channel.HELLO, Channel.LOGS):
                    stream = await host.new_stream(peer_id_of(two.key), [PROTOCOLS[channel]])
                    await stream.write(written)
                    await stream.reset()
            one.network.send(two.key, Channel.RAFT, b"still here")
            await two.wait(lambda: b"still here" in two.frames(Channel.RAFT, one))
            assert two.comings(one) == ["+"]


async def test_a_handler_that_raises_costs_its_stream_only() -> None:
    """An acceptor of log streams with a bug: counted, logged, and the connection stays."""

    async def broken(peer_key: object, stream: object) -> None:
        raise LookupError("a bug")

    with trio.fail_after(60):
        async with running(1, accept_logs=broken) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            stream = await two.network.open_stream(one.key, Channel.LOGS)
            assert await stream.receive_frame(5_000) is None
            await one.wait(lambda: one.network.counters["handlers_raised"] == 1)
            two.network.send(one.key, Channel.RAFT, b"still here")
            await one.wait(lambda: one.frames(Channel.RAFT, two) == [b"still here"])
            assert one.comings(two) == ["+"]


async def test_a_reader_of_logs_that_stops_holds_up_nothing_else() -> None:
    """A log stream that nobody reads fills up by itself; Raft frames pass it."""

    async def endless(peer_key: object, stream: object) -> None:
        while True:
            await stream.send_frame(b"x" * 16_384, 2_000)  # type: ignore[attr-defined]

    with trio.fail_after(60):
        async with running(1, accept_logs=endless) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            await two.network.open_stream(one.key, Channel.LOGS)
            await trio.sleep(0.5)
            for number in range(10):
                one.network.send(two.key, Channel.RAFT, b"%d" % number)
            with trio.fail_after(1.5):
                await two.wait(lambda: len(two.frames(Channel.RAFT, one)) == 10)


async def test_shutdown_is_clean_and_bounded_while_traffic_flows() -> None:
    """Cancelled in the middle of frames and gossip both ways: no error, in time, not cut off."""

    async def chatter(node: Node, other: Node) -> None:
        number = 0
        while True:
            node.network.send(other.key, Channel.RAFT, b"%d" % number)
            if number % 10 == 0:
                node.network.publish(Channel.BEAT, b"%d %s" % (number, node.key))
            number += 1
            await trio.sleep(0.002)

    with trio.fail_after(60):
        async with running(1) as one, running(3) as three, trio.open_nursery() as nursery:
            async with running(2) as two:
                for node, other in ((one, two), (two, three), (three, one)):
                    introduce(node, other)
                await wait_members(one, two, three)
                for node, other in ((one, two), (two, one), (two, three), (three, two)):
                    nursery.start_soon(chatter, node, other)
                await trio.sleep(1)
                began = trio.current_time()
            assert trio.current_time() - began < SHUTDOWN_DEADLINE_MS / 1000
            assert two.network.counters["shutdown_cut_off"] == 0
            assert two.network.counters["shutdown_errors"] == 0
            await one.wait(lambda: one.comings(two) == ["+", "-"])
            assert one.network.standing(three.key) is Standing.MEMBER
            nursery.cancel_scope.cancel()


async def test_known_peers_given_at_the_start_are_kept_though_away() -> None:
    """Peers from the disk stay known whether or not they answer."""
    with trio.fail_after(30):
        async with running(2) as two:
            away = KnownPeer(two.key, ("/ip4/127.0.0.1/tcp/1",))
        async with running(1, peers=(away,)) as one:
            await one.wait(lambda: one.network.counters["dials_failed"] > 0)
            assert one.network._book.addresses(two.key) == away.addresses


async def test_a_connection_that_ended_gives_its_slot_back() -> None:
    """Inbound connections come and go, and none keeps a place among those that may be let in."""
    with trio.fail_after(60):
        async with running(1) as one:
            for _ in range(3):
                async with running(2) as two:
                    introduce(two, one)
                    await wait_members(one, two)
                await one.wait(lambda: one.network.connected() == ())
            limiter = one.network._host.get_network()._inbound_limiter
            await one.wait(lambda: limiter.borrowed_tokens == 0)


async def test_a_renewed_hello_reaches_a_connected_peer() -> None:
    """`greet` sends the hello again, on the connection that stands."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            one.network.greet(two.key)
            await two.wait(lambda: len(two.frames(Channel.HELLO, one)) == 2)
            assert two.comings(one) == ["+"]


async def test_a_host_of_another_kind_of_key_or_protocol_is_let_go() -> None:
    """Another libp2p program: no Ed25519 key, or no hello; neither becomes a peer for long."""
    with trio.fail_after(30):
        async with running(1) as one:
            (target,) = one.network.addresses()
            info = info_from_p2p_addr(Multiaddr(target))
            rsa = new_host(key_pair=create_rsa_key_pair())
            async with rsa.run(listen_addrs=[]):
                with trio.move_on_after(2), suppress(SwarmException):
                    await rsa.connect(info)
                await one.wait(lambda: one.network.counters["connections_refused_key"] > 0)
            silent = new_host(key_pair=create_new_key_pair(bytes([77]) * 32))
            async with silent.run(listen_addrs=[]):
                await silent.connect(info)
                await one.wait(lambda: one.network.counters["hello_timeouts"] == 1)
                await one.wait(lambda: one.network.connected() == ())
            assert [e for e in one.seen if isinstance(e, FrameReceived)] == []
