"""Who may call whom unreachable, and what follows: whole nodes, named after the rule."""

import pytest

from p2pool.core import inputs
from p2pool.model import limits
from p2pool.model.ids import NodeId
from p2pool.model.messages.queries import ProbeAnswered, ProbeRequested, SuspicionReported
from p2pool.model.states import Reachability
from p2pool.model.tasks.spec import TaskSpec
from tests.sim.faults.member_liars import FalseWitness
from tests.sim.harness.committee import leading, problems
from tests.sim.harness.node_states import jump
from tests.sim.harness.pool import ENDLESS, FORMED_MS, Pool, started
from tests.sim.studies.false_positives import SLOW, measure
from tests.sim.world.machine import Machine, Slowness


def formed(size: int, seed: int = 5) -> Pool:
    """A pool with a committee of three."""
    pool = started(size, seed)
    pool.world.run(FORMED_MS + 2 * limits.JUDGEMENT_GRACE_MS)
    return pool


def judged(pool: Pool, number: int) -> Reachability:
    """What the log says of a node."""
    state = pool.leader().node.context.pool_log.state  # type: ignore[union-attr]
    assert state is not None
    return state.node(pool.world.machines[number].node_id).reachability


def others(pool: Pool, count: int) -> list[int]:
    """So many nodes that are not voters."""
    node = pool.leader().node
    assert node is not None
    voters = [v.node_id for v in node.context.pool_log.configuration.voters]
    return [m.number for m in pool.world.machines if m.node_id not in voters][:count]


def apart(pool: Pool, *numbers: int) -> None:
    """Nothing gets to these, or from them."""
    every = range(len(pool.world.machines))
    pool.world.cut = {(a, b) for a in numbers for b in every if b not in numbers}


def copies(pool: Pool, number: int) -> dict[object, int]:
    """Copies that run on a node, with their attempts."""
    containers = pool.world.machines[number].engine.containers
    return {name: attempt for (name, attempt), c in containers.items() if not c.ended}


# --- who judges -----------------------------------------------------------------------------------


def test_one_half_connected_observer_declares_nobody() -> None:
    """It misses a node for minutes and says so; the leader reaches it."""
    pool = formed(5)
    observer, missed = others(pool, 2)
    pool.world.relays = False
    pool.world.cut = {(observer, missed)}
    hints: list[NodeId] = []
    pool.world.on_send.append(
        lambda m, to, said: (
            hints.append(said.node_id) if isinstance(said, SuspicionReported) else None
        )
    )
    pool.world.run(60_000)
    assert pool.world.machines[missed].node_id in hints
    assert judged(pool, missed) is Reachability.HEALTHY


def test_conspirators_who_hint_and_witness_falsely_declare_nobody() -> None:
    """Two of six say for a minute that a third is gone: the leader's own probe is answered. What
    they hint costs the leader a bounded number of suspicions."""
    pool = formed(6)
    one, two, victim = others(pool, 3)
    first = pool.leader()
    node = first.node
    assert node is not None
    target, begun = pool.world.machines[victim].node_id, 0

    def lie(m: Machine, to: Machine | None, said: object) -> None:
        nonlocal begun
        begun += isinstance(said, ProbeAnswered) and m.number in (one, two)

    pool.world.on_send.append(lie)
    for _ in range(60):
        for liar in (one, two):
            pool.world.said(pool.world.machines[liar], first, SuspicionReported(target, "gone"))
        pool.world.run(1_000)
    assert judged(pool, victim) is Reachability.HEALTHY
    assert begun <= 2 * 60_000 // limits.HINT_PAUSE_MS


def test_a_false_witness_keeps_no_dead_node_alive_and_kills_no_living_one() -> None:
    """It answers for all witnesses, asked or not, the wrong way round: the dead node is judged all
    the same, and nobody else is."""
    pool = formed(5)
    gone, liar = others(pool, 2)
    lies = FalseWitness(pool, pool.world.machines[liar])
    lies.begin()
    pool.world.run(2_000)
    pool.world.crash(gone)
    pool.until(lambda: judged(pool, gone) is Reachability.UNREACHABLE)
    pool.world.run(3_000)
    assert lies.guessed
    living = [m.number for m in pool.world.machines if m.number != gone]
    assert [judged(pool, number) for number in living] == [Reachability.HEALTHY] * len(living)


