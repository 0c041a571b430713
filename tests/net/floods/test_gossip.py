"""Gossip of a member that floods, on real hosts: bounded before the first signature."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX, signature_validator

from p2pool.drivers.net import gossip_intake
from p2pool.drivers.net.gossip_intake import ED25519_ID
from p2pool.drivers.net.peers.addresses import peer_id_of
from p2pool.model import limits
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
from tests.net.harness.turns import Turns

BEAT: str = TOPICS["beat_topic"]
PER_RPC = 3_000


@asynccontextmanager
async def gossiping(*known: int) -> AsyncIterator[tuple[Node, Node, Node]]:
    """A member that floods, one that it floods, and one that is in order; the flooded one knows the
    keys of these numbers."""
    keys = {create_new_key_pair(bytes([n]) * 32).public_key.to_bytes() for n in known}
    with trio.fail_after(90):
        async with (
            running(1) as one,
            running(2, knows_origin=lambda key: not known or bytes(key) in keys) as two,
            running(3) as three,
        ):
            introduce(one, two)
            introduce(three, two)
            await wait_members(one, two)
            await wait_members(three, two)
            await publish_until(one, [two], b"warm")
            await publish_until(three, [two], b"warm too")
            yield one, two, three


def hand(one: Node, two: Node, rpc: Any) -> None:
    """Send an RPC as a member would that does not care for any rule."""
    queue = pubsub_of(one)._outbound[peer_id_of(two.key)].queue
    for part in queue.split_rpc(rpc):
        assert queue.push(part)


def forged() -> Iterator[Any]:
    """Messages in other members' names, whose signatures do not verify."""
    for number in range(PER_RPC):
        yield rpc_pb2.Message(
            from_id=ED25519_ID + number.to_bytes(32, "big"),
            data=b"forged",
            topicIDs=[BEAT],
            seqno=number.to_bytes(8, "big"),
            signature=bytes(64),
        )


