"""Attacks on connections: silent ones, half a handshake, and those that take and never read."""

from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from p2pool.drivers.net.peer_link import PROTOCOLS
from p2pool.model.limits import GUEST_FRAMES_BURST, GUEST_FRAMES_PER_S
from p2pool.model.messages.queries import BindingsRequested
from p2pool.model.messages.registry import Channel
from tests.attacks.attacker.guest import Guest
from tests.attacks.attacker.line import (
    DEAD,
    MULTISTREAM,
    PING,
    SYN,
    At,
    connected,
    frame,
    prefixed,
    say,
    tcp,
)
from tests.attacks.attacker.stage import AGAIN_S, Stage, attack

SILENT = 600
SLOTS = 200
DEAF = 20
IDENTIFY = "/ipfs/id/1.0.0"
SAID_BEFORE = 48
SAID_AT_ONCE = 12
SAID_S = 3.0
LISTENS_S = 2.0
PINGS = 1000


@attack("silent")
async def silent(stage: Stage) -> None:
    """600 connections that say nothing, each replaced as soon as it is gone."""
    await _say_nothing(stage, stage.at)


@attack("silent-everywhere")
async def silent_everywhere(stage: Stage) -> None:
    """The same from as many addresses as there are connections."""
    await _say_nothing(stage, stage.elsewhere)


async def _say_nothing(stage: Stage, place: Callable[[], At]) -> None:
    async def body() -> None:
        stream = await tcp(place())
        stage.counts["connections"] += 1
        try:
            while await stream.receive_some():
                pass
        finally:
            await trio.aclose_forcefully(stream)

    await stage.crowd(SILENT, body)


@attack("slots")
async def slots(stage: Stage) -> None:
    """200 connections that stop at each stage of the handshake, up to guests who stay silent."""
    stages = 0

    async def body() -> None:
        nonlocal stages
        stages += 1
        await _held(stage, stage.at(), stages % 4)

    await stage.crowd(SLOTS, body)


@attack("slots-everywhere")
async def slots_everywhere(stage: Stage) -> None:
    """The same, each from an address of its own."""
    stages = 0

    async def body() -> None:
        nonlocal stages
        stages += 1
        await _held(stage, stage.elsewhere(), stages % 4)

    await stage.crowd(SLOTS, body)


async def _held(stage: Stage, at: At, how_far: int) -> None:
    """A connection that goes so far and stays: an agreed protocol, a muxer, a hello, questions."""
    if how_far == 0:
        stream = await tcp(at)
        try:
            await stream.send_all(prefixed(f"{MULTISTREAM}\n".encode()))
            stage.counts["half"] += 1
            while await stream.receive_some():
                pass
        finally:
            await trio.aclose_forcefully(stream)
    elif how_far == 1:
        async with connected(at, Guest(stage.pool).seed) as line:
            stage.counts["without hello"] += 1
            while not line.ended:
                await line.told.wait()
    else:
        async with stage.guest(at) as (guest, line):
            while not line.ended:
                if how_far == 3:
                    await line.open(
                        PROTOCOLS[Channel.QUERY], guest.sealed(BindingsRequested(1, ()))
                    )
                with trio.move_on_after(5):
                    while not line.ended:
                        await line.told.wait()


@attack("slow-select")
async def slow_select(stage: Stage) -> None:
    """Multistream-select at a byte every other second, half of it inside Noise."""
    turns = 0

    async def drip(write: object, data: bytes) -> None:
        for byte in data:
            await write(bytes([byte]))  # type: ignore[operator]
            stage.counts["bytes"] += 1
            await trio.sleep(2)

    async def body() -> None:
        nonlocal turns
        turns += 1
        lines = prefixed(f"{MULTISTREAM}\n".encode()) + prefixed(b"/noise\n")
        if turns % 2:
            stream = await tcp(stage.elsewhere())
            try:
                await drip(stream.send_all, lines)
            finally:
                await trio.aclose_forcefully(stream)
        else:
            async with connected(stage.elsewhere(), Guest(stage.pool).seed) as line:
                await drip(line.session.conn.write_msg, b"\0" * 12)

    await stage.crowd(SLOTS, body)


@attack("deaf")
async def deaf(stage: Stage) -> None:
    """20 guests that ask for all that is answered, grant all the room there is, and never read.
    First others see to it that answers are long."""
    long = tuple(f"/dns4/{'x' * 60}.{'y' * 60}.{n}.example/tcp/4001" for n in range(8))
    for _ in range(SAID_BEFORE // SAID_AT_ONCE):
        async with trio.open_nursery() as nursery:
            for _ in range(SAID_AT_ONCE):
                nursery.start_soon(_said_once, stage, long)

    async def body() -> None:
        at = attrs.evolve(stage.at(), takes_bytes=4096)
        async with stage.guest(at, reads=False) as (guest, line):
            asked = guest.sealed(BindingsRequested(1, ()))
            query = await line.open(PROTOCOLS[Channel.QUERY], asked)
            # It answers on a stream of its own, which is agreed upon first.
            with trio.move_on_after(LISTENS_S):
                await line.read_on()
            asks = GUEST_FRAMES_BURST
            while True:
                for number in range(asks):
                    await line.send(query, guest.sealed(BindingsRequested(number, ())))
                    stage.counts["questions"] += 1
                for _ in range(12):
                    await line.open(IDENTIFY)
                    stage.counts["identify"] += 1
                await line.write(frame(PING, SYN, 0) * PINGS)
                asks = GUEST_FRAMES_PER_S
                await trio.sleep(1)

    await stage.crowd(DEAF, body)


async def _said_once(stage: Stage, addresses: tuple[str, ...]) -> None:
    """A guest that stays until its hello was read: by then the other side has said its own."""
    with suppress(*DEAD):
        async with stage.guest(stage.elsewhere(), addresses=addresses) as (_, line):
            with trio.move_on_after(SAID_S):
                while not any(line.said()):
                    await line.told.wait()
            await trio.sleep(AGAIN_S)


@attack("half-handshakes")
async def half_handshakes(stage: Stage) -> None:
    """Noise up to its last message, which never comes; and messages as long as they may be."""

    async def body() -> None:
        stream = await tcp(stage.elsewhere())
        try:
            raw = _Raw(stream)
            await say(raw, "/noise")
            stage.counts["half"] += 1
            # The head of the longest message of Noise, and its body but for the last byte.
            await stream.send_all(b"\0\x20" + bytes(32))
            with suppress(*DEAD):
                await stream.receive_some(65536)
                await stream.send_all(b"\xff\xff" + bytes(65534))
                while await stream.receive_some():
                    pass
        finally:
            await trio.aclose_forcefully(stream)

    await stage.crowd(SLOTS, body)


class _Raw:
    """A TCP connection as libp2p's parts read one."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def read(self, count: int) -> bytes:
        return bytes(await self._stream.receive_some(count))

    async def write(self, data: bytes) -> None:
        await self._stream.send_all(data)