def test_a_witness_dials_nobody_for_a_member_that_does_not_lead() -> None:
    """Only a certified leader's question makes it probe; any other learns nothing from it."""
    pool = formed(5)
    asker, missed = others(pool, 2)
    leader = pool.leader()
    witness = next(m for m in pool.world.machines if m.number not in (asker, missed, leader.number))
    said: list[ProbeAnswered] = []
    pool.world.on_send.append(
        lambda m, to, message: said.append(message) if isinstance(message, ProbeAnswered) else None
    )
    pool.world.crash(missed)
    for by in (pool.world.machines[asker], leader):
        pool.world.said(by, witness, ProbeRequested(7, pool.world.machines[missed].node_id))
        pool.world.run(50)
        assert bool(pool.node(witness.number).parts.probes.indirect) is (by is leader)
    assert [(a.request, a.known) for a in said if a.request == 7] == [(7, False)]


def test_nobody_is_judged_right_after_a_change_of_leader() -> None:
    """A node dies as the next leader begins: it waits until heartbeats had their time."""
    pool = formed(5)
    (gone,) = others(pool, 1)
    old = pool.leader().number
    pool.world.crash(old)
    pool.until(lambda: leading(pool) is not None)
    since_ms = pool.world.now_ms
    pool.world.crash(gone)
    pool.until(lambda: judged(pool, gone) is Reachability.UNREACHABLE)
    assert pool.world.now_ms - since_ms >= limits.JUDGEMENT_GRACE_MS - 1_000


def test_a_leader_that_lagged_judges_nobody_for_a_while() -> None:
    """A suspicion that it had is dropped; what it missed may have been its own lag."""
    pool = formed(5)
    (gone,) = others(pool, 1)
    first = pool.leader()
    pool.world.crash(gone)
    for _ in range(12):
        pool.world.run(1_000)
        assert judged(pool, gone) is Reachability.HEALTHY
        pool.world.give(first, inputs.LoopLagged(limits.LOOP_LAG_MAX_MS + 1))
    pool.until(lambda: judged(pool, gone) is Reachability.UNREACHABLE, 40_000)


def test_a_witness_that_lagged_has_no_say() -> None:
    """It says that it does not know; the verdict is made by the others, or by the leader alone."""
    pool = formed(4)
    (gone,) = others(pool, 1)
    said: list[ProbeAnswered] = []
    pool.world.on_send.append(
        lambda m, to, message: said.append(message) if isinstance(message, ProbeAnswered) else None
    )
    pool.world.crash(gone)
    for machine in pool.world.machines:
        if machine.node is not None and machine is not pool.leader():
            pool.world.give(machine, inputs.LoopLagged(limits.LOOP_LAG_MAX_MS + 1))
    pool.until(lambda: judged(pool, gone) is Reachability.UNREACHABLE, 40_000)
    assert said
    assert not any(answer.known for answer in said[:2])


@pytest.mark.parametrize("slowness", [SLOW, Slowness(step_ms=1_500), Slowness(0, 11_000, 8_000)])
def test_who_is_slow_and_lives_is_not_declared_unreachable(slowness: Slowness) -> None:
    """Late with every answer, or silent for seconds: witnesses and leader reach it in the end."""
    made = measure(3, 6, 0.17, 0.05, slowness)
    assert made.slow == 1
    assert made.declared == []


# --- what follows ---------------------------------------------------------------------------------


def test_who_comes_back_keeps_its_copies() -> None:
    """Unreachable for less than their window: the same attempts run on, nothing was started."""
    pool = formed(4)
    pool.run_task(0, replicas=8, reconnect_window_s=300)
    (away,) = others(pool, 1)
    before = copies(pool, away)
    assert before
    apart(pool, away)
    pool.until(lambda: judged(pool, away) is Reachability.UNREACHABLE)
    pool.world.run(60_000)
    pool.world.cut = set()
    pool.until(lambda: judged(pool, away) is Reachability.HEALTHY)
    pool.world.run(20_000)
    assert copies(pool, away) == before


def test_who_comes_back_gives_up_exactly_what_was_replaced() -> None:
    """One task was replaced after its window, the other's is for ever: the first stops there, the
    second runs on, and each copy runs once."""
    pool = formed(4)
    short = pool.run_task(0, replicas=8, reconnect_window_s=5)
    long = pool.run_task(0, replicas=8, reconnect_window_s=-1)
    (away,) = others(pool, 1)
    before = copies(pool, away)
    kept = {name: n for name, n in before.items() if name.task_id == long}  # type: ignore[attr-defined]
    assert kept
    assert len(kept) < len(before)
    apart(pool, away)
    pool.until(lambda: judged(pool, away) is Reachability.UNREACHABLE)
    pool.world.run(10_000)
    pool.until(lambda: sum(s == "RUNNING" for s in pool.states(short)) == 8)
    pool.world.cut = set()
    pool.until(lambda: copies(pool, away) == kept)
    pool.world.run(20_000)
    assert copies(pool, away) == kept
    assert pool.states(long) == ["RUNNING"] * 8
    running = [name for n in range(4) for name in copies(pool, n)]
    assert len(running) == len(set(running)) == 16


