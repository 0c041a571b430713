"""What the worker does with sick and greedy containers, and what it says of pulls on the way."""

import attrs
import pytest

from p2pool.core.worker import events as ev
from p2pool.model import limits
from p2pool.model.messages.work import Desired
from p2pool.model.ports.runtime import PullProgress
from p2pool.model.states import AllocationState, Health
from p2pool.model.tasks.faults import Fault
from p2pool.model.tasks.spec import RestartMode, RestartPolicy
from tests.core.worker.workbench import Bench, desired

S = AllocationState


def sicken(bench: Bench, one: Desired) -> list[ev.WorkerEffect]:
    """The image's check fails, and that is found."""
    key = (one.allocation, one.attempt)
    bench.engine[key] = attrs.evolve(
        bench.engine[key], health=Health.UNHEALTHY, started_at_ms=bench.now().wall_ms
    )
    return bench.turn(limits.RECONCILE_INTERVAL_MS)


def health(bench: Bench) -> list[Health]:
    """What heartbeats say."""
    return [status.health for status in bench.worker.statuses()]


def test_unhealthy_is_told_and_no_end_by_itself(bench: Bench) -> None:
    """Whoever asked for no more than to be told sees it run on."""
    one = desired()
    bench.order(one)
    bench.turn()
    assert health(bench) == [Health.NONE]
    assert sicken(bench, one) == []
    assert (bench.state(one), health(bench)) == (S.RUNNING, [Health.UNHEALTHY])


def test_unhealthy_counts_as_failed_where_that_is_asked_for(bench: Bench) -> None:
    """It is ended and started again as often as its policy says, then it has failed for good."""
    policy = RestartPolicy(RestartMode.ON_FAILURE, attempts=1, on_unhealthy=True)
    one = desired(restart=policy)
    bench.order(one)
    bench.turn()
    assert [type(e) for e in sicken(bench, one)] == [ev.StopContainer]
    item = bench.worker.items[one.allocation, 1]
    assert (item.state, item.restarts) == (S.STARTING, 1)
    assert "health check failed" in item.reason
    assert [type(e) for e in bench.turn(limits.RECONCILE_INTERVAL_MS)] == [ev.RestartContainer]
    bench.engine[one.allocation, 1] = attrs.evolve(
        bench.engine[one.allocation, 1], started_at_ms=bench.now().wall_ms
    )
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert (bench.state(one), item.restarts) == (S.RUNNING, 1)
    sicken(bench, one)
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert "health check" in bench.reported()[S.FAILED].reason
    assert item.restarts == 1


@pytest.mark.parametrize("mode", list(RestartMode))
def test_a_quota_that_is_exceeded_ends_a_copy_for_good(bench: Bench, mode: RestartMode) -> None:
    """No policy starts again what would only fill the disk again."""
    one = desired(restart=RestartPolicy(mode))
    bench.order(one)
    bench.turn()
    bench.worker.step(
        ev.QuotaExceeded(one.allocation, 1, "volume data holds too much"), bench.now()
    )
    assert [type(e) for e in bench.turn()] == [ev.StopContainer]
    assert bench.turn(limits.RECONCILE_INTERVAL_MS) == []
    assert bench.reported()[S.FAILED].reason == "volume data holds too much"


def test_a_stop_wins_over_a_quota(bench: Bench) -> None:
    """What its owner stops has been stopped, whatever else was wrong with it."""
    one = desired()
    bench.order(one)
    bench.turn()
    bench.worker.step(ev.QuotaExceeded(one.allocation, 1, "too much"), bench.now())
    bench.order(stops=(one,))
    bench.turn()
    assert bench.state(one) is S.STOPPED


def test_how_far_a_pull_is_is_in_heartbeats_and_not_in_the_log(bench: Bench) -> None:
    """Bytes while it is under way, nothing afterwards; the log hears that it is being fetched."""
    one = desired()
    bench.order(one)
    bench.worker.tick(bench.now())  # The start is under way; its outcome has not come.
    progress = PullProgress(40, 100)
    bench.worker.step(ev.PullProgressed(one.allocation, 1, progress), bench.now())
    (status,) = bench.worker.statuses()
    assert (status.pulled_bytes, status.pull_total_bytes) == (40, 100)
    (outcome,) = bench.reported().values()
    assert (outcome.state, outcome.reason) == (S.PULLING, "")
    later = attrs.evolve(progress, done_bytes=90)
    bench.worker.step(ev.PullProgressed(one.allocation, 1, later), bench.now())
    assert bench.reported() == {}


def test_the_digest_is_told_as_soon_as_it_runs(bench: Bench) -> None:
    """So that everybody can see what an image's name stood for."""
    one = desired()
    bench.order(one)
    bench.turn()
    key = (one.allocation, 1)
    bench.engine[key] = attrs.evolve(bench.engine[key], image_digest="sha256:ab")
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.reported()[S.RUNNING].image_digest == "sha256:ab"


def test_one_end_counts_once_also_for_an_agent_that_died_in_between(bench: Bench) -> None:
    """Each start of an agent finds the ended container anew, and waits for its turn again."""
    one = desired(restart=RestartPolicy(RestartMode.ON_FAILURE, attempts=2, backoff_ms=60_000))
    bench.order(one)
    bench.turn()
    key = (one.allocation, 1)
    bench.engine[key] = attrs.evolve(bench.engine[key], started_at_ms=bench.at_ms)
    bench.finish(one, 1)
    for _ in range(3):
        bench.start()
        assert bench.turn() == [], "it waits"
        item = bench.worker.items[key]
        assert (item.state, item.restarts) == (S.STARTING, 1)
    assert [type(e) for e in bench.turn(61_000)] == [ev.RestartContainer]


def test_a_stop_cuts_off_a_pull_that_is_under_way(bench: Bench) -> None:
    """Nobody waits for an image that nothing will run of; a start that goes on is waited for."""
    one = desired()
    bench.order(one)
    bench.worker.tick(bench.now())
    (start,) = [e for e in bench.worker.take()[1] if not isinstance(e, ev.ListContainers)]
    assert isinstance(start, ev.StartContainer)
    bench.order(stops=(one,))
    bench.worker.tick(bench.now())
    wanted = [e for e in bench.worker.take()[1] if not isinstance(e, ev.ListContainers)]
    assert wanted == [ev.CancelPull(one.allocation, 1)]
    bench.worker.tick(bench.now())
    assert bench.worker.take()[1] == (), "once"
    failed = ev.StartFailed(one.allocation, 1, "unavailable", "no longer waited for", Fault.WORLD)
    bench.worker.step(failed, bench.now())
    bench.turn()
    assert bench.state(one) is S.STOPPED
