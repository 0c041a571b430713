"""A cluster that has a leader."""

from p2pool.core.raft.raft import Raft
from tests.raft.harness.cluster import Cluster


def led(seed: int = 1, size: int = 3, spares: int = 0) -> tuple[Cluster, int, Raft]:
    """A cluster that has a leader, whose first entry is committed."""
    cluster = Cluster(seed, size, spares=spares)
    cluster.run(5_000)
    found = cluster.leading()
    assert found is not None
    return cluster, *found


def raft_of(cluster: Cluster, i: int) -> Raft:
    found = cluster.rafts[i]
    assert found is not None
    return found
