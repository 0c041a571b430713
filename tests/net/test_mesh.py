"""The router's settings on real hosts: its beat, its mesh, and what a peer cannot make it do."""

from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.peer.peerstore import create_signed_peer_record
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.score import PeerScorer, ScoreParams
from multiaddr import Multiaddr

from p2pool.drivers.net import mesh
from p2pool.drivers.net import pubsub as gossip
from p2pool.drivers.net.mesh import HEARTBEAT_INTERVAL_S
from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.model.messages.registry import Channel
from tests.net.harness.hosts import (
    TOPICS,
    Node,
    introduce,
    publish_until,
    pubsub_of,
    running,
    wait_members,
)

BEAT = TOPICS["beat_topic"]
SET: dict[str, Any] = {
    "protocols": [PROTOCOL_ID_V11],
    "degree": 6,
    "degree_low": 4,
    "degree_high": 12,
    "heartbeat_interval": 1,
    "adaptive_gossip_enabled": False,
    "scorer": None,
    "eclipse_protection_enabled": False,
    "spam_protection_enabled": False,
    "do_px": False,
    "prune_back_off": 10,
    "unsubscribe_back_off": 1,
}
LEFT: dict[str, Any] = {
    "heartbeat_initial_delay": 0.1,
    "graft_flood_threshold": 10,
    "max_iwant_requests_per_second": 10,
    "max_ihave_messages_per_second": 10,
    "time_to_live": 60,
    "direct_peers": {},
    "_max_pending_messages_per_peer": 100,
    "_pending_messages_ttl": 30,
}
LEFT_OF_PUBSUB: dict[str, Any] = {
    "strict_signing": True,
    "allowed_topics": frozenset(TOPICS.values()),
    "max_inbound_rpc_size": 1024 * 1024,
    "max_subscriptions_per_rpc": 5000,
    "max_subscriptions_per_peer": 100,
}


async def test_a_running_router_has_the_settings_that_were_chosen() -> None:
    """Also those defaults that were left because they suit: another release may have others."""
    with trio.fail_after(30):
        async with running(1) as one:
            pubsub = pubsub_of(one)
            router = pubsub.pool_router
            chosen = SET | LEFT
            assert {name: getattr(router, name) for name in chosen} == chosen
            assert {n: getattr(pubsub, n) for n in LEFT_OF_PUBSUB} == LEFT_OF_PUBSUB
            assert (router.mcache.window_size, router.mcache.history_size) == (3, 5)
            assert pubsub.seen_messages.ttl == 120
            assert pubsub.validation_cache.ttl == 300


