"""Recovery on whole nodes: a majority is lost, the next epoch goes on, and nothing is touched."""

import attrs
import pytest

from p2pool.model.chain.root_record import RootRecord
from p2pool.model.ids import Digest, StoreId, TaskId
from p2pool.model.ports.agent import Accepted
from p2pool.model.states import RaftRole
from p2pool.model.tasks.spec import GpuRequest, Resources, TaskSpec
from tests.sim.harness.lost_majority import SETTLE_MS, Recovering, other_digest
from tests.sim.harness.pool import ENDLESS

ONE_GPU = Resources(gpu=GpuRequest(1))


@pytest.fixture
def pool() -> Recovering:
    return Recovering.formed()


def rest_of(pool: Recovering) -> list[int]:
    """Lose two of the three voters, the leader among them; who is left."""
    leader = pool.leader().number
    other = next(n for n in pool.voters() if n != leader)
    pool.lose(leader, other)
    return pool.alive()


def test_the_next_epoch_goes_on_where_the_log_ended(pool: Recovering) -> None:
    """Tasks are there, containers untouched under their attempts, and new work is taken."""
    name = pool.run_task(0, replicas=5, reconnect_window_s=3600)
    before = pool.containers()
    rest = rest_of(pool)
    pool.world.run(5_000)
    assert not any(pool.node(n).context.pool_log.leads for n in rest)
    root = pool.recover()
    assert pool.leader().node_id == root.founder
    assert pool.containers() == before
    assert pool.accepts(rest[-1])
    pool.world.run(SETTLE_MS)
    assert pool.containers() == before
    state = pool.node(rest[0]).context.pool_log.state
    assert state is not None
    assert {c.attempt for c in state.of_task(name)} == {1}
    assert len(pool.voters()) == 3


def test_an_entry_that_nobody_knew_to_be_committed_is_kept(pool: Recovering) -> None:
    """It was on a survivor's disk, so its client may have been told that it is in."""
    leader, voters = pool.leader().number, pool.voters()
    last = next(n for n in voters if n != leader)
    others = [n for n in range(5) if n not in (leader, last)]
    # The leader and one voter go on alone for a moment: only those two have what is accepted then.
    pool.world.cut = {(a, b) for a in (leader, last) for b in others}
    request = pool.submit(leader, TaskSpec(name="kept", image="i", command=ENDLESS))
    assert isinstance(pool.reply(request), Accepted)
    pool.lose(leader, *[n for n in voters if n not in (leader, last)])
    pool.world.cut = set()
    assert pool.longest() == last
    pool.recover()
    state = pool.node(others[-1] if others[-1] in pool.alive() else last).context.pool_log.state
    assert state is not None
    assert pool.submitted[request] in state.tasks


def forgotten(pool: Recovering) -> tuple[int, TaskId, list[int]]:
    """A node that was cut off founds the next epoch, and knows nothing of a task with a copy on
    each of the others: the founder, the task, and the voters that were lost."""
    behind = next(n for n in range(5) if n not in pool.voters())
    pool.world.cut = {(behind, n) for n in range(5) if n != behind}
    pool.world.run(30_000)
    name = pool.run_task(
        pool.leader().number, replicas=4, resources=ONE_GPU, reconnect_window_s=3600
    )
    voters = pool.voters()
    pool.lose(*voters)
    pool.world.cut = set()
    pool.world.run(1_000)
    pool.world.root = pool.record(behind)
    pool.until(lambda: pool.led_in(2))
    return behind, name, voters


def copies(pool: Recovering, number: int, name: TaskId) -> list[str]:
    state = pool.node(number).context.pool_log.state
    assert state is not None
    return [c.state.name for c in state.of_task(name)]


def test_what_the_log_forgot_is_adopted_from_the_nodes_that_run_it(pool: Recovering) -> None:
    """The task is taken up by its signed submission; no copy is stopped or started again."""
    behind, name, voters = forgotten(pool)
    before = pool.containers()
    assert len(before) == 4
    for number in voters:
        pool.world.start(number)
    pool.until(lambda: copies(pool, behind, name) == ["RUNNING"] * 4, SETTLE_MS)
    pool.world.run(SETTLE_MS)
    assert pool.containers() == before
    # What was acknowledged once is not run twice, and a stop ends all of it.
    for request in tuple(pool.submitted):
        pool.send(behind, request)
    pool.world.run(10_000)
    assert pool.containers() == before
    pool.stop(behind, name)
    pool.until(lambda: not pool.containers(), SETTLE_MS)


def test_only_what_was_replaced_is_given_up(pool: Recovering) -> None:
    """Copies on nodes that come back after others took their place are stopped, and no other."""
    behind, name, voters = forgotten(pool)
    before = pool.containers()
    pool.world.run(SETTLE_MS)
    placed = set(pool.containers()) - set(before)
    ((_, replaced, _),) = placed
    holder = next(number for number, allocation, _ in before if allocation == replaced)
    for number in voters:
        if number != holder:
            pool.world.start(number)
    pool.until(lambda: copies(pool, behind, name) == ["RUNNING"] * 4, SETTLE_MS)
    pool.world.start(holder)
    pool.world.run(SETTLE_MS)
    assert {key[:2] for key in set(before) - set(pool.containers())} == {(holder, replaced)}
    assert copies(pool, behind, name) == ["RUNNING"] * 4


