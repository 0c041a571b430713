"""The worker's rules of ends, restarts and what comes after, one by one, on a bench."""

import attrs
import pytest

from p2pool.core.worker import events as ev
from p2pool.model import limits
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Token
from p2pool.model.messages.work import Desired, Order, ReportAnswered
from p2pool.model.ports.runtime import ContainerState, ContainerStatus
from p2pool.model.ports.store import TABLES, Put
from p2pool.model.states import AllocationState, StartRefusal
from p2pool.model.tasks.faults import Fault
from p2pool.model.tasks.spec import (
    RestartMode,
    RestartPolicy,
)
from tests.core.worker.workbench import ME, Bench, desired

S = AllocationState


@pytest.mark.parametrize(
    ("mode", "code", "again"),
    [
        (RestartMode.NEVER, 1, False),
        (RestartMode.ON_FAILURE, 1, True),
        (RestartMode.ON_FAILURE, 0, False),
        (RestartMode.ALWAYS, 0, True),
    ],
)
def test_restart_policies(bench: Bench, mode: RestartMode, code: int, again: bool) -> None:
    """After a pause that doubles, as often as the policy allows."""
    twice = RestartPolicy(mode, attempts=2, backoff_ms=1_000)
    one = desired(restart=RestartPolicy(mode) if mode is RestartMode.NEVER else twice)
    bench.order(one)
    bench.turn()
    for pause_ms in (1_000, 2_000) if again else ():
        bench.finish(one, code)
        assert bench.state(one) is S.STARTING
        assert bench.turn(pause_ms - 1) == []
        assert [type(e) for e in bench.turn(1)] == [ev.RestartContainer]
    bench.finish(one, code)
    assert bench.state(one) is (S.SUCCEEDED if code == 0 else S.FAILED)


def _ran(bench: Bench, one: Desired, for_ms: int) -> None:
    """Its container began so long ago, as the engine tells it."""
    key = (one.allocation, 1)
    bench.engine[key] = attrs.evolve(bench.engine[key], started_at_ms=bench.now().wall_ms)
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    bench.at_ms += for_ms - limits.RECONCILE_INTERVAL_MS


@pytest.mark.parametrize("end", ["code", "vanished", "interrupted"])
def test_after_a_run_that_lasted_restarts_count_anew(bench: Bench, end: str) -> None:
    """A service that fails once a day is restarted for ever, at once and not after minutes; one
    that fails again and again is not."""
    policy = RestartPolicy(RestartMode.ALWAYS, attempts=2, backoff_ms=1_000)
    one = desired(restart=policy)
    bench.order(one)
    bench.turn()
    for _ in range(5):
        _ran(bench, one, limits.RESTARTS_FORGIVEN_MS)
        if end == "vanished":
            bench.engine.clear()
            for _ in range(limits.MISSING_LISTINGS):
                bench.turn(limits.RECONCILE_INTERVAL_MS)
        else:
            bench.interrupted = ((one.allocation, 1),) if end == "interrupted" else ()
            bench.finish(one, 1)
            bench.interrupted = ()
        assert bench.state(one) is S.STARTING
        assert bench.worker.items[one.allocation, 1].restarts == 1
        bench.turn(1_000)
        assert bench.state(one) is S.RUNNING
    for number in range(2):
        _ran(bench, one, limits.RESTARTS_FORGIVEN_MS - 1)
        bench.finish(one, 1)
        assert (bench.state(one) is S.FAILED) == (number == 1)
        bench.turn(2_000)


def test_failed_starts(bench: Bench) -> None:
    """The world's failure is tried again and told; the submitter's ends it."""
    one, two = desired("a"), desired("b")
    bench.order(one, two)
    bench.worker.tick(bench.now())
    bench.worker.take()
    world, task = (one, "registry-unavailable", Fault.WORLD), (two, "image-not-found", Fault.TASK)
    for of, code, fault in (world, task):
        bench.worker.step(ev.StartFailed(of.allocation, 1, code, "because", fault), bench.now())
    assert bench.reported()[S.PULLING].reason == "because"
    assert bench.state(two) is S.FAILED
    assert [type(e) for e in bench.turn(limits.RESTART_BACKOFF_MIN_MS)] == [ev.StartContainer]
    assert bench.state(one) is S.RUNNING


