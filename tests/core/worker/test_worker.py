"""The worker's rules of orders and starts, one by one, on a bench."""

import attrs

from p2pool.core.worker import events as ev
from p2pool.model import limits
from p2pool.model.ids import Token
from p2pool.model.messages.work import Order, Stop
from p2pool.model.states import AllocationState
from tests.core.worker.workbench import ME, Bench, desired

S = AllocationState


def test_an_order_is_carried_out_and_told(bench: Bench) -> None:
    """Started, running, ended with its code, reported until it is settled."""
    one = desired()
    assert bench.order(one)
    assert [type(e) for e in bench.turn()] == [ev.StartContainer]
    assert list(bench.reported()) == [S.RUNNING]
    bench.finish(one, 3)
    assert bench.reported()[S.FAILED].exit_code == 3
    assert bench.reported() == {}
    bench.at_ms += limits.REPORT_RESEND_MS
    assert list(bench.reported()) == [S.FAILED]
    bench.settle()
    bench.at_ms += limits.REPORT_RESEND_MS
    assert bench.reported() == {}


def test_an_exit_code_that_everybody_knows_is_told_in_words(bench: Bench) -> None:
    """An init starts before the command is looked for, so the engine has no word on it."""
    one = desired()
    bench.order(one)
    bench.turn()
    bench.reported()
    bench.finish(one, 127)
    reason = bench.reported()[S.FAILED].reason
    assert reason == "it ended with exit code 127: its command was not found"


def test_older_orders_are_refused_also_after_a_restart(bench: Bench) -> None:
    """The high-water token is durable; an equal one is heard again, and can only add stops."""
    bench.order(desired())
    bench.turn()
    bench.start()
    old = Order(ME, Token(1, 1, 0), (), (Stop(desired().allocation, 1),))
    answer = bench.worker.obey(old, (), bench.now())
    assert (answer.ok, answer.high_water) == (False, Token(1, 1, 1))
    same = Order(ME, Token(1, 1, 1), (desired("another"),), ())
    assert bench.worker.obey(same, (None,), bench.now()).ok
    assert list(bench.worker.items) == [(desired().allocation, 1)]
    # Its leader met a copy since, which nobody wants here, and the state is still the same.
    stops = Order(ME, Token(1, 1, 1), (desired(),), (Stop(desired().allocation, 1),))
    assert bench.worker.obey(stops, (None,), bench.now()).ok
    assert bench.worker.items[desired().allocation, 1].stop_wanted


def test_nothing_but_an_explicit_stop_ends_a_copy(bench: Bench) -> None:
    """An order that does not name it leaves it running; a stop ends it."""
    one = desired()
    bench.order(one)
    bench.turn()
    bench.order()
    assert bench.turn(60_000) == []
    assert bench.state(one) is S.RUNNING
    bench.order(stops=(one,))
    assert [type(e) for e in bench.turn()] == [ev.StopContainer]
    assert bench.state(one) is S.STOPPED


def test_a_stop_of_what_never_came_is_reported(bench: Bench) -> None:
    """Otherwise the pool would wait for its end for ever."""
    bench.order(stops=(desired(),))
    bench.turn()
    assert list(bench.reported()) == [S.STOPPED]


def test_a_copy_that_no_row_can_name_is_left(bench: Bench) -> None:
    """A replica, or an attempt, below zero: the rest of the order counts."""
    one, name = desired(), desired("another").allocation
    below = attrs.evolve(name, replica=-1)
    stops = (Stop(below, 1), Stop(name, -1))
    wrong = (attrs.evolve(one, allocation=below), attrs.evolve(one, allocation=name, attempt=-1))
    order = Order(ME, Token(1, 1, 1), (*wrong, one), stops)
    assert bench.worker.obey(order, (None,) * 3, bench.now()).ok
    bench.turn()
    assert list(bench.worker.items) == [(one.allocation, one.attempt)]


def test_what_is_not_allowed_is_never_started(bench: Bench) -> None:
    """It fails, and says why."""
    bench.refused = "the account has no right"
    bench.order(desired())
    assert bench.turn() == []
    assert "no right" in bench.reported()[S.FAILED].reason


def test_a_specification_that_nobody_can_read_is_left(bench: Bench) -> None:
    """A leader that lies ends no agent by it, and what else it orders is carried out."""
    good = desired()
    request = attrs.evolve(good.signed.request, spec_json="{}")
    bad = attrs.evolve(good, attempt=2, signed=attrs.evolve(good.signed, request=request))
    assert bench.order(bad, good)
    bench.turn()
    assert (bench.state(bad), bench.state(good)) == (None, S.RUNNING)


def test_a_newer_attempt_waits_for_the_older(bench: Bench) -> None:
    """And has it ended, though nobody named it."""
    bench.order(desired())
    bench.turn()
    bench.order(desired(attempt=2))
    effects = bench.turn()
    assert [type(e) for e in effects] == [ev.StopContainer, ev.StartContainer]


def test_a_gpu_is_handed_on_when_its_holder_is_gone(bench: Bench) -> None:
    """Whatever the order says."""
    first, second = desired("a", gpus=("G",)), desired("b", gpus=("G",))
    bench.order(first)
    bench.turn()
    bench.order(first, second)
    assert bench.turn(10_000) == []
    assert [type(e) for e in bench.finish(first)] == [ev.StartContainer]
