"""How long a pool is without a leader: from the death of one to the next, for several sizes.

The Raft thesis (figure 9.1 of its evaluation, five servers, a broadcast time of about 15 ms, the
leader crashed at a random moment of its interval) gives a median of 287 ms for timeouts of 150 to
155 ms, and 513 ms at worst for 150 to 200 ms. Here whole nodes are measured, with PreVote (a round
more), disks that take up to 4 ms and links that take up to 10 ms each way.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random

from p2pool.model.states import RaftRole
from p2pool.model.timing import TIMINGS, Profile, Timing
from tests.sim.world.machine import Machine
from tests.sim.world.violation import Violation
from tests.sim.world.world import World

TIMINGS_MEASURED: Mapping[str, Timing] = {
    "150-155 ms": Timing(74, 150, 155),
    "150-200 ms": Timing(74, 150, 200),
    "default (1-2 s)": TIMINGS[Profile.DEFAULT],
}
THESIS = {"150-155 ms": "median 287 ms", "150-200 ms": "worst 513 ms"}
VOTERS = (3, 5, 7)
DELAY_MS = 10


@contextmanager
def timed(timing: Timing) -> Iterator[None]:
    """Have the default profile be another one for a while."""
    usual = TIMINGS[Profile.DEFAULT]
    TIMINGS[Profile.DEFAULT] = timing
    try:
        yield
    finally:
        TIMINGS[Profile.DEFAULT] = usual


def measure(voters: int, timing: Timing, crashes: int, seed: int) -> list[int]:
    """Milliseconds from the death of a leader to the next, as often as asked."""
    with timed(timing):
        world, rng = World(seed, voters), Random(seed)
        world.committee, world.delay_ms = voters, DELAY_MS
        led: dict[int, int] = {}
        world.on_step.append(lambda m: _note(world, m, led))
        for i in range(voters):
            world.start(i)
        _wait_whole(world, voters)
        return [_kill(world, rng, timing, led) for _ in range(crashes)]


def _note(world: World, m: Machine, led: dict[int, int]) -> None:
    pool_log = m.node.context.pool_log if m.node is not None else None
    if pool_log is not None and pool_log.role is RaftRole.LEADER:
        led.setdefault(pool_log.term, world.now_ms)


def _leaders(world: World) -> list[Machine]:
    return [m for m in world.machines if m.node is not None and m.node.context.pool_log.leads]


def _wait_whole(world: World, voters: int) -> None:
    def whole() -> bool:
        groups = [m.node.context.pool_log.configuration for m in world.machines if m.node]
        return all(len(g.voters) == voters for g in groups) and len(_leaders(world)) == 1

    if not world.run_until(whole, 120_000):
        raise Violation(f"{voters} voters do not come together")
    world.run(2_000)


def _kill(world: World, rng: Random, timing: Timing, led: dict[int, int]) -> int:
    world.run(rng.randrange(4 * timing.append_interval_ms))
    if not world.run_until(lambda: len(_leaders(world)) == 1, 120_000):
        raise Violation("nobody leads")
    (leader,) = _leaders(world)
    assert leader.node is not None
    term, died_ms = leader.node.context.pool_log.term, world.now_ms
    world.crash(leader.number)
    if not world.run_until(lambda: max(led) > term, 120_000):
        raise Violation("nobody leads after a leader's death")
    took_ms = min(at_ms for t, at_ms in led.items() if t > term) - died_ms
    world.start(leader.number)
    world.run(4 * timing.election_timeout_max_ms)
    return took_ms