def test_a_container_that_vanished_is_missed_twice(bench: Bench) -> None:
    """One listing may be older than the start that it does not show."""
    one = desired()
    bench.order(one)
    bench.turn()
    bench.engine.clear()
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.state(one) is S.RUNNING
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.state(one) is S.FAILED


def test_a_container_that_never_ran_is_no_end_when_it_is_gone(bench: Bench) -> None:
    """A start fails, a listing shows what it made, and the next start takes that away: the copy
    never began, and is started all the same."""
    one = desired()
    bench.order(one)
    bench.worker.step(ev.ContainersListed(()), bench.now())
    bench.worker.tick(bench.now())
    operations, effects = bench.worker.take()
    bench.rows["orders"] = {op.key: op.value for op in operations if isinstance(op, Put)}
    (plan,) = [e.plan for e in effects if isinstance(e, ev.StartContainer)]
    made = ContainerStatus(one.allocation, 1, plan.token, plan.spec_hash, ContainerState.CREATED)
    failed = ev.StartFailed(one.allocation, 1, "runtime-unavailable", "busy", Fault.WORLD)
    bench.worker.step(failed, bench.now())
    bench.worker.step(ev.ContainersListed((made,)), bench.now())
    for _ in range(limits.MISSING_LISTINGS + 1):
        bench.worker.step(ev.ContainersListed(()), bench.now())
    assert bench.state(one) is S.PULLING
    assert [type(e) for e in bench.turn(limits.RESTART_BACKOFF_MIN_MS)] == [ev.StartContainer]
    assert bench.state(one) is S.RUNNING


def test_after_a_restart_containers_are_adopted(bench: Bench) -> None:
    """Running ones are not started again, ended ones give their outcome."""
    one, two = desired("a"), desired("b")
    bench.order(one, two)
    bench.turn()
    bench.end(two.allocation, 1, 0)
    bench.start()
    assert bench.turn() == []
    assert (bench.state(one), bench.state(two)) == (S.RUNNING, S.SUCCEEDED)


def test_a_container_without_an_order_is_reported_and_left(bench: Bench) -> None:
    """After a disk was lost: the leader decides; an order for it makes it this copy again."""
    one = desired()
    bench.order(one)
    bench.turn()
    bench.rows = {name: {} for name in TABLES}
    bench.start()
    assert bench.turn(60_000) == []
    assert list(bench.reported()) == [S.RUNNING]
    bench.order(one)
    assert bench.turn() == []
    assert bench.state(one) is S.RUNNING


def test_while_the_engine_is_away_nothing_is_known_to_have_ended(bench: Bench) -> None:
    """And nothing is begun."""
    one, two = desired("a"), desired("b")
    bench.order(one)
    bench.turn()
    bench.worker.runtime(False)
    bench.order(one, two)
    assert bench.turn(1_000) == []
    assert bench.state(one) is S.RUNNING
    bench.worker.runtime(True)
    assert [type(e) for e in bench.turn()] == [ev.StartContainer]


def test_membership(bench: Bench) -> None:
    """Who is not in the pool starts nothing; who is finally out stops everything."""
    bench.worker.member(False)
    bench.order(desired("a"))
    assert bench.turn() == []
    bench.worker.member(True)
    assert len(bench.turn()) == 1
    bench.worker.leave("its node left the pool")
    assert [type(e) for e in bench.turn()] == [ev.StopContainer]


def test_what_ended_with_its_engine_is_placed_anew_or_started_again(bench: Bench) -> None:
    """Stopped, so that the pool finds it a place; where its policy says so it begins again here."""
    once = desired("once")
    again = desired("again", restart=RestartPolicy(RestartMode.ALWAYS))
    bench.order(once, again)
    bench.turn()
    for one in (once, again):
        bench.end(one.allocation, 1, 137)
    bench.interrupted = ((once.allocation, 1), (again.allocation, 1))
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    bench.interrupted = ()
    told = bench.told()
    assert told[once.allocation].state is S.STOPPED
    assert "restarted" in told[once.allocation].reason
    assert told[again.allocation].state is S.STARTING
    effects = bench.turn(limits.RESTART_BACKOFF_MIN_MS)
    assert [type(e) for e in effects] == [ev.RestartContainer]


