"""Gossip streams on real hosts: whatever ends one, both members soon hear each other again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from libp2p.abc import INetStream
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2

from p2pool.drivers.net import pubsub as gossip
from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.drivers.net.transport.frames import reset_stream
from p2pool.model.limits import STREAM_CHECK_MS, STREAM_REOPEN_MIN_MS
from p2pool.model.messages.registry import Channel
from p2pool.model.states import Standing
from tests.net.harness.hosts import (
    LOOPBACK,
    Node,
    introduce,
    listening_at,
    publish_until,
    pubsub_of,
    running,
    wait_members,
)

HEALED_S = 15
"""A few heartbeats of gossip, and many times what it takes, for two loaded cores."""


def a_guest(hello: bytes) -> Standing | None:
    """The judge whose roster does not have the other yet."""
    return Standing.GUEST


def undecided(hello: bytes) -> Standing | None:
    """The judge that has not read its roster yet."""
    return None


@asynccontextmanager
async def gossiping() -> AsyncIterator[tuple[Node, Node]]:
    """Two members that hear each other."""
    with trio.fail_after(90):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            await publish_until(one, [two], b"warm")
            await publish_until(two, [one], b"warm")
            yield one, two


async def heal(one: Node, two: Node, word: bytes) -> None:
    """Within a few heartbeats, and with nobody's help, each hears the other."""
    with trio.fail_after(HEALED_S):
        await publish_until(one, [two], word + b" of one")
        await publish_until(two, [one], word + b" of two")


@pytest.mark.parametrize("dialler_refuses", [True, False], ids=["dialler", "dialled"])
@pytest.mark.parametrize("at_once", [True, False], ids=["at_once", "once_it_stood"])
async def test_a_stream_that_was_refused_is_opened_again(
    dialler_refuses: bool, at_once: bool
) -> None:
    """One whose roster lags refuses the other's first stream, and takes it for a member later.

    Refused at once it never stood; where judging takes a moment it stood, then ended.
    """
    with trio.fail_after(60):
        async with running(1) as prompt, running(2, a_guest if at_once else undecided) as late:
            if dialler_refuses:
                introduce(late, prompt)
            else:
                introduce(prompt, late)
            if not at_once:
                await prompt.wait(lambda: peer_id_of(late.key) in pubsub_of(prompt).peers)
                late.network.set_standing(prompt.key, Standing.GUEST)
            await late.wait(lambda: late.network.counters["gossip_streams_refused"] > 0)
            late.network.set_standing(prompt.key, Standing.MEMBER)
            await heal(prompt, late, b"raised")
            counters = prompt.network.counters
            assert counters["gossip_streams_ended"] + counters["gossip_opens_failed"] > 0


async def test_a_long_refusal_costs_little() -> None:
    """Who stays a guest is asked less and less often; taken for a member it is heard."""
    with trio.fail_after(60):
        async with running(1) as prompt, running(2, a_guest) as late:
            introduce(prompt, late)
            counters = late.network.counters
            await late.wait(lambda: counters["gossip_streams_refused"] > 0)
            await trio.sleep(5)
            assert counters["gossip_streams_refused"] < 15
            late.network.set_standing(prompt.key, Standing.MEMBER)
            await heal(prompt, late, b"raised")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second refusal on the wait is longer than any test: what opens does not wait."""
    monkeypatch.setattr(gossip, "STREAM_REOPEN_MAX_MS", 600_000)
    monkeypatch.setattr(gossip, "REOPEN_GROWTH", 1_000_000)


@pytest.mark.usefixtures("patient")
async def test_a_refusal_ends_at_once_when_the_peer_opens_its_stream() -> None:
    """The peer's own stream says that it takes us for a member: ours does not wait any more."""
    with trio.fail_after(60):
        async with running(1) as prompt, running(2, a_guest) as late:
            introduce(prompt, late)
            await late.wait(lambda: late.network.counters["gossip_streams_refused"] == 2)
            late.network.set_standing(prompt.key, Standing.MEMBER)
            await late.wait(lambda: peer_id_of(prompt.key) in pubsub_of(late)._inbound)
            await heal(prompt, late, b"raised")


