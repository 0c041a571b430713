"""What a node makes of any message that a member signed: in a pool of whole nodes, in virtual time.

The pool lives on from one input to the next, since it takes seconds to come up; after some inputs a
new one takes its place. So an input is also tried in the state that those before it have left.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import attrs

from p2pool.codec import payloads
from p2pool.codec.cbor import canonical
from p2pool.core.node import Node
from p2pool.model.errors import Malformed
from p2pool.model.messages.registry import (
    DEDICATED_CHANNELS,
    GOSSIP_CHANNELS,
    Header,
    Message,
    channel_of,
)
from tests.fuzz.target import target
from tests.fuzz.targets.seeds import payloads as golden
from tests.sim.world.machine import Machine
from tests.sim.world.world import World

SIZE = 4
SEED = 1
LIFE_MS = 20_000
"""So long a pool lives before the first input; by then it has a committee and certificates."""
BETWEEN_MS = 60
INPUTS_MAX = 100


class Anything(tuple[str, ...]):
    """All that a node may tell its log: a member who lies is told of there, as it should be."""

    def __contains__(self, event: object) -> bool:
        return True


@attrs.define
class Pool:
    """A pool, and how many inputs it has had."""

    world: World
    inputs: int = 0


Said = tuple[Machine, Machine | None, Message]


def _founded(heard: list[Said] | None = None) -> Pool:
    world = World(SEED, SIZE)
    if heard is not None:
        world.on_send.append(lambda by, to, message: heard.append((by, to, message)))
    world.expected = Anything()
    for number in range(SIZE):
        world.start(number)
    world.run(LIFE_MS)
    return Pool(world)


@cache
def _said() -> tuple[bytes, ...]:
    """Of each kind of message that such a pool says, the first and the last; of the others, the
    golden ones. A byte before each says who sends it to whom."""
    heard: list[Said] = []
    _founded(heard)
    by_kind: dict[type, list[bytes]] = {}
    for machine, to, message in heard:
        header = Header(machine.node_id, machine.peer_key, 1, 1, 1)
        ways = machine.number * SIZE + (0 if to is None else to.number)
        data = bytes([ways]) + payloads.encode_payload(header, message)
        by_kind.setdefault(type(message), []).append(data)
    found = [data for found in by_kind.values() for data in dict.fromkeys((found[0], found[-1]))]
    return (*found, *(b"\x01" + data for data in golden()))


def _messages() -> Iterator[bytes]:
    return iter(_said())


POOLS: list[Pool] = []
NUMBERS = (0, 1, -1, 2, 2**16, 2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1)


def _leaves(value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The places of all values in a tree of lists, those of lists too."""
    if path:
        yield path
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, (*path, number))


def _instead(value: Any, choice: int, others: Sequence[Any]) -> Any:
    """Another value of the same kind, at a bound or of another message; or of none."""
    if choice % 16 == 15:
        return None
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = (value + 1, value - 1, value * 2)
        return (*NUMBERS, *near)[choice % (len(NUMBERS) + len(near))]
    if value is None:
        return others[choice % len(others)]
    if isinstance(value, list):
        made: tuple[list[Any], ...] = ([], value[:-1], [*value, *value[:1]], value[::-1], value * 8)
        return made[choice % len(made)]
    if isinstance(value, dict):
        return {choice: choice}
    alike = [one for one in others if type(one) is type(value)]
    return (*alike, value[:0])[choice % (len(alike) + 1)]


def _changed(data: bytes) -> bytes:
    """A message that a pool said with some of its values changed: the bytes say which. First who
    sends it to whom, then which message, then a place and a value for each change."""
    ways, which = data[0], data[1] % len(_said())
    tree: Any = canonical.decode(_said()[which][1:])
    for place, choice in zip(data[2::2], data[3::2], strict=False):
        # Behind the header, and before the extensions.
        places = [path for path in _leaves(tree) if path[0] >= payloads.HEADER_FIELDS]
        *above, last = places[place % len(places)]
        held = tree
        for number in above:
            held = held[number]
        others = [one for path in places for one in [_at(tree, path)] if not isinstance(one, list)]
        held[last] = _instead(held[last], choice, others)
    return bytes([ways]) + canonical.encode(tree)


def _at(tree: Any, path: tuple[int, ...]) -> Any:
    for number in path:
        tree = tree[number]
    return tree


def _changes() -> Iterator[bytes]:
    for number in range(len(_said())):
        yield bytes([_said()[number][0], number, number, number % 16])


@target(
    "core-fields",
    seeds=_changes,
    allowed=[Malformed],
    most_bytes=18,
    time_ms=8000,
    memory_kib=256 * 1024,
    guided=False,
)
def fields(data: bytes) -> None:
    """No message with any values in its fields makes a node fail."""
    if len(data) >= 2:
        member(_changed(data[:18]))


@target("core-member", seeds=_messages, allowed=[Malformed], time_ms=8000, memory_kib=256 * 1024)
def member(data: bytes) -> None:
    """No message of a member, in whatever state the pool is, makes a node fail."""
    if not POOLS or POOLS[-1].inputs >= INPUTS_MAX:
        POOLS[:] = [_founded()]
    pool = POOLS[-1]
    selector = data[0] if data else 0
    world = pool.world
    sender, receiver = (world.machines[n] for n in divmod(selector % (SIZE * SIZE), SIZE))
    message = payloads.payload_of(canonical.decode(data[1:])).message
    if channel_of(type(message)) in DEDICATED_CHANNELS:
        return  # These travel on streams of their own, and never reach the core.
    pool.inputs += 1
    assert sender.sealer is not None
    channel, sealed = sender.sealer.seal(message, world.now(sender))
    to = None if channel in GOSSIP_CHANNELS else receiver
    try:
        world.carry(sender, to, channel, sealed)
        world.run(BETWEEN_MS)
        for machine in world.machines:
            assert isinstance(machine.node, Node), "a node is gone"
            machine.node.view(world.now(machine))
    except BaseException:
        POOLS.clear()  # What failed once may have left anything behind.
        raise