def test_a_window_goes_on_under_the_next_leader() -> None:
    """Its deadline is in log time: it does not begin anew."""
    pool = formed(5)
    name = pool.run_task(0, replicas=5, reconnect_window_s=60)
    (away,) = others(pool, 1)
    apart(pool, away)
    pool.until(lambda: judged(pool, away) is Reachability.UNREACHABLE)
    since_ms = pool.world.now_ms
    pool.world.run(40_000)
    old = pool.leader().number
    pool.world.crash(old)
    pool.until(lambda: leading(pool) is not None)
    pool.world.start(old)
    pool.until(
        lambda: (
            not copies(pool, away)
            or "LOST" in pool.states(name)
            or sum(len(copies(pool, n)) for n in range(5) if n != away) == 5
        )
    )
    assert 55_000 <= pool.world.now_ms - since_ms <= 80_000


def test_when_a_third_vanishes_replacement_is_held_and_said_and_goes_on_when_they_are_back() -> (
    None
):
    """Two of six within a minute: nothing is replaced, everybody says why, an event tells it."""
    pool = formed(6)
    name = pool.run_task(0, replicas=6, reconnect_window_s=5)
    gone = others(pool, 2)
    apart(pool, *gone)
    for number in gone:
        pool.until(lambda number=number: judged(pool, number) is Reachability.UNREACHABLE)
    pool.world.run(30_000)
    assert pool.states(name) == ["RUNNING"] * 6
    assert sum(len(copies(pool, n)) for n in range(6) if n not in gone) == 4
    assert all("2 of 6 nodes vanished" in problems(pool, n) for n in range(6) if n not in gone)
    pool.world.crash(pool.leader().number)
    pool.until(lambda: leading(pool) is not None)
    pool.world.run(20_000)
    assert "LOST" not in pool.states(name)
    pool.world.cut = set()
    pool.until(
        lambda: (
            not any(
                "vanished" in problems(pool, m.number)
                for m in pool.world.machines
                if m.node is not None
            )
        )
    )


def test_a_hold_ends_by_itself() -> None:
    """After ten minutes the nodes are taken for gone; one more that is lost later holds nothing."""
    pool = formed(7)
    name = pool.run_task(0, replicas=7, reconnect_window_s=5)
    gone = others(pool, 3)
    apart(pool, *gone)
    pool.until(lambda: "vanished" in problems(pool, leading(pool)))  # type: ignore[arg-type]
    since_ms = pool.world.now_ms
    jump(pool, limits.MASS_LOSS_HOLD_MS - 60_000)
    pool.world.run(40_000)
    assert "LOST" not in pool.states(name)
    pool.until(lambda: sum(len(copies(pool, n)) for n in range(7) if n not in gone) == 7, 90_000)
    assert pool.world.now_ms - since_ms >= 40_000
    assert "vanished" not in problems(pool, leading(pool))  # type: ignore[arg-type]


def test_who_answers_no_order_is_given_nothing_and_its_copies_go_elsewhere() -> None:
    """Heartbeats come, orders do not arrive: not eligible while that is so, and what could not be
    delivered for as long as its window is placed anew. The copies that run there run on."""
    pool = formed(4)
    (deaf,) = others(pool, 1)
    machine, drop = pool.world.machines[deaf], [True]
    carry = pool.world.carry

    def without_orders(m: Machine, to: Machine | None, channel: object, data: bytes) -> None:
        if drop[0] and to is machine and channel.value == "work":  # type: ignore[attr-defined]
            return
        carry(m, to, channel, data)  # type: ignore[arg-type]

    pool.world.carry = without_orders  # type: ignore[method-assign]
    spec = TaskSpec(name="t", image="i", command=ENDLESS, replicas=8, reconnect_window_s=10)
    name = pool.submitted[pool.submit(0, spec)]
    pool.until(lambda: pool.states(name).count("RUNNING") == 8, 90_000)
    assert pool.running(deaf) == 0
    assert judged(pool, deaf) is Reachability.HEALTHY
    drop[0] = False
    pool.run_task(0, replicas=8)
    pool.until(lambda: pool.running(deaf) > 0)