@pytest.mark.usefixtures("patient")
async def test_a_member_that_refuses_and_calls_is_not_answered_each_time() -> None:
    """It resets our stream and opens its own, over and over: that shortens one wait, not all."""
    opens = 0
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:

            async def refuse_and_call(stream: INetStream) -> None:
                nonlocal opens
                opens += 1
                await reset_stream(stream)

            two.network._host.set_stream_handler(PROTOCOL_ID_V11, refuse_and_call)
            introduce(one, two)
            await wait_members(one, two)
            await two.wait(lambda: opens >= 2)
            for _ in range(20):
                before = pubsub_of(one)._inbound.get(peer_id_of(two.key))
                await two.network._host.new_stream(peer_id_of(one.key), [PROTOCOL_ID_V11])
                await one.wait(
                    lambda old=before: (  # type: ignore[misc]
                        pubsub_of(one)._inbound.get(peer_id_of(two.key)) not in (None, old)
                    )
                )
                # Twice the shortest wait, after which a call would be answered.
                await trio.sleep(2 * STREAM_REOPEN_MIN_MS / 1000)
            # The first, the one after the shortest wait, and the one that was called for.
            assert opens == 3


@pytest.mark.parametrize("lowering", [0, 1], ids=["dialler", "dialled"])
async def test_a_member_lowered_and_raised_again_is_heard_again(lowering: int) -> None:
    """Whether it was a guest for a moment or for no time at all, on one side only."""
    async with gossiping() as pair:
        node, other = pair[lowering], pair[1 - lowering]
        for pause_s in (0.0, 1.0):
            node.network.set_standing(other.key, Standing.GUEST)
            if pause_s:
                await trio.sleep(pause_s)
            node.network.set_standing(other.key, Standing.MEMBER)
            await heal(node, other, b"pause %d" % pause_s)


async def test_a_guest_hears_nothing_from_the_moment_it_is_one() -> None:
    """What is published right after the standing was lowered does not reach the guest."""
    async with gossiping() as (one, two):
        one.network.set_standing(two.key, Standing.GUEST)
        assert peer_id_of(two.key) not in pubsub_of(one).peers
        assert peer_id_of(two.key) not in pubsub_of(one).peer_queues
        one.network.publish(Channel.BEAT, b"for members")
        await trio.sleep(1)
        assert b"for members" not in two.gossip()


@pytest.mark.parametrize("resetting", ["writer", "reader"])
async def test_a_stream_that_is_reset_is_opened_again(resetting: str) -> None:
    """By either end, with nothing written since: nobody waits for a write to fail."""
    async with gossiping() as (one, two):
        peer_id = peer_id_of(two.key)
        stream = pubsub_of(one).peers[peer_id]
        if resetting == "writer":
            await stream.reset()
        else:
            for scope in pubsub_of(two)._inbound.values():
                scope.cancel()
        await one.wait(lambda: pubsub_of(one).peers.get(peer_id) not in (None, stream))
        if resetting == "reader":
            # Seen by reading: no write failed for it, and nobody had to miss it first.
            assert one.network.counters["gossip_writes_failed"] == 0
            assert two.network.counters["gossip_streams_missed"] == 0
        await heal(one, two, b"reset")
        assert one.network.counters["gossip_streams_ended"] > 0


async def test_a_dead_stream_costs_the_living_one_nothing() -> None:
    """What a member subscribed to came on its stream, and is known for as long as that lives."""
    async with gossiping() as (one, two):
        peer_id, pubsub = peer_id_of(two.key), pubsub_of(one)
        stream = pubsub.peers[peer_id]
        for scope in pubsub_of(two)._inbound.values():
            scope.cancel()
        await one.wait(lambda: pubsub.peers.get(peer_id) not in (None, stream))
        assert [peer_id in peers for peers in pubsub.peer_topics.values()] == [True, True]
        await heal(one, two, b"one way")