def test_what_ended_before_its_engine_went_keeps_its_own_end(bench: Bench) -> None:
    """An end that is known is no other end because the engine was restarted since."""
    one = desired("t")
    bench.order(one)
    bench.turn()
    bench.finish(one, 3)
    bench.interrupted = ((one.allocation, 1),)
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.told()[one.allocation].state is S.FAILED


def test_a_copy_whose_gpu_was_lost_ends_and_says_so(bench: Bench) -> None:
    """Others run on."""
    hit, spared = desired("hit", gpus=("GPU-a",)), desired("spared", gpus=("GPU-b",))
    bench.order(hit, spared)
    bench.turn()
    bench.worker.gpus_lost(("GPU-a",))
    effects = bench.turn()
    assert [e.allocation for e in effects if isinstance(e, ev.StopContainer)] == [hit.allocation]
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    told = bench.told()[hit.allocation]
    assert (told.state, told.reason) == (S.STOPPED, "its GPU GPU-a was lost")


def test_only_the_newest_ended_containers_are_kept(bench: Bench) -> None:
    """For their log lines; older ones are removed once they are settled."""
    many = [desired(f"t{n}") for n in range(limits.ENDED_CONTAINERS_KEPT + 3)]
    bench.order(*many)
    bench.turn()
    for of in many:
        bench.at_ms += 1
        bench.end(of.allocation, 1, 0)
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert len(bench.engine) == len(many)
    bench.settle()
    removed = bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert {e.allocation for e in removed if isinstance(e, ev.RemoveContainer)} == {
        of.allocation for of in many[:3]
    }


def test_containers_that_ended_long_ago_go_with_their_lines(bench: Bench) -> None:
    """At the set time they are still there, a millisecond later they are removed."""
    old, young = desired("old"), desired("young")
    bench.order(old, young)
    bench.turn()
    bench.end(old.allocation, 1, 0)
    ended_ms = bench.now().wall_ms
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    bench.end(young.allocation, 1, 0)
    bench.turn(limits.RECONCILE_INTERVAL_MS)
    bench.settle()
    keep_ms = bench.worker.keep_ms
    before = bench.turn(ended_ms + keep_ms - bench.now().wall_ms)
    assert not any(isinstance(e, ev.RemoveContainer) for e in before)
    after = bench.turn(1)
    assert [e.allocation for e in after if isinstance(e, ev.RemoveContainer)] == [old.allocation]


def test_another_log_is_told_all_anew_and_stops_nothing(bench: Bench) -> None:
    """Copies of an earlier log are claimed with their submissions until an order names them."""
    one, other = desired("one"), desired("other")
    bench.order(one, other)
    bench.turn()
    bench.settle()
    assert bench.reported() == {}
    bench.worker.another_log(2, bench.now())
    assert not bench.order(one)  # An order of the old epoch, however new it is there.
    bench.at_ms += limits.REPORT_RESEND_MS
    report = bench.worker.report(bench.now())
    assert report is not None
    assert report.token == Token(2, 0, 0)
    assert report.claims == (one, other)
    bench.turn()
    bench.start()
    bench.turn()
    assert bench.worker.obey(Order(ME, Token(2, 1, 1), (one,), ()), (None,), bench.now()).ok
    bench.turn()
    bench.at_ms += limits.REPORT_RESEND_MS
    report = bench.worker.report(bench.now())
    assert report is not None
    assert report.claims == (other,)
    assert not any(item.stop_wanted or item.ended for item in bench.worker.items.values())


def test_an_earlier_order_that_did_not_begin_waits_for_the_new_log(bench: Bench) -> None:
    """What an old log wanted begun is begun only where the new one wants it too."""
    bench.order(desired())
    bench.worker.another_log(2, bench.now())
    assert not any(isinstance(e, ev.StartContainer) for e in bench.turn())
    assert bench.worker.obey(Order(ME, Token(2, 1, 1), (desired(),), ()), (None,), bench.now()).ok
    assert any(isinstance(e, ev.StartContainer) for e in bench.turn())


