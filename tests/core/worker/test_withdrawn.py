"""A right that was revoked after an order came starts nothing: no copy, no restart, no pull."""

from p2pool.core.worker import events as ev
from p2pool.model import limits
from p2pool.model.states import AllocationState
from p2pool.model.tasks.faults import Fault
from p2pool.model.tasks.spec import RestartMode, RestartPolicy
from tests.core.worker.workbench import Bench, desired

S = AllocationState
REVOKED = "The delegation was revoked."
AGAIN = RestartPolicy(RestartMode.ALWAYS, attempts=5, backoff_ms=1000)


def test_a_copy_that_was_not_begun_never_begins() -> None:
    """Its order came before the revocation, and its GPU was still held."""
    bench = Bench()
    holder, waits = desired("a", gpus=("G",)), desired("b", gpus=("G",))
    bench.order(holder)
    bench.turn()
    bench.order(holder, waits)
    bench.turn()
    assert bench.state(waits) is S.ASSIGNED
    bench.withdrawn = REVOKED
    assert bench.state(holder) is S.RUNNING
    done = bench.finish(holder)
    assert not [effect for effect in done if isinstance(effect, ev.StartContainer)]
    assert bench.told()[waits.allocation].reason == f"not allowed: {REVOKED}"
    assert bench.state(waits) is S.FAILED


def test_what_runs_goes_on_and_is_not_started_again() -> None:
    """A revocation ends nothing by itself; the policy's next restart does not come."""
    bench = Bench()
    copy = desired(restart=AGAIN)
    bench.order(copy)
    bench.turn()
    bench.finish(copy, 1)
    bench.turn(limits.RESTART_BACKOFF_MAX_MS)
    assert bench.state(copy) is S.RUNNING, "before the revocation it was started again"
    bench.withdrawn = REVOKED
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.state(copy) is S.RUNNING
    bench.finish(copy, 1)
    done = bench.turn(limits.RESTART_BACKOFF_MAX_MS)
    assert not [effect for effect in done if isinstance(effect, ev.RestartContainer)]
    outcome = bench.told()[copy.allocation]
    assert (outcome.state, outcome.reason) == (S.FAILED, f"not allowed: {REVOKED}")
    assert outcome.exit_code == 1


def test_an_agent_that_starts_anew_asks_again() -> None:
    """Orders from before its start were judged then; the log says more by now."""
    bench = Bench()
    holder, waits = desired("a", gpus=("G",)), desired("b", gpus=("G",))
    bench.order(holder)
    bench.turn()
    bench.order(holder, waits)
    bench.turn()
    bench.start()
    bench.withdrawn = REVOKED
    bench.turn()
    bench.finish(holder)
    assert bench.state(waits) is S.FAILED


def test_a_pull_ends_with_the_right_to_it() -> None:
    """It may take an hour, and its container would start at the end of it."""
    bench = Bench()
    bench.turn()
    copy = desired()
    bench.order(copy)
    bench.worker.tick(bench.now())
    (start,) = _wanted(bench)
    assert isinstance(start, ev.StartContainer)
    bench.withdrawn = REVOKED
    bench.worker.tick(bench.now())
    assert _wanted(bench) == [ev.CancelPull(copy.allocation, 1)]
    bench.worker.tick(bench.now())
    assert _wanted(bench) == [], "it is cancelled once"
    failed = ev.StartFailed(copy.allocation, 1, "unavailable", "not waited for", Fault.WORLD)
    bench.worker.step(failed, bench.now())
    bench.turn()
    assert bench.state(copy) is S.STOPPED
    assert bench.told()[copy.allocation].reason == f"not allowed: {REVOKED}"


def _wanted(bench: Bench) -> list[ev.WorkerEffect]:
    """What the worker wants done now, listings apart."""
    return [e for e in bench.worker.take()[1] if not isinstance(e, ev.ListContainers)]
