"""Pools whose committee is full, and who votes and leads in them."""

from p2pool.model.ports.agent import Accepted
from tests.sim.harness.pool import FORMED_MS, Pool, brief, started
from tests.sim.world.machine import Machine


def formed(size: int, committee: int = 3, seed: int = 7) -> Pool:
    """A pool whose committee is as large as it is to be."""
    pool = started(size, seed, committee)
    pool.until(lambda: len(voters(pool)) == min(size, committee))
    pool.world.run(FORMED_MS)
    return pool


def leaders(pool: Pool) -> list[Machine]:
    return [m for m in pool.world.machines if m.node and m.node.context.pool_log.leads]


def voters(pool: Pool) -> list[int]:
    """Numbers of all that vote, as whoever leads has them: while joint, the outgoing ones too."""
    found = leaders(pool)
    if not found:
        return []
    assert found[0].node is not None
    names = [v.node_id for v in found[0].node.context.pool_log.configuration.electors]
    return sorted(m.number for m in pool.world.machines if m.node_id in names)


def leading(pool: Pool) -> int | None:
    """The number of the one that leads, if there is exactly one."""
    found = leaders(pool)
    return found[0].number if len(found) == 1 else None


def works(pool: Pool, at: int) -> None:
    """A submission at a node is accepted."""
    assert isinstance(pool.reply(pool.submit(at, brief())), Accepted)


def problems(pool: Pool, number: int) -> str:
    return " ".join(pool.node(number).view(pool.world.now(pool.world.machines[number])).problems)