def signed(word: bytes, seed: int) -> Iterator[Any]:
    """Messages well signed, under the key of this seed."""
    pair = create_new_key_pair(bytes([seed]) * 32)
    prefix = PUBSUB_SIGNING_PREFIX.encode()
    for number in range(PER_RPC):
        message = rpc_pb2.Message(
            from_id=ID.from_pubkey(pair.public_key).to_bytes(),
            data=word + b" %d" % number,
            topicIDs=[BEAT],
            seqno=number.to_bytes(8, "big"),
        )
        signature = pair.private_key.sign(prefix + message.SerializeToString())
        yield rpc_pb2.Message(**{f.name: v for f, v in message.ListFields()}, signature=signature)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Counts signatures that are checked of what the flood is made of."""
    counted = Turns()

    def checked(message: Any) -> bool:
        if not message.data.startswith((b"warm", b"in order")):
            counted.did()
        return bool(signature_validator(message))

    monkeypatch.setattr(gossip_intake, "signature_validator", checked)
    return counted


async def test_forgeries_cost_a_few_checks_and_never_two_in_one_turn(turns: Turns) -> None:
    """One RPC has room for thousands, which would keep the loop of an agent for more than a second;
    whoever hands them on is not listened to for a while, and others are."""
    async with gossiping() as (one, two, three):
        with turns.watched():
            hand(one, two, rpc_pb2.RPC(publish=forged()))
            await two.wait(lambda: two.network.counters["gossip_refused_forger"] > 0)
            assert turns.total <= limits.GOSSIP_FORGED_BURST + 10
            assert turns.most == 1
            await publish_until(three, [two], b"in order")


async def test_made_up_members_share_a_rate_and_others_are_heard(turns: Turns) -> None:
    """Keys cost nothing: what unknown ones sign counts for the peer that hands it on."""
    async with gossiping(1, 2, 3) as (one, two, three):
        with turns.watched():
            began_s = trio.current_time()
            hand(one, two, rpc_pb2.RPC(publish=signed(b"made up", 99)))
            await two.wait(lambda: two.network.counters["gossip_refused_unknown"] > 0)
            await publish_until(three, [two], b"in order")
            passed_s = trio.current_time() - began_s
        heard = sum(data.startswith(b"made up") for data in two.gossip())
        most = limits.GOSSIP_UNKNOWN_BURST + limits.GOSSIP_UNKNOWN_PER_S * (1 + passed_s)
        assert 0 < heard <= most
        assert turns.most == 1


@pytest.mark.parametrize(
    "change",
    [
        {"data": b"x" * (limits.GOSSIP_MESSAGE_MAX_BYTES + 1)},
        {"topicIDs": ["other"]},
        {"from_id": b"\x12\x20" + bytes(32)},
        {"seqno": bytes(9)},
        {"signature": b""},
    ],
    ids=["too_long", "foreign_topic", "foreign_key", "long_number", "unsigned"],
)
async def test_what_has_not_our_form_costs_no_check(turns: Turns, change: dict[str, Any]) -> None:
    """A message too large for a topic, or about another, ends before its signature."""
    async with gossiping() as (one, two, _):
        (message,) = [m for _, m in zip(range(1), forged(), strict=False)]
        fields = {f.name: v for f, v in message.ListFields()} | change
        with turns.watched():
            hand(one, two, rpc_pb2.RPC(publish=[rpc_pb2.Message(**fields)]))
            await two.wait(lambda: two.network.counters["gossip_refused_form"] == 1)
        assert turns.total == 0


async def test_a_message_is_drawn_once_however_often_it_is_asked_for() -> None:
    """A question of half a megabyte would have drawn as many copies as it names it."""
    async with gossiping() as (one, two, _):
        two.network.publish(Channel.BEAT, b"drawn" * 1_000)
        await one.wait(lambda: b"drawn" * 1_000 in one.gossip())
        router = pubsub_of(two).pool_router
        sent: list[Any] = []
        name = next(mid for mid, m in router.mcache.msgs.items() if m.data == b"drawn" * 1_000)
        send = router.send_rpc

        def sending(peer_id: ID, rpc: Any, priority: bool = False) -> None:
            sent.extend(m for m in rpc.publish if m.data == b"drawn" * 1_000)
            send(peer_id, rpc, priority)

        router.send_rpc = sending
        for _ in range(3):
            asked = rpc_pb2.ControlIWant(messageIDs=[name] * limits.GOSSIP_IDS_MAX)
            hand(one, two, rpc_pb2.RPC(control=rpc_pb2.ControlMessage(iwant=[asked])))
        await two.wait(lambda: len(sent) >= 1)
        await publish_until(one, [two], b"after")
        assert len(sent) <= 3


async def test_control_messages_have_a_rate_and_leave_nothing_behind() -> None:
    """Joining a thousand topics that nobody has keeps no table of them, and answers none."""
    async with gossiping() as (one, two, three):
        router = pubsub_of(two).pool_router
        for number in range(limits.GOSSIP_CONTROL_BURST // 20 + 5):
            grafts = [rpc_pb2.ControlGraft(topicID=f"{number}.{n}") for n in range(20)]
            hand(one, two, rpc_pb2.RPC(control=rpc_pb2.ControlMessage(graft=grafts)))
        await two.wait(lambda: two.network.counters["gossip_refused_control"] > 0)
        known = set(TOPICS.values())
        assert set(router.back_off) | set(router.mesh) <= known
        assert set(router.graft_flood_tracking.get(peer_id_of(one.key), ())) <= known
        await publish_until(three, [two], b"in order")


async def test_a_flood_of_own_messages_keeps_no_frame_of_another_waiting() -> None:
    """A member gossips as fast as it can, while another, as a leader, sends frames and gossips."""
    async with gossiping() as (one, two, three):
        hand(one, two, rpc_pb2.RPC(publish=signed(b"flood", 1)))
        for number in range(50):
            three.network.send(two.key, Channel.RAFT, b"append %d" % number)
        await two.wait(lambda: len(two.frames(Channel.RAFT, three)) == 50)
        await publish_until(three, [two], b"in order")
        await two.wait(lambda: two.network.counters["gossip_refused_rate"] > 0)
        heard = sum(data.startswith(b"flood") for data in two.gossip())
        assert limits.GOSSIP_PER_ORIGIN_BURST // 2 < heard < PER_RPC // 2