def test_the_old_leader_obeys_the_new_epoch(pool: Recovering) -> None:
    """Back after the recovery it follows; what it held alone is gone, and it orders nobody."""
    pool.run_task(0, replicas=5, reconnect_window_s=3600)
    before = pool.containers()
    old = pool.leader().number
    pool.world.cut = {(old, n) for n in range(5) if n != old}
    other = next(n for n in pool.voters() if n != old)
    pool.submit(old, TaskSpec(name="alone", image="i", command=ENDLESS))
    pool.world.run(1_000)
    pool.lose(old, other)
    pool.world.cut = set()
    pool.recover()
    pool.world.start(old)
    pool.world.start(other)
    pool.until(lambda: pool.led_in(2))
    assert pool.node(old).context.pool_log.role is not RaftRole.LEADER
    pool.world.run(SETTLE_MS)
    assert {k: v for k, v in pool.containers().items() if k in before} == before


def test_a_node_that_was_away_for_two_recoveries_follows_the_last(pool: Recovering) -> None:
    """It skips the epoch between, and fetches the state of the newest."""
    away = next(n for n in range(5) if n not in pool.voters())
    pool.lose(away)
    first = rest_of(pool)
    pool.recover()
    assert pool.accepts(first[0])
    pool.lose(pool.leader().number)
    pool.world.run(3_000)
    pool.recover(3)
    pool.world.start(away)
    pool.until(lambda: pool.led_in(3))
    assert pool.accepts(away)


def test_a_record_that_nobody_can_found_loses_nothing(pool: Recovering) -> None:
    """Everybody keeps the old log, says why there is no leader, and the next recovery is good."""
    name = pool.run_task(0, replicas=2)
    before = pool.containers()
    founder = pool.longest()
    bad = other_digest(pool.record(founder))
    pool.world.root = bad
    pool.world.run(10_000)
    assert not any(pool.node(n).context.pool_log.leads for n in range(5))
    assert "state differs from the record's" in pool.problems(founder)
    assert len(copies(pool, founder, name)) == 2
    again = next(n for n in range(5) if n != founder)
    pool.world.crash(again)
    pool.world.start(again)
    pool.world.run(3_000)
    assert pool.held(again).root.epoch == 1
    pool.recover(3)
    assert len(copies(pool, founder, name)) == 2
    assert pool.accepts(again)
    assert {k: v for k, v in pool.containers().items() if k in before} == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: attrs.evolve(r, store_id=StoreId(b"\x00" * 16)), "another data directory"),
        (lambda r: attrs.evolve(r, previous=None), "names no previous log"),
        (other_digest, "state differs from the record's"),
        (
            lambda r: attrs.evolve(
                r, previous=attrs.evolve(r.previous, log_id=Digest(b"\x01" * 32))
            ),
            "and this node holds log",
        ),
        (
            lambda r: attrs.evolve(r, previous=attrs.evolve(r.previous, base_index=10**6)),
            "at index 1000000",
        ),
    ],
)
def test_a_founder_refuses_what_does_not_fit(pool: Recovering, change: object, said: str) -> None:
    """With a sentence, and it holds its log as it did."""
    founder = pool.longest()
    root: RootRecord = change(pool.record(founder))  # type: ignore[operator]
    end = pool.end(founder)
    pool.world.root = root
    pool.world.run(5_000)
    assert said in pool.problems(founder)
    assert pool.end(founder) >= end


def test_of_two_records_of_one_epoch_the_later_one_stands(pool: Recovering) -> None:
    """Even where the first was founded: all come together under one log again."""
    rest = rest_of(pool)
    first, second = pool.record(rest[0]), pool.record(rest[1])
    pool.world.root = first
    pool.until(lambda: pool.led_in(2))
    assert pool.leader().number == rest[0]
    # The second founder has given its old log up for the first's, so it founds nothing.
    pool.world.root = second
    pool.world.run(5_000)
    assert "it founds nothing" in pool.problems(rest[1])
    # Nothing is lost by that: the first one's log is held still, and goes on in the next epoch.
    pool.recover(3)
    assert pool.accepts(rest[0])


def test_two_records_before_anybody_saw_the_first(pool: Recovering) -> None:
    """The chain orders them: only the one that stands is founded."""
    rest = rest_of(pool)
    first, second = pool.record(rest[0]), pool.record(rest[1])
    pool.world.root = first
    pool.world.root = second
    pool.until(lambda: pool.led_in(2))
    assert pool.leader().number == rest[1]


def test_a_lower_epoch_is_not_followed(pool: Recovering) -> None:
    """An old record that comes back, by whatever mistake, moves nobody."""
    old = pool.world.root
    rest = rest_of(pool)
    pool.recover()
    pool.world.root = old
    pool.world.run(5_000)
    assert pool.led_in(2)
    assert pool.accepts(rest[0])
