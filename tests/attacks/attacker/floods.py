"""Attacks by amount: bytes beyond a window, claims about oneself, signatures, streams, gossip."""

from contextlib import suppress

import trio
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.pubsub.pb import rpc_pb2
from nacl.utils import random

from p2pool.agent.clock import read_clock
from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.model import limits
from p2pool.model.ids import Digest
from p2pool.model.messages.queries import Ping, StateAnswered, StoreSeenAnswered
from p2pool.model.messages.registry import Channel
from tests.attacks.attacker.guest import Guest
from tests.attacks.attacker.line import (
    DATA,
    DEAD,
    FIN,
    HANDSHAKE_S,
    PING,
    RESET,
    SYN,
    WINDOW,
    At,
    agreed,
    connected,
    frame,
    prefixed,
    secured,
    tcp,
    varint,
)
from tests.attacks.attacker.stage import Stage, attack

PART = 64 * 1024
HUGE = varint(2**31 - 1)
IDENTIFY = "/ipfs/id/1.0.0"
PUSH = "/ipfs/id/push/1.0.0"
MESHSUB = "/meshsub/1.1.0"
SEALED_IN_STATE = limits.VOTERS_MAX + 1


@attack("window")
async def window(stage: Stage) -> None:
    """Guests send on one stream as fast as they can, whatever the window: frames of a MiB that are
    nothing, where somebody reads and where nobody does; and a line of two gigabytes."""
    said = varint(1_000_000) + bytes(1_000_000)

    async def pour(begin: bytes, said: bytes) -> None:
        async with stage.guest(stage.at()) as (_, line):
            number = line.number()
            await line.write(frame(WINDOW, SYN, number) + frame(DATA, 0, number, begin))
            while True:
                for at in range(0, len(said), PART):
                    await line.send(number, said[at : at + PART])
                    stage.counts["parts"] += 1

    async with trio.open_nursery() as nursery:
        for begin in (agreed(PROTOCOLS[Channel.QUERY]), agreed(PUSH), agreed(IDENTIFY), HUGE):
            nursery.start_soon(stage.again, lambda begin=begin: pour(begin, said))


@attack("window-many")
async def window_many(stage: Stage) -> None:
    """Each of many streams is filled up to what is kept of it, and left: no window is exceeded."""

    async def fill() -> None:
        async with stage.guest(stage.at()) as (_, line):
            while True:
                number = await line.open(PROTOCOLS[Channel.QUERY], varint(1_000_000))
                for _ in range(4):
                    await line.send(number, bytes(PART))
                    stage.counts["parts"] += 1
                await trio.sleep(0.06)

    await stage.crowd(4, fill)


@attack("window-before-hello")
async def window_before_hello(stage: Stage) -> None:
    """The same from who says no hello: streams of a protocol that waits, and of none at all."""

    async def fill() -> None:
        async with connected(stage.at(), random(32)) as line:
            while True:
                number = line.number()
                opened = frame(WINDOW, SYN, number)
                if number % 4 == 1:
                    opened += frame(DATA, 0, number, agreed(PROTOCOLS[Channel.QUERY]))
                await line.write(opened)
                for _ in range(4):
                    await line.send(number, bytes(PART))
                    stage.counts["parts"] += 1
                await trio.sleep(0.02)

    await stage.crowd(8, fill)


@attack("frames-unauthenticated")
async def frames_unauthenticated(stage: Stage) -> None:
    """300 connections that each leave a message unfinished before any authentication: a line that
    claims two gigabytes, of which as much comes as is taken. Some do so behind Noise."""
    turns = 0

    async def body() -> None:
        nonlocal turns
        turns += 1
        stream = await tcp(stage.elsewhere())
        try:
            if turns % 10 == 0:
                with trio.fail_after(HANDSHAKE_S):
                    session = await secured(stream, stage.elsewhere(), random(32))
                    await session.conn.write_msg(HUGE + bytes(1_000_000))
            else:
                with trio.fail_after(HANDSHAKE_S):
                    claimed = HUGE if turns % 2 else varint(1_040_000)
                    await stream.send_all(claimed + bytes(1_000_000))
            stage.counts["unfinished"] += 1
            while await stream.receive_some():
                pass
        finally:
            await trio.aclose_forcefully(stream)

    await stage.crowd(300, body)


@attack("identify-push")
async def identify_push(stage: Stage) -> None:
    """One identity after the other says as much of itself as it can, and goes."""
    addresses = [bytes([4, 10, n >> 8 & 255, n & 255, 6, 16, 0]) for n in range(20_000)]
    names = [f"/{n}/" + "x" * 200 for n in range(3_000)]
    said = Identify(
        protocol_version="x" * 1000,
        agent_version="y" * 100_000,
        listen_addrs=addresses,
        protocols=names,
    ).SerializeToString()

    async def body() -> None:
        guest = Guest(stage.pool)
        async with stage.guest(stage.elsewhere(), seed=guest.seed) as (_, line):
            for _ in range(3):
                await line.open(PUSH, prefixed(said))
                stage.counts["pushes"] += 1
                await trio.sleep(0.3)

    await stage.crowd(8, body)


