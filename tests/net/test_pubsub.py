"""Gossip on real hosts: among members alone, and through every trap that was measured."""

from typing import Any

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.peer.envelope import seal_record
from libp2p.peer.id import ID
from libp2p.peer.peer_record import PeerRecord
from libp2p.pubsub.pb import rpc_pb2

from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.model.limits import GOSSIP_MESSAGE_MAX_BYTES, GOSSIP_PER_ORIGIN_BURST
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import introduce, publish_until, pubsub_of, running, wait_members


def guest_if_fourth(hello: bytes) -> Standing | None:
    """Number 4 is not in the pool."""
    return Standing.GUEST if hello == b"hello 4" else Standing.MEMBER


async def test_members_hear_each_other_and_a_guest_hears_nothing() -> None:
    """Three members in a row gossip through the middle; a guest of all takes part in none of it."""
    with trio.fail_after(60):
        async with (
            running(1, guest_if_fourth) as one,
            running(2, guest_if_fourth) as two,
            running(3, guest_if_fourth) as three,
            running(4) as guest,
        ):
            introduce(one, two)
            introduce(three, two)
            for node in (one, two, three):
                introduce(guest, node)
            await wait_members(one, two)
            await wait_members(two, three)
            for node in (one, two, three):
                await guest.wait(lambda n=node: guest.network.standing(n.key) is not None)  # type: ignore[misc]
            await publish_until(one, [two, three], b"beat of one")
            await publish_until(three, [one, two], b"beat of three")
            for _ in range(5):
                guest.network.publish(Channel.BEAT, b"intruder")
                await trio.sleep(0.2)
            assert guest.gossip() == []
            for node in (one, two, three):
                assert not any(data.startswith(b"intruder") for data in node.gossip())
                assert peer_id_of(guest.key) not in pubsub_of(node).peers
            refused = sum(
                node.network.counters["gossip_streams_refused"] for node in (one, two, three)
            )
            assert refused > 0


async def test_nobody_gets_a_message_twice_nor_its_own() -> None:
    """With all connected to all, each message arrives once at each other member."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two, running(3) as three:
            for node, other in ((one, two), (two, three), (three, one)):
                introduce(node, other)
            await wait_members(one, two, three)
            await publish_until(one, [two, three], b"warm")
            sent = [b"beat %d" % number for number in range(20)]
            for data in sent:
                one.network.publish(Channel.BEAT, data)
            for node in (two, three):
                await node.wait(lambda n=node: set(sent) <= set(n.gossip()))  # type: ignore[misc]
                assert len(node.gossip()) == len(set(node.gossip()))
            assert one.gossip() == []


async def test_the_next_message_of_a_busy_publisher_that_restarted_arrives() -> None:
    """Message ids are not used again: after 60 messages in a moment and a restart, gossip goes on.

    With the library's counter (whole seconds) the ids of the first minute after would be taken.
    """
    with trio.fail_after(60):
        async with running(1) as one:
            async with running(2) as two:
                introduce(two, one)
                await wait_members(one, two)
                await publish_until(two, [one], b"warm")
                for number in range(60):
                    two.network.publish(Channel.BEAT, b"busy %d" % number)
                await one.wait(lambda: b"busy 59" in one.gossip())
            async with running(2) as two:
                introduce(two, one)
                await two.wait(lambda: two.network.standing(one.key) is Standing.MEMBER)
                with trio.fail_after(10):
                    await publish_until(two, [one], b"back again")


async def test_a_burst_beyond_the_librarys_queue_loses_nothing() -> None:
    """100 messages at once are more than the 32 that the library's subscription holds."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            await publish_until(one, [two], b"warm")
            count = GOSSIP_PER_ORIGIN_BURST - 20
            for number in range(count):
                assert one.network.publish(Channel.ANNOUNCE, b"burst %d" % number)
            await two.wait(lambda: sum(d.startswith(b"burst") for d in two.gossip()) == count)