def test_a_container_of_an_earlier_epoch_that_nobody_knows_is_left(bench: Bench) -> None:
    """The disk is new, so its submission is not known: it runs on, and is not reported."""
    bench.order(desired())
    bench.turn()
    for rows in bench.rows.values():
        rows.clear()
    bench.start()
    bench.worker.another_log(2, bench.now())
    bench.turn()
    bench.at_ms += limits.REPORT_RESEND_MS
    assert bench.worker.report(bench.now()) is None
    (item,) = bench.worker.items.values()
    assert item.runs


def test_a_stop_after_a_start_that_may_have_worked_asks_the_engine(bench: Bench) -> None:
    """The answer to the start got lost: it is told as stopped only once nothing of it runs."""
    one = desired()
    bench.order(one)
    bench.worker.tick(bench.now())
    (start,) = [e for e in bench.worker.take()[1] if isinstance(e, ev.StartContainer)]
    lost = ev.StartFailed(one.allocation, 1, "runtime-unavailable", "no answer", Fault.WORLD)
    bench.worker.step(lost, bench.now())
    plan = start.plan
    running = ContainerStatus(one.allocation, 1, plan.token, plan.spec_hash, ContainerState.RUNNING)
    bench.engine[one.allocation, 1] = running
    bench.order(stops=(one,))
    assert bench.reported() == {} or S.STOPPED not in bench.reported()
    assert [type(e) for e in bench.turn(61_000)] == [ev.StopContainer]
    assert bench.engine[one.allocation, 1].ended
    assert bench.state(one) is S.STOPPED


def test_what_is_over_does_not_run_on(bench: Bench) -> None:
    """It was told as over, and is found to run all the same: it ends, and is not told again."""
    one = desired()
    bench.order(one)
    bench.turn()
    kept = bench.engine.pop((one.allocation, 1))
    for _ in range(3):
        bench.turn(limits.RECONCILE_INTERVAL_MS)
    assert bench.state(one) is S.FAILED
    bench.engine[one.allocation, 1] = kept
    first = bench.reported()[S.FAILED]
    assert [type(e) for e in bench.turn(limits.RECONCILE_INTERVAL_MS)] == [ev.StopContainer]
    assert bench.engine[one.allocation, 1].ended
    assert bench.worker.items[one.allocation, 1].outcome() == first


def test_a_container_that_is_gone_counts_once_however_long_its_restart_waits(bench: Bench) -> None:
    """Listings while it waits do not use its attempts up; it is made anew, once."""
    one = desired(restart=RestartPolicy(RestartMode.ALWAYS, attempts=2, backoff_ms=60_000))
    bench.order(one)
    bench.turn()
    del bench.engine[one.allocation, 1]
    for _ in range(6):
        assert bench.turn(limits.RECONCILE_INTERVAL_MS) == []
    item = bench.worker.items[one.allocation, 1]
    assert (item.state, item.restarts) == (S.STARTING, 1)
    assert [type(e) for e in bench.turn(61_000)] == [ev.StartContainer]
    assert bench.state(one) is S.RUNNING


def test_a_container_removed_before_its_restart_is_made_anew(bench: Bench) -> None:
    """Somebody tidied up between its end and the restart: that is not the copy's failure."""
    one = desired(restart=RestartPolicy(RestartMode.ALWAYS, attempts=2))
    bench.order(one)
    bench.turn()
    bench.finish(one)
    bench.at_ms += 4_000
    bench.worker.tick(bench.now())
    (again,) = [e for e in bench.worker.take()[1] if not isinstance(e, ev.ListContainers)]
    assert isinstance(again, ev.RestartContainer)
    del bench.engine[one.allocation, 1]
    gone = ev.StartFailed(one.allocation, 1, "not-found", "no container", Fault.WORLD)
    bench.worker.step(gone, bench.now())
    assert [type(e) for e in bench.turn(61_000)] == [ev.StartContainer]
    assert bench.state(one) is S.RUNNING


REFUSED = ("image-refused", Fault.NODE, StartRefusal.LASTING)
PORT = ("host-port-taken", Fault.NODE_NOW, StartRefusal.PASSING)


