"""The replicated state changes only by entries, once each, and comes back the same from bytes."""

import attrs

from p2pool.codec.entries import encode_body
from p2pool.core.fsm.apply import apply_entry
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, digest_of, encode_state
from p2pool.model import limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.ids import AllocationId, NodeId, TaskId
from p2pool.model.log.entries import Noop, Outcome, ReportApplied, RequestApplied
from p2pool.model.log.raft import Entry
from p2pool.model.states import AllocationState
from tests.core.fsm.records import (
    GPU,
    MANAGER,
    NODE,
    NOW_S,
    OTHER,
    POOL,
    ask,
    feed,
    placed,
    request,
)


def state_of(state: PoolState, name: TaskId) -> AllocationState:
    copy = state.allocation(AllocationId(name, 0))
    assert copy is not None
    return copy.state


def report(name: TaskId, becomes: AllocationState, node: NodeId = NODE) -> ReportApplied:
    return ReportApplied(node, (Outcome(AllocationId(name, 0), 1, becomes),))


def test_a_submission_is_applied_once() -> None:
    """Sent twice, with whatever signature, it is one task."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1))
    ask(state, request(Action.SUBMIT, 1))
    assert list(state.tasks) == [name]
    assert state.applied_index == 2


def test_one_gpu_never_has_two_holders() -> None:
    """Until the first holder is gone, whatever a leader writes."""
    state = PoolState(POOL, 1)
    first = ask(state, request(Action.SUBMIT, 1, gpus=1))
    second = ask(state, request(Action.SUBMIT, 2, gpus=1))
    feed(state, placed(first, NODE, GPU))
    feed(state, placed(second, NODE, GPU))
    assert state_of(state, first) is AllocationState.ASSIGNED
    assert state_of(state, second) is AllocationState.PENDING
    feed(state, report(first, AllocationState.SUCCEEDED))
    feed(state, placed(second, NODE, GPU))
    assert state_of(state, second) is AllocationState.ASSIGNED


def test_a_report_counts_only_from_the_node_that_has_the_copy() -> None:
    """Another node, an older attempt or an illegal transition change nothing."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1))
    feed(state, placed(name, NODE))
    feed(state, report(name, AllocationState.FAILED, OTHER))
    assert state_of(state, name) is AllocationState.ASSIGNED
    feed(state, report(name, AllocationState.SUCCEEDED))
    feed(state, report(name, AllocationState.FAILED))
    assert state_of(state, name) is AllocationState.SUCCEEDED


def test_snapshot_and_digest_tell_the_whole_state() -> None:
    """Bytes and back is the same state, which goes on the same way."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1, gpus=1))
    feed(state, placed(name, NODE, GPU))
    again = decode_state(encode_state(state))
    assert digest_of(again) == digest_of(state)
    for each in (state, again):
        ask(each, request(Action.STOP, 9, name.hex()))
        feed(each, report(name, AllocationState.STOPPED))
    assert digest_of(again) == digest_of(state)
    assert state_of(again, name) is AllocationState.STOPPED


def test_the_id_of_a_request_is_kept_exactly_as_long_as_a_leader_could_take_it() -> None:
    """Through a snapshot too: equal logs give equal bytes."""
    state = PoolState(POOL, 1)
    ids = [bytes([n]) * 32 for n in range(3)]
    for number in (0, 1):
        ask(state, request(Action.SET, number, "timing"))
    last = (NOW_S + 600) * 1000 + limits.CLOCK_SKEW_MAX_MS
    again = decode_state(encode_state(state))
    for each in (state, again):
        feed_at(each, request(Action.SET, 2, "timing"), last)
        assert list(each.applied) == ids
        feed_at(each, request(Action.SET, 2, "timing"), last + 1)
        assert not each.applied
    assert digest_of(again) == digest_of(state)


def feed_at(state: PoolState, wanted: TaskRequest, at_ms: int) -> None:
    record = RequestApplied(SignedRequest(wanted, b"s" * 65), NODE, MANAGER)
    kind, body = encode_body(record)
    apply_entry(state, Entry(state.applied_index + 1, 1, kind, at_ms, body))


def test_an_entry_that_a_newer_version_wrote_is_counted_and_changes_nothing() -> None:
    """The index moves on; the rest stays."""
    state = PoolState(POOL, 1)
    apply_entry(state, Entry(1, 1, 99, 5, b"\x80"))
    assert (state.applied_index, len(state.tasks)) == (1, 0)


def stood_a_day_ahead(level: FeatureLevel) -> PoolState:
    """A state whose log time was a day ahead before anything was asked."""
    state = PoolState(POOL, 1, level=level)
    feed_noop(state, (NOW_S + 86_400) * 1000)
    return state


def feed_noop(state: PoolState, at_ms: int) -> None:
    kind, body = encode_body(Noop(NODE))
    apply_entry(state, Entry(state.applied_index + 1, 1, kind, at_ms, body))


def test_where_log_time_stands_still_the_leaders_clock_has_judged_a_request() -> None:
    """A log time that is a day ahead refuses no request, and applies none twice: its id is kept
    until the clocks have caught up. Below the level that knows this, it has expired."""
    wanted = request(Action.SUBMIT, 1)
    assert not stood_expects(BASE_LEVEL, wanted)
    assert stood_expects(DISTRUST_LEVEL, wanted)
    state = stood_a_day_ahead(DISTRUST_LEVEL)
    for number in (1, 2, 1):
        feed_at(state, request(Action.SUBMIT, number), state.log_time_ms)
    assert len(state.tasks) == 2
    assert decode_state(encode_state(state)) == state


def stood_expects(level: FeatureLevel, wanted: TaskRequest) -> bool:
    """Whether a request is applied while log time stands still, a day ahead."""
    state = stood_a_day_ahead(level)
    feed_at(state, wanted, state.log_time_ms)
    return bool(state.tasks)


def test_a_request_that_may_have_been_forgotten_stays_refused() -> None:
    """Whatever an entry says of the time: one that ended before a forgotten one did."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    first, again = request(Action.SUBMIT, 1), request(Action.SUBMIT, 1)
    feed_at(state, first, NOW_S * 1000)
    later_ms = (NOW_S + 3_600) * 1000
    second = request(Action.SUBMIT, 2)
    span = (NOW_S + 3_600, NOW_S + 4_200)
    feed_at(state, attrs.evolve(second, not_before_s=span[0], not_after_s=span[1]), later_ms)
    assert state.forgotten_s == first.not_after_s
    feed_at(state, again, later_ms)
    assert len(state.tasks) == 2
    assert decode_state(encode_state(state)).forgotten_s == state.forgotten_s


def test_log_time_is_turned_back_with_all_that_is_later() -> None:
    """What was placed before the clock went wrong keeps its age; what came after it has none."""
    state = PoolState(POOL, 1)
    name = ask(state, request(Action.SUBMIT, 1))
    feed_noop(state, (NOW_S + 86_400) * 1000)
    feed_at(state, request(Action.DRAIN, 2, NODE.hex()), state.log_time_ms)
    feed(state, placed(name, OTHER))
    assert state.of_task(name)[0].placed_at_ms == state.log_time_ms
    at_ms = (NOW_S + 60) * 1000
    state.turn_back(at_ms)
    assert state.log_time_ms == state.of_task(name)[0].placed_at_ms == at_ms
    assert state.tasks[name].record.submitted_at_ms == NOW_S * 1000