@attack("identities")
async def identities(stage: Stage) -> None:
    """As many identities as go, each of which says hello and a little of itself, and goes."""

    async def body() -> None:
        said = Identify(agent_version="z", listen_addrs=[bytes([4, 10, 0, 0, 1, 6, 16, 0])])
        async with stage.guest(stage.elsewhere()) as (_, line):
            await line.open(PUSH, prefixed(said.SerializeToString()))
            stage.counts["pushes"] += 1
            await trio.sleep(0.2)

    await stage.crowd(16, body)


@attack("signatures")
async def signatures(stage: Stage) -> None:
    """Frames full of sealed messages, from one guest: all are well-formed and signed by others."""
    await stage.crowd(1, lambda: _signatures(stage, stage.at()))


@attack("signatures-many")
async def signatures_many(stage: Stage) -> None:
    """The same by forty guests, each within its own budget, from as many addresses."""
    await stage.crowd(40, lambda: _signatures(stage, stage.elsewhere()))


@attack("signatures-churn")
async def signatures_churn(stage: Stage) -> None:
    """Identities without end: each uses up what a new one may say, and is followed by the next."""

    async def body() -> None:
        with trio.move_on_after(1):
            await _signatures(stage, stage.elsewhere())

    await stage.crowd(8, body)


async def _signatures(stage: Stage, at: At) -> None:
    """Answers that nobody asked for, each with the most sealed messages that it may hold."""
    async with stage.guest(at) as (guest, line):
        query = await line.open(PROTOCOLS[Channel.QUERY])
        digest = Digest(random(32))
        number = 0
        while True:
            frames = bytearray()
            for _ in range(10):
                number += 1
                inside = tuple(forged(guest) for _ in range(SEALED_IN_STATE))
                frames += guest.sealed(
                    StateAnswered(number, digest, 1, (), 0, 0, b"", certificate=inside)
                )
                shown = tuple(forged(guest) for _ in range(limits.SEEN_SHOWN_MAX))
                frames += guest.sealed(StoreSeenAnswered(number, digest, shown))
            await line.send(query, bytes(frames))
            stage.counts["signatures"] += 10 * (SEALED_IN_STATE + limits.SEEN_SHOWN_MAX + 2)
            await trio.sleep(0.5)


def forged(guest: Guest) -> bytes:
    """A message that looks sealed, and whose signature only a check finds to be none's."""
    sealed = bytearray(guest.sealer.seal(Ping(1), read_clock())[1])
    sealed[-1] ^= 1
    return bytes(sealed)


@attack("resets")
async def resets(stage: Stage) -> None:
    """Streams that are opened and reset, or half closed, by the thousand; and pings."""

    async def body() -> None:
        async with stage.guest(stage.at()) as (_, line):
            while True:
                said = bytearray()
                for count in range(100):
                    number = line.number()
                    said += frame(WINDOW, SYN, number)
                    said += frame(DATA, (RESET, FIN)[count % 2], number)
                    said += frame(PING, SYN, 0, length=count)
                await line.write(bytes(said))
                stage.counts["streams"] += 100
                await trio.sleep(0.02)

    await stage.crowd(4, body)


@attack("gossip")
async def gossip(stage: Stage) -> None:
    """Guests that gossip all the same: subscriptions, IHAVE, IWANT, GRAFT, a million entries."""
    ids = [random(20).hex().encode() for _ in range(1000)]
    rpc = rpc_pb2.RPC()
    for n in range(1000):
        rpc.subscriptions.add(subscribe=True, topicid=f"topic {n}")
        rpc.control.graft.add(topicID=f"topic {n}")
    for _ in range(10):
        rpc.control.ihave.add(topicID="t", messageIDs=ids)
        rpc.control.iwant.add(messageIDs=ids)
    said = prefixed(rpc.SerializeToString())
    million = prefixed(b"\x0a\x00" * 500_000)

    async def body() -> None:
        async with stage.guest(stage.at()) as (_, line):
            number = await line.open(MESHSUB, said)
            for turn in range(1000):
                await line.send(number, million if turn % 4 == 3 else said)
                stage.counts["rpcs"] += 1
                if turn % 10 == 9:
                    number = await line.open(MESHSUB)
                await trio.sleep(0.1)

    await stage.crowd(4, body)


@attack("slow-frames")
async def slow_frames(stage: Stage) -> None:
    """Frames of the largest size, at the lowest rate that keeps a stream open, on many streams."""

    async def body() -> None:
        async with stage.guest(stage.elsewhere()) as (_, line):
            numbers = [
                await line.open(PROTOCOLS[Channel.QUERY], varint(1_000_000) + bytes(100_000))
                for _ in range(8)
            ]
            while True:
                for number in numbers:
                    with suppress(*DEAD):
                        await line.send(number, bytes(1000))
                        stage.counts["parts"] += 1
                await trio.sleep(1)

    await stage.crowd(40, body)