async def test_what_fails_the_check_is_not_delivered_and_not_passed_on() -> None:
    """A message that `check_gossip` refuses ends at the first member that gets it."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two, running(3) as three:
            introduce(one, two)
            introduce(three, two)
            await wait_members(one, two)
            await wait_members(two, three)
            await publish_until(one, [two, three], b"warm")
            one.network.publish(Channel.BEAT, b"bad signature")
            await two.wait(lambda: two.network.counters["gossip_refused_check"] > 0)
            one.network.publish(Channel.BEAT, b"x" * GOSSIP_MESSAGE_MAX_BYTES)
            await three.wait(lambda: b"x" * GOSSIP_MESSAGE_MAX_BYTES in three.gossip())
            assert not any(d.startswith(b"bad") for d in two.gossip() + three.gossip())


async def test_one_that_floods_is_held_to_its_rate() -> None:
    """Far more than the burst of one origin: the rest is dropped and counted."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            await publish_until(one, [two], b"warm")
            for number in range(4 * GOSSIP_PER_ORIGIN_BURST):
                one.network.publish(Channel.BEAT, b"flood %d" % number)
            await two.wait(lambda: two.network.counters["gossip_refused_rate"] > 0)
            assert one.network.standing(two.key) is Standing.MEMBER


@pytest.mark.parametrize(
    "garbage", [b"\x05\xff\xff\xff\xff\xff", bytes(64 * 1024)], ids=["no_rpc", "empty_frames"]
)
async def test_garbage_on_a_gossip_stream_ends_that_stream_only(garbage: bytes) -> None:
    """Bytes that are no RPC, or empty frames, from a member: frames go on, gossip comes back."""
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            await publish_until(one, [two], b"warm")
            stream = pubsub_of(one).peers[peer_id_of(two.key)]
            await stream.write(garbage)
            await two.wait(lambda: two.network.counters["gossip_streams_broken"] > 0)
            one.network.send(two.key, Channel.RAFT, b"still here")
            await two.wait(lambda: two.frames(Channel.RAFT, one) == [b"still here"])
            await publish_until(one, [two], b"gossip too")
            await publish_until(two, [one], b"both ways")


async def test_a_node_without_gossip_hears_none_and_serves_query() -> None:
    """A bootstrap node: members of the pool greet it and ask it, and it is in no mesh."""
    with trio.fail_after(60):
        async with running(1, gossip=False) as bootstrap, running(2) as two:
            introduce(two, bootstrap)
            await wait_members(two, bootstrap)
            two.network.send(bootstrap.key, Channel.QUERY, b"who is there")
            await bootstrap.wait(lambda: bootstrap.frames(Channel.QUERY, two) != [])
            two.network.send(bootstrap.key, Channel.RAFT, b"vote")
            await bootstrap.wait(lambda: bootstrap.network.counters["streams_refused_raft"] > 0)
            two.network.publish(Channel.BEAT, b"nobody hears")
            await trio.sleep(0.5)
            assert bootstrap.gossip() == []


async def test_a_peer_whose_clock_was_put_back_is_heard() -> None:
    """Its record is older than one that was seen; forged, or about another, it is refused."""
    mine, other = (create_new_key_pair(bytes([number]) * 32) for number in (70, 71))
    me, it = ID.from_pubkey(mine.public_key), ID.from_pubkey(other.public_key)

    def rpc(about: ID, number: int, signer: KeyPair) -> Any:
        record = seal_record(PeerRecord(about, [], number), signer.private_key)
        return rpc_pb2.RPC(senderRecord=record.marshal_envelope())

    with trio.fail_after(30):
        async with running(1) as one:
            pubsub = pubsub_of(one)
            assert pubsub._check_record(rpc(me, 2, mine), me)
            assert pubsub._check_record(rpc(me, 1, mine), me)
            assert not pubsub._check_record(rpc(me, 3, other), me)
            assert not pubsub._check_record(rpc(it, 3, other), me)
            assert not pubsub._check_record(rpc_pb2.RPC(senderRecord=b"none"), me)
            assert pubsub._check_record(rpc_pb2.RPC(), me)
            good = bytes(rpc(me, 4, mine).senderRecord)
            for place in range(len(good)):
                bad = good[:place] + bytes([good[place] ^ 0x15]) + good[place + 1 :]
                assert not pubsub._check_record(rpc_pb2.RPC(senderRecord=bad), me)