async def test_the_heartbeat_of_a_small_mesh_keeps_its_interval() -> None:
    """Three members, fewer than any degree: each beat is a second after the last, health or not.

    The library judges a mesh's health where it has a scorer only, so there is one here: with
    `adaptive_gossip_enabled` the second beat would be a minute after the first.
    """
    beats: list[float] = []
    with trio.fail_after(90):
        async with running(1) as one, running(2) as two, running(3) as three:
            router = pubsub_of(one).pool_router
            router.scorer = PeerScorer(ScoreParams())
            for node, other in ((one, two), (two, three), (three, one)):
                introduce(node, other)
            await wait_members(one, two, three)
            await publish_until(one, [two, three], b"warm")
            beat = router.mesh_heartbeat

            def noted() -> Any:
                beats.append(trio.current_time())
                return beat()

            router.mesh_heartbeat = noted
            # The library judges the mesh's health when the last time is half a minute ago.
            router.last_health_update = 0
            with trio.fail_after(30):
                await one.wait(lambda: len(beats) >= 6)
            assert router.heartbeat_interval == HEARTBEAT_INTERVAL_S
            gaps_s = [after - before for before, after in pairwise(beats)]
            assert min(gaps_s) >= HEARTBEAT_INTERVAL_S * 0.9
            assert sorted(gaps_s)[len(gaps_s) // 2] < 3 * HEARTBEAT_INTERVAL_S


@pytest.fixture
def small_degrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens in a pool of dozens happens with six hosts."""
    monkeypatch.setattr(mesh, "DEGREE", 2)
    monkeypatch.setattr(mesh, "DEGREE_LOW", 1)
    monkeypatch.setattr(mesh, "DEGREE_HIGH", 3)


async def start(stack: AsyncExitStack, count: int) -> list[Node]:
    """So many nodes, not introduced to each other."""
    return [await stack.enter_async_context(running(n + 1)) for n in range(count)]


@pytest.mark.usefixtures("small_degrees")
async def test_those_that_the_centre_of_a_star_prunes_are_heard_and_hear() -> None:
    """Five members connected to one alone, whose mesh takes three: nobody falls silent."""
    with trio.fail_after(120):
        async with AsyncExitStack() as stack:
            centre, *leaves = await start(stack, 6)
            for leaf in leaves:
                introduce(leaf, centre)
                await wait_members(leaf, centre)
                await publish_until(leaf, [centre], b"warm %d" % leaves.index(leaf))
            away = peer_id_of(centre.key)
            routers = [pubsub_of(leaf).pool_router for leaf in leaves]
            await centre.wait(lambda: any(away in r.back_off.get(BEAT, {}) for r in routers))
            said = {leaf: b"leaf %d" % number for number, leaf in enumerate(leaves)}
            for leaf, data in said.items():
                leaf.network.publish(Channel.BEAT, data)
            with trio.fail_after(5):
                await centre.wait(lambda: set(said.values()) <= set(centre.gossip()))
            centre.network.publish(Channel.BEAT, b"centre")
            with trio.fail_after(15):
                for leaf in leaves:
                    await leaf.wait(lambda n=leaf: b"centre" in n.gossip())  # type: ignore[misc]


@pytest.mark.usefixtures("small_degrees")
async def test_a_mesh_that_is_full_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five members, all connected: with nothing lost, nobody grafts or prunes any more."""
    monkeypatch.setattr(mesh, "PRUNE_BACK_OFF_S", 1)
    with trio.fail_after(120):
        async with AsyncExitStack() as stack:
            nodes = await start(stack, 5)
            for number, node in enumerate(nodes):
                for other in nodes[:number]:
                    introduce(node, other)
            await wait_members(*nodes)
            await publish_until(nodes[0], nodes[1:], b"warm")
            beats = 0
            settled: list[set[ID]] = []
            while beats < 5:
                await trio.sleep(HEARTBEAT_INTERVAL_S)
                now = [set(pubsub_of(n).pool_router.mesh[BEAT]) for n in nodes]
                beats, settled = (beats + 1, now) if now == settled else (0, now)


async def test_who_lost_its_stream_is_in_no_mesh_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place came on that stream. The peer forgot ours, and has peers enough to graft nobody: we
    would send it everything and get nothing, were it still in our mesh and so not grafted anew."""
    monkeypatch.setattr(gossip, "STREAM_YOUNG_MS", 600_000)
    with trio.fail_after(60):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            mine, theirs = pubsub_of(one), pubsub_of(two)
            here, there = peer_id_of(one.key), peer_id_of(two.key)
            await one.wait(lambda: there in mine.pool_router.mesh[BEAT])
            await two.wait(lambda: here in theirs.pool_router.mesh[BEAT])
            theirs.pool_router.degree_low = 0
            old = theirs.peers[here]
            mine._inbound[there].cancel()
            await two.wait(lambda: theirs.peers.get(here) not in (None, old))
            with trio.fail_after(20):
                await two.wait(lambda: here in theirs.pool_router.mesh[BEAT])
            assert there in mine.pool_router.mesh[BEAT]


async def test_who_prunes_us_does_not_say_whom_we_dial() -> None:
    """The peers in a PRUNE are dropped: not dialled, and not kept."""
    with trio.fail_after(30):
        async with running(1) as one, running(2) as two:
            introduce(one, two)
            await wait_members(one, two)
            await publish_until(one, [two], b"warm")
            before = set(one.network._host.get_peerstore().peer_ids())
            control = rpc_pb2.ControlMessage()
            prune = control.prune.add(topicID=BEAT, backoff=1)
            for number in range(50, 55):
                keys = create_new_key_pair(bytes([number]) * 32)
                peer_id, where = ID.from_pubkey(keys.public_key), Multiaddr("/ip4/127.0.0.1/tcp/9")
                record = create_signed_peer_record(peer_id, [where], keys.private_key)
                prune.peers.add(
                    peerID=peer_id.to_bytes(), signedPeerRecord=record.marshal_envelope()
                )
            router = pubsub_of(two).pool_router
            await router.emit_control_message(control, peer_id_of(one.key))
            away = peer_id_of(two.key)
            backed_off = pubsub_of(one).pool_router.back_off
            await one.wait(lambda: away in backed_off.get(BEAT, {}))
            assert set(one.network._host.get_peerstore().peer_ids()) == before
            await publish_until(one, [two], b"pruned for a second")
