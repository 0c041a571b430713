"""A pool in which one machine comes and goes, and what others say of it."""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

from p2pool.core import inputs
from p2pool.model.access.requests import Action
from p2pool.model.chain.invite import Invite
from p2pool.model.ports.agent import InviteOffered
from p2pool.model.ports.view import NodeView
from tests.sim.harness.pool import FORMED_MS, Pool
from tests.sim.invariants.checks import Checks
from tests.sim.world.world import WALL_MS, World

NEW = 3
"""The machine that comes and goes; the others are the committee."""


def formed(seed: int = 11, *, outside: bool = True, started: bool = True) -> Pool:
    """A pool of three, and a fourth machine that is in the pool or not, and runs or not."""
    world = World(seed, 4)
    if outside:
        world.members.remove(NEW)
    pool = Pool(seed, world, Checks(world), world.rng)
    for number in range(4 if started else 3):
        world.start(number)
    world.run(FORMED_MS)
    return pool


def view(pool: Pool, at: int, of: int) -> NodeView | None:
    """What a node knows of another one."""
    machine = pool.world.machines[at]
    return pool.node(at).view(pool.world.now(machine)).node(pool.world.machines[of].node_id)


def field(pool: Pool, name: str, of: int = NEW, at: int | None = None) -> Any:
    """One of the three fields of a node, as the leader has it."""
    seen = view(pool, pool.leader().number if at is None else at, of)
    return getattr(seen, name) if seen is not None else None


def becomes(pool: Pool, wanted: IntEnum, of: int = NEW, most_ms: int = 60_000) -> None:
    """Wait until the field that a state is of is in it, at all committee members."""
    name = type(wanted).__name__.lower()
    for at in range(3):
        if pool.world.machines[at].node is not None and at != of:
            pool.until(lambda at=at: field(pool, name, of, at) is wanted, most_ms)


def invite(pool: Pool, lasts_s: int = 600) -> None:
    """The manager's invite for the new machine is handed to every agent of the committee."""
    now_s = (WALL_MS + pool.world.now_ms) // 1000
    made = Invite(0, 1, pool.world.machines[NEW].node_id, 7, now_s + lasts_s, b"s" * 65)
    for number in range(3):
        pool.world.give(
            pool.world.machines[number], inputs.Asked(800 + number, InviteOffered(made))
        )


def apart(pool: Pool, number: int) -> None:
    """Nothing gets to a machine, or from it."""
    pool.world.cut = {(number, n) for n in range(4) if n != number}


def jump(pool: Pool, ms: int) -> None:
    """All clocks go on by so much: what lasts a day need not be waited for."""
    pool.world.skipped_ms += ms
    for machine in pool.world.machines:
        machine.wall_offset_ms += ms


def ask(pool: Pool, action: Action, of: int) -> object:
    """The manager's request, answered."""
    request = pool.sign(action, pool.world.machines[of].node_id.hex(), "")
    pool.send(pool.leader().number, request)
    return pool.reply(request)


def rows(table: Mapping[IntEnum, Mapping[IntEnum, IntEnum]]) -> Iterator[str]:
    """What the test of each row of a table is called: the state, the event, the next state."""
    for state, row in table.items():
        for event, after in row.items():
            yield f"test_{state.name}_{event.name}_{after.name}".lower()
