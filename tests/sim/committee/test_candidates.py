"""Candidates for a seat that never take it: they are put off, and the others get their turn."""

import attrs
import pytest

from p2pool.core.inputs import Received
from p2pool.model import limits
from p2pool.model.ids import StoreId
from p2pool.model.messages.raft import AppendRequested, SnapshotSent
from tests.sim.harness.committee import formed, leaders, leading, problems, voters, works
from tests.sim.harness.pool import FORMED_MS, Pool, started
from tests.sim.world.machine import Machine


def deaf(pool: Pool, *numbers: int) -> None:
    """From now on these never hear a leader's appends: well otherwise, they never answer any."""
    give = pool.world.give

    def given(m: Machine, event: object, delay_ms: int = 0) -> None:
        append = isinstance(event, Received) and isinstance(
            event.verified.message, AppendRequested | SnapshotSent
        )
        if not (append and m.number in numbers):
            give(m, event, delay_ms)  # type: ignore[arg-type]

    pool.world.give = given  # type: ignore[method-assign]


def changes(pool: Pool) -> int:
    """How often the committee changed, learners included."""
    log = pool.leader().node.context.pool_log.raft.state.log  # type: ignore[union-attr]
    return sum(entry.kind == 1 for entry in log.entries)


@pytest.mark.parametrize("silent", [1, 2, 3, 4])
def test_five_nodes_with_one_that_never_answers_have_three_voters(silent: int) -> None:
    """Whoever it is: it is dropped after some seconds, and the next one is taken."""
    pool = started(5, committee=3)
    deaf(pool, silent)
    pool.until(lambda: len(voters(pool)) == 3, 180_000)
    assert silent not in voters(pool)
    pool.world.run(120_000)
    assert changes(pool) < 12


def test_three_that_lost_one_are_three_again_beside_a_spare_that_never_answers() -> None:
    """The spares are tried in turn; the dead one keeps its seat until one is ready, and then they
    change places in one joint change: each committee on the way has three voters."""
    pool = formed(5)
    spares = [n for n in range(5) if n not in voters(pool)]
    deaf(pool, spares[0])
    dead = next(n for n in voters(pool) if n != leading(pool))
    pool.world.crash(dead)
    seen: set[tuple[int, ...]] = set()

    def look(*_: object) -> None:
        found = leaders(pool)
        if found:
            halves = found[0].node.context.pool_log.configuration.halves  # type: ignore[union-attr]
            seen.add(tuple(map(len, halves)))

    pool.world.on_step.append(look)
    pool.until(lambda: spares[1] in voters(pool) and dead not in voters(pool), 300_000)
    pool.until(lambda: len(voters(pool)) == 3)
    assert seen == {(3,), (3, 3)}
    works(pool, leading(pool))  # type: ignore[arg-type]


def test_a_member_that_changes_its_store_each_second_is_not_taken_for_ever() -> None:
    """Once an hour that is an accident; more often it waits, and people are told."""
    pool = started(3, committee=3)
    pool.world.run(FORMED_MS)
    wild = next(n for n in range(3) if n != leading(pool))
    first = leading(pool)
    assert first is not None
    beats, count = pool.node(first).context.heartbeats, [0]

    def renew() -> None:
        beat = beats.newest.get(pool.world.machines[wild].node_id)
        if beat is not None:
            count[0] += 1
            store = StoreId(bytes([count[0] % 250 + 1]) * 16)
            new = attrs.evolve(beat.heartbeat, store_id=store)
            beats.newest[pool.world.machines[wild].node_id] = attrs.evolve(beat, heartbeat=new)
        pool.world.later(300, renew)

    renew()
    pool.world.run(60_000)
    before = changes(pool)
    pool.world.run(240_000)
    assert changes(pool) - before < 12
    assert "did not take it" in problems(pool, first)
    assert limits.CANDIDATE_BACK_OFF_MS > limits.LEARNER_ANSWER_MS
