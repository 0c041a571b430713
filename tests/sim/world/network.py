"""What is between machines: connections, streams that keep their order, gossip that does not.

Intuition, from what libp2p's streams can do (`net.peer_link`): there is one stream for each
channel and direction, and frames on it arrive in order. A stream that broke loses what was on its
way, or is overlapped by the next one, whose frames may then come first. A link that is cut swallows
frames without a word; one that stands still holds them and brings them late; one that is reset ends
the connection, which both sides are told, and is dialled again. Each may be so in one direction
alone, but a connection needs both. Gossip takes any way through members that are not cut off.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

import attrs

from p2pool.core import inputs
from p2pool.model.limits import HELLO_TIMEOUT_MS, PEER_SEND_QUEUE_MAX, STREAM_WRITE_TIMEOUT_MS
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.registry import Channel
from p2pool.wire.binding import make_binding
from tests.sim.world.machine import Machine

if TYPE_CHECKING:
    from tests.sim.world.world import World

REDIAL_MS = 500
GOSSIP = (Channel.BEAT, Channel.ANNOUNCE)
Pair = tuple[int, int]


@attrs.define(eq=False)
class Stream:
    """One outbound stream: when its last frame arrives, and whether it broke meanwhile."""

    last_ms: int = 0
    broken: bool = False


@attrs.frozen
class Held:
    """A frame that a link that stands still keeps."""

    at_ms: int
    life: int
    channel: Channel
    data: bytes


class Network:
    """All links. `World` holds the knobs: `cut`, `one_way`, `loss` and so on."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = Random(seed)
        self.up: dict[Pair, int] = {}
        self.generation = 0
        self.streams: dict[tuple[int, int, Channel], Stream] = {}
        self.stalled: dict[Pair, list[Held]] = {}
        self.dropped = 0

    # --- connections ------------------------------------------------------------------------------

    def passes(self, a: Machine, b: Machine) -> bool:
        """Whether anything gets from one machine to another now."""
        one, other = (a.number, b.number), (b.number, a.number)
        world = self.world
        return one not in world.cut and other not in world.cut and one not in world.one_way

    def connected(self, a: Machine, b: Machine) -> bool:
        """Whether both believe to be connected."""
        return _pair(a, b) in self.up

    def connect(self, a: Machine, b: Machine) -> None:
        """Both sides meet and say hello, unless they are cut off: then they try again."""
        if a.node is None or b.node is None:
            return
        whole = self.passes(a, b) and self.passes(b, a)
        still = (a.number, b.number) in self.stalled or (b.number, a.number) in self.stalled
        if not whole or still:
            lives = (a.life, b.life)
            self.world.later(REDIAL_MS, lambda: self._again(a, b, lives))
            return
        if self.connected(a, b):
            return
        self.generation += 1
        self.up[_pair(a, b)] = self.generation
        for one, other in ((a, b), (b, a)):
            self.world.give(one, inputs.PeerConnected(other.peer_key))
            self._hello(one, other)
            judged = partial(self._judged, one, other, self.generation)
            self.world.later(HELLO_TIMEOUT_MS, judged)

    def _judged(self, a: Machine, b: Machine, generation: int) -> None:
        """Whom a machine has not judged by now it disconnects, and dials again."""
        if self.up.get(_pair(a, b)) != generation or a.node is None:
            return
        entry = a.node.context.bindings.connected.get(b.peer_key)
        if entry is None or not entry.standing:
            self.reset(a, b)

    def _again(self, a: Machine, b: Machine, lives: Pair) -> None:
        if (a.life, b.life) == lives:
            self.connect(a, b)

    def _hello(self, a: Machine, b: Machine) -> None:
        assert a.sealer is not None
        now = self.world.now(a)
        binding = make_binding(
            self.world.pool,
            a.account,
            a.signing_key,
            now.wall_ms // 1000 - 5,
        )
        hello = Hello("0.1.0", binding, a.store_id, (f"/ip4/10.0.0.{a.number}/tcp/4001",))
        channel, data = a.sealer.seal(hello, now)
        self.send(a, b, channel, data, sure=True)

    def reset(self, a: Machine, b: Machine) -> None:
        """The connection ends, both are told, and what was on its way is lost; it is dialled again
        while both live."""
        if self.up.pop(_pair(a, b), None) is None:
            return
        for key, stream in self.streams.items():
            if key[:2] in ((a.number, b.number), (b.number, a.number)):
                stream.broken = True
        for one, other in ((a, b), (b, a)):
            self.stalled.pop((one.number, other.number), None)
            if one.node is not None:
                self.world.give(one, inputs.PeerDisconnected(other.peer_key), 1)
        lives = (a.life, b.life)
        wait_ms = REDIAL_MS + self.rng.randrange(REDIAL_MS)
        self.world.later(wait_ms, lambda: self._again(a, b, lives))

    def gone(self, m: Machine) -> None:
        """A machine's agent ended: all of its connections do."""
        for other in self.world.machines:
            if other is not m:
                self.reset(m, other)

    # --- frames -----------------------------------------------------------------------------------

    def send(
        self, a: Machine, b: Machine, channel: Channel, data: bytes, *, sure: bool = False
    ) -> None:
        """A frame on the stream of its channel; `sure`: nothing happens to it but a cut."""
        if b.node is None or not self.connected(a, b):
            self.dropped += 1
            return
        world, link = self.world, (a.number, b.number)
        if not sure and self.rng.random() < world.loss:
            self.dropped += 1  # A queue was full.
            return
        held = self.stalled.get(link)
        if held is not None:
            if len(held) < PEER_SEND_QUEUE_MAX:
                held.append(Held(world.now_ms, b.life, channel, data))
            return
        times = 1 if sure or self.rng.random() >= world.duplicate else 2
        for _ in range(times):
            jitter_ms = self.rng.randrange(world.delay_ms) if not sure else 0
            self._post(a, b, channel, data, 1 + jitter_ms)

    def _post(self, a: Machine, b: Machine, channel: Channel, data: bytes, delay_ms: int) -> None:
        world, key = self.world, (a.number, b.number, channel)
        stream = self.streams.get(key)
        if stream is None or stream.broken:
            stream = self.streams[key] = Stream()
        elif world.reopen and self.rng.random() < world.reopen:
            # The next stream takes over: what is on this one is lost, or overlaps with it.
            stream.broken = self.rng.random() < 0.5
            stream = self.streams[key] = Stream()
        stream.last_ms = max(stream.last_ms, world.now_ms + delay_ms)
        life, wait_ms = b.life, stream.last_ms - world.now_ms
        world.later(wait_ms, lambda: self._arrive(a, b, life, stream, channel, data))

    def _arrive(
        self, a: Machine, b: Machine, life: int, stream: Stream, channel: Channel, data: bytes
    ) -> None:
        if b.life != life or stream.broken or not self.passes(a, b):
            return
        if b.gate is not None:
            for event in b.gate.frame(channel, a.peer_key, data, self.world.now(b)):
                self.world.give(b, event)

    def stall(self, a: Machine, b: Machine) -> None:
        """From now on frames from one machine to another wait on the way."""
        self.stalled.setdefault((a.number, b.number), [])

    def release(self, link: Pair) -> None:
        """What a link held arrives late and in order; what was written too long ago broke its
        stream, and is lost."""
        held = self.stalled.pop(link, [])
        a, b = (self.world.machines[i] for i in link)
        for frame in held:
            if self.world.now_ms - frame.at_ms < STREAM_WRITE_TIMEOUT_MS and frame.life == b.life:
                self._post(a, b, frame.channel, frame.data, 1)

    # --- gossip -----------------------------------------------------------------------------------

    def publish(self, a: Machine, channel: Channel, data: bytes) -> None:
        """Gossip goes to members alone, straight or (`World.relays`) by way of others."""
        world = self.world
        hops = self._hops(a)
        for i in world.members:
            b = world.machines[i]
            if b is a or b.node is None or i not in hops or self.rng.random() < world.loss:
                continue
            times = 1 if self.rng.random() >= world.duplicate else 2
            for _ in range(times):
                delay_ms = sum(1 + self.rng.randrange(world.delay_ms) for _ in range(hops[i]))
                world.later(delay_ms, partial(self._heard, b, b.life, channel, data))

    def _hops(self, a: Machine) -> dict[int, int]:
        """How many links gossip takes from a machine to each member that it reaches."""
        world = self.world
        found, edge = {a.number: 0}, [a]
        while edge:
            after: list[Machine] = []
            for one in edge:
                for i in world.members:
                    other = world.machines[i]
                    if i not in found and self._carries(one, other):
                        found[i] = found[one.number] + 1
                        after.append(other)
            edge = after if world.relays else []
        return found

    def _carries(self, a: Machine, b: Machine) -> bool:
        link = (a.number, b.number)
        return self.connected(a, b) and self.passes(a, b) and link not in self.stalled

    def _heard(self, b: Machine, life: int, channel: Channel, data: bytes) -> None:
        if b.life == life and b.gate is not None:
            for event in b.gate.gossip(channel, data, self.world.now(b)):
                if isinstance(event, inputs.Received):
                    for took in self.world.on_gossip:
                        took(b, event)
                self.world.give(b, event)


def _pair(a: Machine, b: Machine) -> Pair:
    return (a.number, b.number) if a.number < b.number else (b.number, a.number)