async def test_a_stream_whose_end_was_never_told_is_missed() -> None:
    """One dropped what it read from without a word (the reset was lost under load): two writes into
    the void, and cannot know. One misses a stream from two, opens its own anew, and so does two."""
    async with gossiping() as (one, two):
        lost = pubsub_of(two).peers[peer_id_of(one.key)].muxed_stream
        inbound = one.network._host.get_network().get_connections(peer_id_of(two.key))[0].muxed_conn
        number = lost.stream_id
        async with inbound.streams_lock:
            inbound.streams.pop(number).closed = True
            inbound.stream_buffers.pop(number)
            inbound.stream_events.pop(number).set()
        await one.wait(lambda: one.network.counters["gossip_streams_missed"] > 0)
        await heal(one, two, b"missed")
        assert two.network.counters["gossip_streams_started_over"] > 0
        # Starting over is done once: what one does because of the other ends there.
        pair = (pubsub_of(one), pubsub_of(two))
        streams = [list(pubsub.peers.values()) for pubsub in pair]
        await trio.sleep(2 * STREAM_CHECK_MS / 1000 + 1)
        assert [list(pubsub.peers.values()) for pubsub in pair] == streams


async def test_the_library_writes_through_the_queue_of_the_stream_that_lives() -> None:
    """What it would write past the queue, to a stream that it remembers, may be long gone."""
    async with gossiping() as (one, two):
        pubsub, peer_id = pubsub_of(one), peer_id_of(two.key)
        old = pubsub.peers[peer_id]
        for scope in pubsub_of(two)._inbound.values():
            scope.cancel()
        await one.wait(lambda: pubsub.peers.get(peer_id) not in (None, old))
        waiting = len(pubsub.peer_queues[peer_id])
        assert not await pubsub.write_msg(old, rpc_pb2.RPC())
        assert len(pubsub.peer_queues[peer_id]) == waiting
        assert await pubsub.write_msg(pubsub.peers[peer_id], rpc_pb2.RPC())
        assert len(pubsub.peer_queues[peer_id]) == waiting + 1
        await heal(one, two, b"queued")


async def test_streams_outlive_the_one_of_two_connections_that_they_were_on() -> None:
    """Both dial at once, each stands on two connections, and the one with the streams closes."""
    async with gossiping() as (one, two):
        network = one.network._host.get_network()
        peer_id = peer_id_of(two.key)
        old = network.get_connections(peer_id)[0]
        address = two.network._host.get_addrs()[0].decapsulate(f"/p2p/{peer_id}")
        await network.dial_addr(address, peer_id)
        await one.wait(lambda: len(network.get_connections(peer_id)) == 2)
        await old.close()
        await heal(one, two, b"one connection less")
        assert one.comings(two) == ["+"]


async def test_nothing_of_a_connection_stays_behind_in_the_next() -> None:
    """The peer goes and comes back, time and again, also while a stream is being opened."""
    with trio.fail_after(90):
        async with running(1) as one:
            where: tuple[str, ...] = LOOPBACK
            for turn in range(3):
                async with running(2, listen=where) as two:
                    where = listening_at(two)
                    introduce(two, one)
                    await two.wait(lambda n=two: n.network.standing(one.key) is Standing.MEMBER)  # type: ignore[misc]
                    if turn != 1:
                        await heal(one, two, b"turn %d" % turn)
                await one.wait(lambda: not one.network.connected())
                await one.wait(lambda: not pubsub_of(one)._outbound)
                assert not pubsub_of(one).peers
                assert not pubsub_of(one).peer_queues
                assert not pubsub_of(one).peer_topics
                assert not pubsub_of(one)._inbound
                assert not any(pubsub_of(one).pool_router.mesh.values())


async def test_a_second_stream_takes_the_place_of_the_first() -> None:
    """However many a member opens, one is read; they do not add up to its limit of streams."""
    async with gossiping() as (one, two):
        host = one.network._host
        before = two.network._host.get_network()._inbound_streams[peer_id_of(one.key)]
        for _ in range(20):
            await host.new_stream(peer_id_of(two.key), [PROTOCOL_ID_V11])
        await heal(one, two, b"one of many")
        held = two.network._host.get_network()._inbound_streams
        await two.wait(lambda: held[peer_id_of(one.key)] <= before)
