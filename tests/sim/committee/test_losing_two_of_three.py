"""A committee of three loses two, one after the other: it comes to a leader again, and never passes
through two of two when one is replaced."""

from collections.abc import Callable
from random import Random

import pytest

from p2pool.model.access.requests import Action
from tests.sim.faults.faults import blank
from tests.sim.harness.committee import formed, leading, voters, works
from tests.sim.harness.pool import Pool
from tests.sim.world.machine import Machine


@pytest.mark.parametrize("leader_is", ["stays", "left", "ejected"])
@pytest.mark.parametrize("seed", range(4))
def test_three_voters_of_which_one_leaves_and_one_is_ejected(leader_is: str, seed: int) -> None:
    """One is out and stops, another is out and runs on, in any order and at any distance: the third
    leads, then the committee is that one alone, and goes on without either."""
    rng = Random(seed)
    pool = formed(3, seed=7 + seed)
    first = pool.leader().number
    others = [n for n in range(3) if n != first]
    rng.shuffle(others)
    roles = {name: others.pop() for name in ("stays", "left", "ejected") if name != leader_is}
    roles[leader_is] = first
    events: list[Callable[[], None]] = [
        lambda: pool.world.members.remove(roles["left"]),
        lambda: pool.world.crash(roles["left"]),
        lambda: pool.world.members.remove(roles["ejected"]),
    ]
    rng.shuffle(events)
    for event in events:
        event()
        pool.world.run(rng.choice((0, 300, 3_000, 15_000, 40_000)))
    stays = roles["stays"]
    pool.until(lambda: leading(pool) == stays, 120_000)
    pool.until(lambda: voters(pool) == [stays], 240_000)
    pool.world.crash(roles["ejected"])
    works(pool, stays)


def goes(pool: Pool, number: int, why: str) -> None:
    """One of the voters has to be replaced."""
    machine = pool.world.machines[number]
    if why in ("ejected", "ejected and stopped"):
        pool.world.members.remove(number)
    if why in ("dead", "ejected and stopped", "wiped"):
        pool.world.crash(number)
    if why == "wiped":
        blank(machine, 1)
        pool.world.start(number)
    if why == "banned":
        first = leading(pool)
        assert first is not None
        pool.send(first, pool.sign(Action.BAN, machine.node_id.hex(), ""))


@pytest.mark.parametrize("leads", [False, True])
@pytest.mark.parametrize("why", ["dead", "ejected", "ejected and stopped", "banned", "wiped"])
def test_three_are_three_all_the_way_when_one_is_replaced(why: str, leads: bool) -> None:
    """No committee that any node ever has in its log is one of two, whoever goes, and why."""
    pool = formed(5)
    before = voters(pool)
    first = leading(pool)
    gone = first if leads else next(n for n in before if n != first)
    assert gone is not None
    sizes: set[int] = set()

    def look(machine: Machine) -> None:
        log = machine.node.context.pool_log if machine.node is not None else None
        if log is not None and log.configuration.voters:
            sizes.update(map(len, log.configuration.halves))

    def is_replaced() -> bool:
        found = voters(pool)
        own = pool.world.machines[gone]
        back = own.node is not None and why == "wiped" and gone in found
        return leading(pool) is not None and len(found) == 3 and (gone not in found or back)

    pool.world.on_step.append(look)
    goes(pool, gone, why)
    pool.world.run(5_000)
    pool.until(is_replaced, 300_000)
    pool.world.run(20_000)
    assert sizes == {3}
    works(pool, leading(pool))  # type: ignore[arg-type]
