"""Pools in which leaders are certified, and what their nodes know of it."""

from p2pool.model.log.certificates import CommitteeChain, LeaderCertificate
from tests.sim.harness.pool import FORMED_MS, Pool, started


def formed(size: int, wait_ms: int = FORMED_MS) -> Pool:
    """A pool of some nodes that had time to form."""
    made = started(size)
    made.world.run(wait_ms)
    return made


def led(pool: Pool) -> bool:
    return any(m.node and m.node.context.pool_log.leads for m in pool.world.machines)


def known(pool: Pool, number: int) -> LeaderCertificate | None:
    return pool.node(number).context.leader_certificates.known


def chain(pool: Pool) -> CommitteeChain:
    return pool.node(pool.leader().number).context.pool_log.chain
