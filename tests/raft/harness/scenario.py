"""Sixty virtual seconds of trouble from one seed, then healing: what a simulated run is."""

from random import Random

from p2pool.model.log.raft import Configuration
from tests.raft.harness.checks import Violation
from tests.raft.harness.cluster import Cluster

VOTERS, SPARES = 5, 2


def disturb(cluster: Cluster) -> None:
    """One random fault, the end of one, or something that people ask for."""
    rng, size = cluster.rng, len(cluster.voters)
    kind, i = rng.randrange(13), rng.randrange(size)
    down = sum(raft is None for raft in cluster.rafts)
    if kind == 0 and down < size // 2:
        # In the middle of a write, where somebody is.
        writing = [j for j, out in enumerate(cluster.held) if out is not None]
        cluster.crash(rng.choice(writing) if writing else i)
    elif kind == 1 and cluster.rafts[i] is None:
        cluster.start(i)
    elif kind == 2:
        # One way only, as a half-broken link is.
        cluster.cut |= {(i, rng.randrange(size)) for _ in range(size)}
    elif kind == 3:
        cluster.cut = set()
    elif kind == 4:
        cluster.loss, cluster.duplicate = rng.random() * 0.3, rng.random() * 0.3
    elif kind == 5:
        cluster.delay_ms = rng.choice((2, 20, 300, 1500))
    elif kind == 6:
        cluster.sync_ms = rng.choice((2, 20, 200, 400))
    elif kind == 7:
        cluster.transfer(i)
    elif kind == 8:
        found = cluster.leader()
        if found is not None:
            # A leader that is cut off, alone or with a few that still hear it.
            few = rng.choice((0, 0, 1, 2))
            side = [found, *rng.sample([j for j in range(size) if j != found], few)]
            ends = [(j, k) for j in side for k in range(size) if k not in side]
            cluster.cut = {*ends, *((k, j) for j, k in ends)}
    elif kind in (9, 10):
        reform(cluster)
    elif kind == 11:
        cluster.heal()
    else:
        cluster.propose(bytes([rng.randrange(256)]), crash=rng.random() < 0.2)


def reform(cluster: Cluster) -> None:
    """Ask for a change of the committee that its rules allow, or perhaps do not."""
    found = cluster.leading()
    if found is None:
        return
    rng, now_is = cluster.rng, found[1].state.configuration
    voters, learners = now_is.voters, now_is.learners
    outside = [v for v in cluster.voters if v not in voters and v not in learners]
    if rng.random() < 0.3:
        # Against the rules, and refused: almost any committee at all.
        three = tuple(sorted(rng.sample(cluster.voters, 3)))
        cluster.change(Configuration(three))
    elif learners and rng.random() < 0.5:
        # Several at once: all that are ready come in, and as few go as a joint change may let go.
        come = tuple(rng.sample(learners, rng.randrange(1, len(learners) + 1)))
        few = rng.sample(voters, rng.randrange((len(voters) + 1) // 2))
        new = tuple(sorted((*(v for v in voters if v not in few), *come)))
        cluster.change(Configuration(new, tuple(v for v in learners if v not in come), voters))
    elif learners and rng.random() < 0.7:
        chosen = rng.choice(learners)
        rest = tuple(v for v in learners if v != chosen)
        cluster.change(Configuration(tuple(sorted((*voters, chosen))), rest))
    elif outside and rng.random() < 0.7:
        cluster.change(Configuration(voters, tuple(sorted((*learners, rng.choice(outside))))))
    elif len(voters) > 3:
        gone = rng.choice(voters)
        cluster.change(Configuration(tuple(v for v in voters if v != gone), learners))


def ask(cluster: Cluster) -> None:
    """Read from everybody who believes to lead, the deposed ones above all."""
    for i, raft in enumerate(cluster.rafts):
        if raft is not None and raft.state.leads and cluster.held[i] is None:
            cluster.read(i)


def simulate(seed: int, torn: bool = False, speaks_first: bool = False) -> Cluster:
    """One seed. The flags plant faults of the disk and of the driver."""
    compact_every = Random(seed).choice((0, 7))
    keep = Random(-1 - seed).choice((0, 3))
    cluster = Cluster(seed, VOTERS, compact_every, SPARES, keep)
    cluster.speaks_first = speaks_first
    for disk in cluster.disks:
        disk.torn = torn
    for _ in range(240):
        cluster.run(cluster.rng.randrange(1, 500))
        if cluster.rng.random() < 0.6:
            disturb(cluster)
        cluster.propose(b"load")
        ask(cluster)
    cluster.heal()
    cluster.run(15_000)
    _check_healed(cluster)
    return cluster


def _check_healed(cluster: Cluster) -> None:
    if not cluster.propose(b"after"):
        raise Violation("Liveness: nobody leads after healing")
    found = cluster.leading()
    if found is None:
        raise Violation("Liveness: a leader does not last after healing")
    cluster.read(found[0])
    target = found[1].state.log.last_index
    cluster.run(15_000)
    group = found[1].state.configuration
    for i, participant in enumerate(cluster.voters):
        if participant in (*group.voters, *group.learners) and cluster.applied[i] < target:
            raise Violation(f"Liveness: {cluster.applied} after healing, {target} expected")
    if cluster.checks.reads:
        raise Violation(f"reads that were neither answered nor dropped: {cluster.checks.reads}")
    cluster.checks.logs(raft for raft in cluster.rafts if raft is not None)