def fail_start(bench: Bench, of: Desired, code: str, fault: Fault) -> None:
    """A start that the worker wants fails."""
    bench.worker.tick(bench.now())
    bench.worker.take()
    bench.worker.step(ev.StartFailed(of.allocation, 1, code, "because", fault), bench.now())


@pytest.mark.parametrize(("code", "fault", "refusal"), [REFUSED, PORT])
def test_what_this_node_refuses_it_gives_up(
    bench: Bench, code: str, fault: Fault, refusal: StartRefusal
) -> None:
    """It says so, also after a restart; at the first level, which lacks the words, it fails what
    cannot pass and tries again what can."""
    bench.worker.level = DISTRUST_LEVEL
    one = desired("a")
    bench.order(one)
    fail_start(bench, one, code, fault)
    assert bench.told()[one.allocation].refused is refusal
    assert bench.state(one) is S.STOPPED
    bench.turn()
    bench.start()
    bench.worker.connected(bench.now())
    assert bench.told()[one.allocation].refused is refusal
    old = Bench()
    old.order(one)
    fail_start(old, one, code, fault)
    assert old.told()[one.allocation].refused is StartRefusal.NONE
    assert old.state(one) is (S.FAILED if fault is Fault.NODE else S.PULLING)


def test_what_the_world_refuses_for_too_long_is_given_up(bench: Bench) -> None:
    """A registry that is away for good, or no engine: another node may do better."""
    bench.worker.level = DISTRUST_LEVEL
    one = desired("a")
    bench.order(one)
    fail_start(bench, one, "registry-unavailable", Fault.WORLD)
    assert bench.state(one) is S.PULLING
    bench.at_ms += limits.START_TROUBLE_MAX_MS
    fail_start(bench, one, "registry-unavailable", Fault.WORLD)
    assert bench.told()[one.allocation].refused is StartRefusal.PASSING


def test_without_an_engine_what_never_began_is_given_up(bench: Bench) -> None:
    """What runs stays as it was: nobody can say that it ended."""
    bench.worker.level = DISTRUST_LEVEL
    runs, waits = desired("runs"), desired("waits")
    bench.order(runs)
    bench.turn()
    bench.worker.runtime(False)
    bench.order(runs, waits)
    bench.turn(limits.START_TROUBLE_MAX_MS - 1)
    assert bench.state(waits) is S.ASSIGNED
    bench.turn(limits.START_TROUBLE_MAX_MS)
    assert bench.told()[waits.allocation].refused is StartRefusal.PASSING
    assert bench.state(runs) is S.RUNNING


def test_without_an_engine_since_the_start_only_new_orders_are_given_up(bench: Bench) -> None:
    """What was ordered before may run: nobody has looked. The worker does not spin over it."""
    bench.worker.level = DISTRUST_LEVEL
    bench.worker.runtime(False)
    old = desired("old")
    bench.order(old)
    bench.turn()
    bench.start()
    bench.worker.level = DISTRUST_LEVEL
    bench.worker.runtime(False)
    bench.worker.listing, bench.worker.list_due_ms = True, 10**9
    new = desired("new")
    bench.order(old, new)
    bench.turn()
    bench.turn(limits.START_TROUBLE_MAX_MS)
    assert bench.state(new) is S.STOPPED
    assert bench.state(old) is S.ASSIGNED
    bench.worker.report(bench.now())
    bench.worker.settle(ReportAnswered(bench.worker.high_water, tuple(bench.told().values())))
    assert bench.worker.wakeup_ms() > bench.at_ms


def test_a_reason_that_was_cut_says_so(bench: Bench) -> None:
    """It ends with an ellipsis, and has as many bytes as it may at most, also in other scripts."""
    one = desired("a")
    bench.order(one)
    bench.worker.tick(bench.now())
    bench.worker.take()
    long = ev.StartFailed(one.allocation, 1, "cannot-start", "ä" * 500, Fault.TASK)
    bench.worker.step(long, bench.now())
    told = bench.told()[one.allocation].reason
    assert told.endswith("\u2026")
    assert len(told.encode()) in range(
        limits.REFUSAL_TEXT_MAX_BYTES - 1, limits.REFUSAL_TEXT_MAX_BYTES + 1
    )
